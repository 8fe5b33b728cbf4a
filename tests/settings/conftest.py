"""What the tests of settings share."""

from typing import Any

import pytest

from tests.params.raw_params import profile


@pytest.fixture(scope="package")
def demo() -> dict[str, Any]:
    """The profile demo; tests change copies of it."""
    return profile("demo")
