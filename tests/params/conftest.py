"""What the tests of params share."""

from typing import Any

import pytest

from tests.params.raw_params import three_networks


@pytest.fixture(scope="package")
def demo() -> dict[str, Any]:
    """The profile demo with networks of three papers; tests change copies of it."""
    return three_networks()
