from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from models import chat_tokenizer
from safetensors.torch import save_file
from torch import Tensor

from rankfold.errors import OperationalError
from rankfold.training.save import check_saved, save_model


def saving(**tensors: Tensor) -> Any:
    """A trainer whose model is these tensors."""

    def save(folder: str) -> None:
        Path(folder).mkdir(exist_ok=True)
        save_file(tensors, Path(folder) / "model.safetensors")

    return SimpleNamespace(save_model=save)


WHOLE = {"weight": torch.ones(2, 2), "bias": torch.zeros(2)}
BROKEN = {
    "not finite": torch.tensor([1.0, float("nan")]),
    "not finite, either": torch.tensor([1.0, float("inf")]),
    "empty": torch.empty(0),
}


@pytest.mark.parametrize(("state", "tensor"), BROKEN.items())
def test_a_tensor_that_is_no_weight_is_named(tmp_path: Path, state: str, tensor: Tensor) -> None:
    saving(**WHOLE, broken=tensor).save_model(str(tmp_path))
    with pytest.raises(OperationalError, match=f"tensor broken is {state.split(',')[0]}") as caught:
        check_saved(tmp_path)
    assert caught.value.where == str(tmp_path / "model.safetensors")


def test_a_folder_without_tensors_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="no tensors"):
        check_saved(tmp_path)


def test_every_file_of_a_model_is_read_back(tmp_path: Path) -> None:
    save_file(WHOLE, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"broken": BROKEN["not finite"]}, tmp_path / "model-00002-of-00002.safetensors")
    with pytest.raises(OperationalError, match="tensor broken"):
        check_saved(tmp_path)


def test_a_whole_model_is_saved_with_its_tokenizer_and_nothing_beside_it(tmp_path: Path) -> None:
    save_model(saving(**WHOLE), chat_tokenizer(), tmp_path / "model")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {
        path.name for path in (tmp_path / "model").iterdir()
    }


def test_a_broken_model_never_stands_where_a_whole_one_should(tmp_path: Path) -> None:
    with pytest.raises(OperationalError):
        save_model(saving(**WHOLE, broken=BROKEN["empty"]), chat_tokenizer(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_broken_model_leaves_the_one_before_it_untouched(tmp_path: Path) -> None:
    save_model(saving(**WHOLE), chat_tokenizer(), tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    with pytest.raises(OperationalError):
        save_model(saving(broken=BROKEN["empty"]), chat_tokenizer(), tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_what_an_earlier_attempt_left_does_not_end_up_in_the_model(tmp_path: Path) -> None:
    with pytest.raises(OperationalError):
        save_model(saving(broken=BROKEN["empty"]), chat_tokenizer(), tmp_path / "model")
    (partial,) = tmp_path.iterdir()
    (partial / "stale.safetensors").touch()
    save_model(saving(**WHOLE), chat_tokenizer(), tmp_path / "model")
    assert not (tmp_path / "model" / "stale.safetensors").exists()
