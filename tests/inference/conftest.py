"""What the tests of this package share."""

from pathlib import Path

import pytest

from tests.inference.workspaces import exported_tagger


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported tagger of two members with two folds."""
    return exported_tagger(tmp_path_factory)
