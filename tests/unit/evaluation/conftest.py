"""A model to generate with, for the tests of every part of generating."""

import pytest
from models import causal_model
from torch import Tensor
from transformers import PreTrainedModel

from .slowly import TOKENIZER, recorded


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return causal_model(TOKENIZER)


@pytest.fixture
def written(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    return recorded(model, monkeypatch)
