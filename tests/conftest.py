"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def skip_unless_ci(reason: str) -> None:
    """Skip a test that cannot run here; on CI everything must run, so there it fails instead."""
    if os.environ.get("CI"):
        pytest.fail(f"must run on CI: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of public data sets that may lie beside a checkout; never needed by the product."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside this checkout: the public data sets are not here")
    return folder


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of small real models that may lie beside a checkout."""
    folder = REPOSITORY.parent / "shared" / "models"
    if not folder.is_dir():
        pytest.skip("no ../shared/models beside this checkout: the small real models are not here")
    return folder
