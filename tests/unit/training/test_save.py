import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from models import causal_model, chat_tokenizer, encoder_model, encoder_tokenizer
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Linear, Module
from transformers import BertForQuestionAnswering, Qwen3MoeConfig, Qwen3MoeForCausalLM

from rankfold.errors import OperationalError
from rankfold.training.save import check_saved, save_model

Tensors = dict[str, Tensor]


class Small(Module):
    """Two weights and a buffer, the least that a model has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Linear(2, 2)
        self.register_buffer("mean", torch.tensor([-0.0, 1.0]))


def as_it_is(tensors: Tensors) -> Tensors:
    return tensors


def trainer(model: Module, change: Callable[[Tensors], Tensors] = as_it_is) -> Any:
    """A trainer that saves its model's tensors, changed on the way."""

    def save(folder: str) -> None:
        Path(folder).mkdir(exist_ok=True)
        tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        save_file(change(tensors), Path(folder) / "model.safetensors")

    return SimpleNamespace(save_model=save, model=model)


def without_the_last(tensors: Tensors) -> Tensors:
    return dict(list(tensors.items())[:-1])


def with_one_bit_changed(tensors: Tensors) -> Tensors:
    bits = tensors["layer.weight"].view(torch.int32)
    bits[1, 1] ^= 1
    return tensors


BROKEN: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "a tensor is missing": (without_the_last, "layer.bias is missing"),
    "a tensor is empty": (
        lambda tensors: tensors | {"layer.weight": torch.empty(0)},
        "layer.weight in model.safetensors is empty",
    ),
    "a bit is another": (
        with_one_bit_changed,
        "layer.weight in model.safetensors differs from the one in memory",
    ),
    "zero has lost its sign": (
        lambda tensors: tensors | {"mean": tensors["mean"].abs()},
        "mean in model.safetensors differs from the one in memory",
    ),
    "a tensor has another shape": (
        lambda tensors: tensors | {"mean": torch.ones(3)},
        "mean in model.safetensors is [3] instead of [2]",
    ),
    "a tensor has another precision": (
        lambda tensors: tensors | {"mean": tensors["mean"].half()},
        "mean in model.safetensors is torch.float16 instead of torch.float32",
    ),
    "there is one tensor too many": (
        lambda tensors: tensors | {"more": torch.ones(1)},
        "model.safetensors holds more, which the model has not",
    ),
    "there are none": (lambda tensors: {}, "it holds no tensors"),
}


@pytest.mark.parametrize(("change", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_model_is_refused_where(change: Callable[[Tensors], Tensors], said: str, tmp_path: Path) -> None:
    model = Small()
    with pytest.raises(OperationalError) as caught:
        save_model(trainer(model, change), chat_tokenizer(), tmp_path / "model")
    assert caught.value.message == f"the saved model is not whole: {said}"
    assert caught.value.where == str(tmp_path / ".model.partial")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused_though_it_was_saved_faithfully(
    value: float, tmp_path: Path
) -> None:
    model = Small()
    model.get_buffer("mean")[1] = value
    with pytest.raises(OperationalError, match=r"mean in model\.safetensors is not finite"):
        save_model(trainer(model), chat_tokenizer(), tmp_path / "model")


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    model = Small()
    trainer(model).save_model(str(tmp_path))
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(OperationalError, match="a file cannot be read"):
        check_saved(tmp_path, model)


def test_every_file_of_a_model_is_read_back(tmp_path: Path) -> None:
    model = Small()
    tensors = model.state_dict()
    save_file({"mean": tensors.pop("mean")}, tmp_path / "model-00001-of-00002.safetensors")
    save_file(with_one_bit_changed(tensors), tmp_path / "model-00002-of-00002.safetensors")
    check_saved(tmp_path, model)  # the state shares the model's memory, so both have the bit
    save_file({"mean": torch.zeros(2)}, tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(OperationalError, match=r"mean in model-00001-of-00002\.safetensors differs"):
        check_saved(tmp_path, model)


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("full_at", ["the weights", "the tokenizer"])
def test_a_disk_without_room_for_the_model_is_said_to_be_full_and_gets_its_space_back(
    full_at: str, tmp_path: Path
) -> None:
    save_model(trainer(Small()), chat_tokenizer(), tmp_path / "model")
    of, tokenizer = trainer(Small()), chat_tokenizer()
    if full_at == "the weights":
        of.save_model = full
    else:
        tokenizer = SimpleNamespace(save_pretrained=full)
    with pytest.raises(OSError, match=r"\.model\.partial could not be written in .* GiB are free") as caught:
        save_model(of, tokenizer, tmp_path / "model")
    assert caught.value.errno == errno.ENOSPC
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_a_whole_model_is_saved_with_its_tokenizer_and_nothing_beside_it(tmp_path: Path) -> None:
    save_model(trainer(Small()), chat_tokenizer(), tmp_path / "model")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {
        path.name for path in (tmp_path / "model").iterdir()
    }


def test_a_broken_model_leaves_the_one_before_it_untouched(tmp_path: Path) -> None:
    save_model(trainer(Small()), chat_tokenizer(), tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    with pytest.raises(OperationalError):
        save_model(trainer(Small(), without_the_last), chat_tokenizer(), tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_what_an_earlier_attempt_left_does_not_end_up_in_the_model(tmp_path: Path) -> None:
    with pytest.raises(OperationalError):
        save_model(trainer(Small(), without_the_last), chat_tokenizer(), tmp_path / "model")
    (partial,) = tmp_path.iterdir()
    (partial / "stale.safetensors").touch()
    save_model(trainer(Small()), chat_tokenizer(), tmp_path / "model")
    assert not (tmp_path / "model" / "stale.safetensors").exists()


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_are_saved_once_and_others_each(tied: bool, tmp_path: Path) -> None:
    model = causal_model(chat_tokenizer(), tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    check_saved(tmp_path, model)
    saved = load_file(tmp_path / "model.safetensors")
    assert ("lm_head.weight" in saved) == (not tied)
    name = "model.embed_tokens.weight"
    del saved[name]
    save_file(saved, tmp_path / "model.safetensors")
    with pytest.raises(OperationalError, match=f"{name} is missing"):
        check_saved(tmp_path, model)


def test_a_second_name_of_a_tied_weight_must_hold_the_same(tmp_path: Path) -> None:
    model = causal_model(chat_tokenizer(), tie_word_embeddings=True)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    check_saved(tmp_path, model)
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(OperationalError, match=r"lm_head\.weight in model\.safetensors differs"):
        check_saved(tmp_path, model)


def test_experts_that_are_fused_in_memory_are_compared_as_they_are_saved(tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 32, "moe_intermediate_size": 16, "vocab_size": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 1}
    config = Qwen3MoeConfig(num_experts=4, num_experts_per_tok=2, **shape, **heads)
    Qwen3MoeForCausalLM(config).save_pretrained(tmp_path)
    model = Qwen3MoeForCausalLM.from_pretrained(tmp_path)
    check_saved(tmp_path, model)
    saved = load_file(tmp_path / "model.safetensors")
    name = "model.layers.0.mlp.experts.3.up_proj.weight"
    save_file(saved | {name: saved[name] * 2}, tmp_path / "model.safetensors")
    with pytest.raises(OperationalError, match=f"{name} in model.safetensors differs"):
        check_saved(tmp_path, model)


@pytest.fixture
def adapter(tmp_path: Path) -> tuple[Module, Path]:
    """An adapter with a head that is trained in full beside it, saved."""
    base = BertForQuestionAnswering(encoder_model(encoder_tokenizer()).config)
    config = LoraConfig(task_type="QUESTION_ANS", r=2, target_modules=["query", "value"])
    model = get_peft_model(base, config)
    model.save_pretrained(tmp_path)
    check_saved(tmp_path, model)
    return model, tmp_path


@pytest.mark.parametrize(
    "ends", ["qa_outputs.weight", "layer.0.attention.self.query.lora_A.weight"], ids=["head", "adapter"]
)
@pytest.mark.parametrize("state", ["is missing", "in adapter_model.safetensors is empty"])
def test_an_adapter_is_refused_where_a_tensor_of_it_or_of_its_head(
    adapter: tuple[Module, Path], ends: str, state: str
) -> None:
    model, folder = adapter
    saved = load_file(folder / "adapter_model.safetensors")
    (name,) = [name for name in saved if name.endswith(ends)]
    if state == "is missing":
        del saved[name]
    else:
        # As ZeRO-3 leaves a tensor that nobody has gathered.
        saved[name] = torch.empty(0)
    save_file(saved, folder / "adapter_model.safetensors")
    with pytest.raises(OperationalError, match=f"{name} {state}"):
        check_saved(folder, model)


def test_an_adapter_is_saved_alone(adapter: tuple[Module, Path]) -> None:
    _, folder = adapter
    names = load_file(folder / "adapter_model.safetensors").keys()
    assert len(names) == 2 * 2 * 2 + 2
    assert json.loads((folder / "adapter_config.json").read_text())["modules_to_save"] == ["qa_outputs"]
