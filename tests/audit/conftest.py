"""What the tests of the audit share."""

import pytest


@pytest.fixture(autouse=True)
def quick(threads_as_they_are):
    """Each test measures some clips, of which none takes as long as a look for libraries."""
