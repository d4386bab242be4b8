"""The estimate of memory, against transformers, PEFT, autograd and the published numbers of real models."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models import recipe
from transformers import AutoConfig, PreTrainedModel

from launch.memory.activations import activation_bytes, logit_bytes
from launch.memory.estimate import Estimate, estimate
from launch.memory.model_files import read_shape
from launch.memory.model_shape import Unknown
from rankfold.modeling.adapters import add_adapter, count_parameters
from rankfold.modeling.freeze import freeze
from rankfold.recipe.schema import Adapter, Distillation, Recipe
from rankfold.tasks.registry import load_task

DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 99,
}
ENCODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 99,
}
MODELS: dict[str, dict[str, Any]] = {
    "qwen2, tied": DECODER | {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen2": DECODER | {"model_type": "qwen2", "tie_word_embeddings": False},
    "qwen3": DECODER | {"model_type": "qwen3", "head_dim": 16},
    "llama": DECODER | {"model_type": "llama"},
    "llama with biases": DECODER | {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "mistral": DECODER | {"model_type": "mistral", "head_dim": 16},
    "bert": ENCODER | {"model_type": "bert", "type_vocab_size": 2},
    "distilbert": {
        "model_type": "distilbert",
        "dim": 32,
        "hidden_dim": 48,
        "n_layers": 3,
        "n_heads": 4,
        "vocab_size": 99,
    },
    "roberta": ENCODER | {"model_type": "roberta", "max_position_embeddings": 514, "type_vocab_size": 1},
    "xlm-roberta": ENCODER | {"model_type": "xlm-roberta", "max_position_embeddings": 514},
}
ENCODERS = ("bert", "distilbert", "roberta", "xlm-roberta")
TASKS = {
    name: ("extractive_qa", "token_classification") if name in ENCODERS else ("generative_ner",)
    for name in MODELS
}
CASES = [(name, task) for name, tasks in TASKS.items() for task in tasks]
NAMED = {"distilbert": ("q_lin", "ffn.lin2")}
"""Layers to put an adapter on, where they are not called as in BERT or Llama."""

LABELS = ("person", "place")


def described(folder: Path, config: dict[str, Any], task: str, /, **sections: Any) -> Recipe:
    """A recipe whose model is a folder with nothing but a configuration, as transformers writes it."""
    AutoConfig.for_model(**config).save_pretrained(folder)
    data = {"labels": list(LABELS)} if task == "token_classification" else {}
    return recipe(task, folder, **{"data": data, **sections})


def built(of: Recipe) -> PreTrainedModel:
    task = load_task(of.task)
    config = AutoConfig.from_pretrained(of.model.name_or_path, **task.model_config(LABELS))
    return getattr(transformers, task.auto_class).from_config(config)


def estimated(of: Recipe, world_size: int = 8) -> Estimate:
    found = estimate(of, world_size)
    assert isinstance(found, Estimate), found
    return found


@pytest.mark.parametrize(("name", "task"), CASES)
def test_parameters_are_counted_as_transformers_builds_them(name: str, task: str, tmp_path: Path) -> None:
    of = described(tmp_path, MODELS[name], task)
    found = estimated(of)
    assert (found.trainable_parameters, found.total_parameters) == count_parameters(built(of))


@pytest.mark.parametrize(("name", "task"), CASES)
@pytest.mark.parametrize("named", [False, True], ids=["all-linear", "named"])
def test_an_adapter_s_parameters_are_counted_as_peft_adds_them(
    name: str, task: str, named: bool, tmp_path: Path
) -> None:
    some = NAMED.get(name, ("query", "output.dense") if name in ENCODERS else ("q_proj", "mlp.down_proj"))
    adapter = Adapter(r=3, target_modules=some) if named else Adapter(r=3)
    of = described(tmp_path, MODELS[name], task, model={"adapter": adapter.model_dump(mode="json")})
    found = estimated(of)
    adapted = add_adapter(built(of), adapter, load_task(task).peft_task_type)
    assert (found.trainable_parameters, found.total_parameters) == count_parameters(adapted)


METHODS: dict[str, Adapter] = {
    "dora": Adapter(method="dora", r=3),
    "rslora": Adapter(method="rslora", r=3),
    "ia3": Adapter(method="ia3"),
    "prompt_tuning": Adapter(method="prompt_tuning", num_virtual_tokens=5),
    "p_tuning": Adapter(method="p_tuning", num_virtual_tokens=5),
    "p_tuning, narrow": Adapter(method="p_tuning", num_virtual_tokens=5, encoder_hidden_size=12),
    "prefix_tuning": Adapter(method="prefix_tuning", num_virtual_tokens=5),
    "prefix_tuning, by a network": Adapter(
        method="prefix_tuning", num_virtual_tokens=5, encoder_hidden_size=12
    ),
}


@pytest.mark.parametrize(("name", "task"), [("qwen2, tied", "generative_ner"), ("bert", "extractive_qa")])
@pytest.mark.parametrize("adapter", METHODS.values(), ids=METHODS.keys())
def test_each_method_s_parameters_are_counted_as_peft_adds_them(
    name: str, task: str, adapter: Adapter, tmp_path: Path
) -> None:
    of = described(tmp_path, MODELS[name], task, model={"adapter": adapter.model_dump(mode="json")})
    found = estimated(of)
    adapted = add_adapter(built(of), adapter, load_task(task).peft_task_type)
    assert (found.trainable_parameters, found.total_parameters) == count_parameters(adapted)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_frozen_layers_are_counted_as_they_are_frozen(name: str, task: str, tmp_path: Path) -> None:
    of = described(tmp_path, MODELS[name], task, model={"num_frozen_layers": 2})
    model = built(of)
    freeze(model, of.model)
    found = estimated(of)
    assert (found.trainable_parameters, found.total_parameters) == count_parameters(model)


def test_a_base_in_4_bits_takes_about_half_a_byte_for_each_weight_of_its_blocks(tmp_path: Path) -> None:
    adapter = {"adapter": {"method": "lora", "r": 1}}
    gpus = {"train": {"gpus_per_node": 1}, "evaluate": {"gpus_per_node": 1}}
    whole = described(tmp_path, MODELS["qwen2"], "generative_ner", model=adapter, resources=gpus)
    few = described(
        tmp_path,
        MODELS["qwen2"],
        "generative_ner",
        model={**adapter, "quantization": {"bits": 4}},
        resources=gpus,
    )
    shape = read_shape(few)
    assert not isinstance(shape, Unknown)
    matrices = sum(
        layer.inputs * layer.outputs
        for layer in shape.layers
        if layer.kind == "linear" and layer.name != "lm_head"
    )
    saved = estimated(whole).chosen.memory.parameters - estimated(few).chosen.memory.parameters
    # 4 bits and 1/64 of a byte for its scale, of 4 bytes.
    assert saved == pytest.approx(matrices * (4 - 0.5 - 1 / 64), rel=0.001)


def test_a_teacher_is_held_beside_the_student_and_said_to_be_unknown_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    AutoConfig.for_model(**MODELS["bert"]).save_pretrained(tmp_path / "teacher")
    alone = described(tmp_path, MODELS["distilbert"], "extractive_qa")
    taught = alone.model_copy(
        update={"train": alone.train.model_copy(update={"distillation": Distillation(teacher="t/t")})}
    )
    found = estimate(taught, 1)
    assert isinstance(found, Unknown)
    assert "the teacher t/t" in found.reason
    settings = Distillation(teacher=str(tmp_path / "teacher"))
    taught = taught.model_copy(update={"train": taught.train.model_copy(update={"distillation": settings})})
    one = described(tmp_path / "teacher", MODELS["bert"], "extractive_qa")
    more = estimated(taught).chosen.memory.buffers - estimated(alone).chosen.memory.buffers
    assert more == 4 * estimated(one).total_parameters


def test_patterns_of_names_leave_the_memory_unknown(tmp_path: Path) -> None:
    of = described(tmp_path, MODELS["bert"], "extractive_qa", model={"freeze": ["*embeddings*"]})
    found = estimate(of, 1)
    assert isinstance(found, Unknown)
    assert "model.freeze" in found.reason


@pytest.mark.parametrize(
    ("config", "task", "parameters"),
    [
        (
            {
                "model_type": "qwen2",
                "hidden_size": 1536,
                "intermediate_size": 8960,
                "num_hidden_layers": 28,
                "num_attention_heads": 12,
                "num_key_value_heads": 2,
                "vocab_size": 151936,
                "tie_word_embeddings": True,
            },
            "generative_ner",
            1_543_714_304,
        ),
        ({"model_type": "distilbert"}, "extractive_qa", 66_364_418),
        ({"model_type": "bert"}, "extractive_qa", 108_893_186),
    ],
    ids=["Qwen2-1.5B", "distilbert-base-uncased", "bert-base-uncased"],
)
def test_real_models_have_as_many_parameters_as_they_are_known_for(
    config: dict[str, Any], task: str, parameters: int, tmp_path: Path
) -> None:
    assert estimated(described(tmp_path, config, task)).total_parameters == parameters


def test_a_recipe_that_takes_the_bucket_size_back_gets_deepspeed_s_own(tmp_path: Path) -> None:
    overrides = {"zero_optimization": {"reduce_bucket_size": None, "allgather_bucket_size": None}}
    distributed = {"strategy": "zero2", "deepspeed": overrides}
    of = described(tmp_path, MODELS["bert"], "extractive_qa", distributed=distributed)
    assert estimated(of).chosen.memory.buffers == 4 * 500_000_000


class Kept:
    """Counts the bytes that autograd keeps beside the model's own weights, each storage once."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self.storages: dict[int, Any] = {}

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.own:
            # Held, so that its address is not given to another.
            self.storages[storage.data_ptr()] = storage
        return tensor

    @property
    def bytes(self) -> int:
        return sum(int(storage.nbytes()) for storage in self.storages.values())


@pytest.mark.parametrize("precision", ["float32", "bf16 autocast", "bfloat16"])
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize(("name", "task"), [("qwen2, tied", "generative_ner"), ("bert", "extractive_qa")])
def test_activations_are_estimated_within_a_third_of_what_autograd_keeps(
    name: str, task: str, gradient_checkpointing: bool, precision: str, tmp_path: Path
) -> None:
    wide: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 6,
        "vocab_size": 64,
    }
    if name == "bert":
        # On CPUs dropout keeps floats for masks, and attention with dropout falls back to the eager one.
        wide |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    of = described(
        tmp_path,
        MODELS[name] | wide,
        task,
        data={"max_length": 128, "doc_stride": 8},
        model={"torch_dtype": "bfloat16" if precision == "bfloat16" else "float32"},
        train={
            "per_device_train_batch_size": 4,
            "gradient_checkpointing": gradient_checkpointing,
            "bf16": precision == "bf16 autocast",
        },
    )
    model = built(of).to(getattr(torch, of.model.torch_dtype)).train()
    if gradient_checkpointing:
        model.activation_checkpointing_enable()
    shape = read_shape(of)
    assert not isinstance(shape, Unknown)
    kept = Kept(model)
    ids = torch.zeros(4, 128, dtype=torch.long)
    autocast = torch.autocast("cpu", torch.bfloat16) if of.train.bf16 else nullcontext()
    with autocast, torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor):
        if task == "generative_ner":
            model(input_ids=ids, labels=ids, use_cache=False)
        else:
            model(input_ids=ids, start_positions=ids[:, 0], end_positions=ids[:, 0])
    width = 4 if precision == "float32" else 2
    found = (activation_bytes(shape, of, width) or 0) + logit_bytes(shape, of, width)
    if gradient_checkpointing:
        # The block that is computed again is not kept by the forward pass.
        whole = of.model_copy(update={"train": of.train.model_copy(update={"gradient_checkpointing": False})})
        found -= (activation_bytes(shape, whole, width) or 0) // shape.blocks
    # Autocast's copies of matrices are counted elsewhere; a checkpointed forward pass keeps none.
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    cast = of.train.bf16 and not gradient_checkpointing
    copies = sum(2 * matrix.numel() for matrix in matrices) if cast else 0
    ratio = found / (kept.bytes - copies)
    assert 2 / 3 < ratio < 3 / 2
