"""Fixtures that every test may use."""

import os
from itertools import zip_longest
from pathlib import Path

import hypothesis
import pytest

# submitit sets logging up when it is imported, which closes the handlers that are there; that of absl, which
# rouge_score and TensorBoard bring, would close pytest's standard error with it.
import submitit  # noqa: F401

REPOSITORY = Path(__file__).resolve().parent.parent


def skip_unless_ci(reason: str) -> None:
    """Skip a test that cannot run here; on CI everything must run, so there it fails instead."""
    if os.environ.get("CI"):
        pytest.fail(f"must run on CI: {reason}")
    pytest.skip(reason)


@pytest.hookimpl(trylast=True)  # after the tests on Slurm have their mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with long tests first, those on Slurm, which mostly wait, between those that compute.

    Where files run side by side, short ones are left to the end, so that all workers end together.
    """
    slurm = list(dict.fromkeys(item.path for item in items if item.get_closest_marker("slurm")))
    slow = dict.fromkeys(item.path for item in items if item.get_closest_marker("slow"))
    computing = [path for path in slow if path not in slurm]
    first = [path for pair in zip_longest(slurm, computing) for path in pair if path]
    place = {path: number for number, path in enumerate(first)}
    items.sort(key=lambda item: place.get(item.path, len(first)))


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


# How long an example takes says something about the machine only, and a first one may import torch.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


# torch and transformers take seconds to import: only tests that use a model pay for it.


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model with a chat template."""
    import models

    tokenizer = models.chat_tokenizer()
    return models.save(models.causal_model(tokenizer), tokenizer, tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder without a head, as pretraining leaves one."""
    import models

    tokenizer = models.encoder_tokenizer()
    return models.save(models.encoder_model(tokenizer), tokenizer, tmp_path_factory.mktemp("encoder"))
