"""What a model is made of, from its config.json alone: sizes of weights, and widths for its activations.

Weights are listed as transformers names them, so that the layers which an adapter's `target_modules` means
can be found by PEFT's own rule.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rankfold.errors import ModelError

if TYPE_CHECKING:
    from rankfold.recipe.schema import Adapter, Model, Recipe

Kind = Literal["linear", "embedding", "other", "head"]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """A layer with weights: its name, and its width in and out where an adapter may go on it."""

    name: str
    kind: Kind
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def parameters(self) -> int:
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)


@dataclass(frozen=True)
class Block:
    """Widths of one transformer block, in elements a token.

    Attributes:
        hidden: The stream that runs through all blocks.
        query: All heads' queries together, and so the attention's output.
        key_value: All heads' keys, and again as many values.
        intermediate: The widest layer.
        heads: Attention heads.
        is_gated: Two such wide layers are multiplied, as in Llama.
        norm_in_float32: The norm computes in float32 whatever it gets, as transformers' RMSNorm.
        dropout: Whether dropout is on, so that its masks are kept.
    """

    hidden: int
    query: int
    key_value: int
    intermediate: int
    heads: int
    is_gated: bool
    norm_in_float32: bool
    dropout: bool


@dataclass(frozen=True)
class Shape:
    """A model with its task's head.

    Attributes:
        kind: `model_type` of its configuration.
        layers: Every layer with weights; a tied head is left out.
        blocks: How many transformer blocks.
        block: Their widths; None where the architecture is not known here.
        logits: Outputs of the head a token.
    """

    kind: str
    layers: tuple[Layer, ...]
    blocks: int
    block: Block | None
    logits: int

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)


@dataclass(frozen=True)
class Unknown:
    """Why nothing can be said about a model."""

    reason: str


def read_shape(recipe: Recipe) -> Shape | Unknown:
    """Describe a recipe's model from files that are here; reads a few kilobytes, downloads nothing."""
    folder = _folder(recipe.model)
    if isinstance(folder, Unknown):
        return folder
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Unknown(f"its config.json cannot be read ({error})")
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return Unknown("its config.json names no model_type")
    config |= recipe.model.config
    kind: str = config["model_type"]
    architecture = ARCHITECTURES.get(kind)
    if architecture is None:
        return _from_files(folder, kind)
    try:
        return architecture(kind, config, recipe)
    except (KeyError, TypeError) as error:
        return Unknown(f"its config.json lacks {error}")


def adapted(shape: Shape, adapter: Adapter) -> tuple[Layer, ...]:
    """The layers that get an adapter: by PEFT's rule, the whole name or its end after a dot."""
    # The task's own head is trained in full beside the adapter instead.
    fitting = [layer for layer in shape.layers if layer.kind in ("linear", "embedding")]
    if adapter.target_modules == "all-linear":
        # All but a language model's head, which is no part of its blocks.
        return tuple(layer for layer in fitting if layer.kind == "linear" and layer.name != "lm_head")
    ends = tuple(f".{name}" for name in adapter.target_modules)
    return tuple(layer for layer in fitting if f".{layer.name}".endswith(ends))


def _folder(model: Model) -> Path | Unknown:
    from rankfold.hub_cache import find_snapshot, hub_cache, model_repository
    from rankfold.modeling.packages import cache_folder, converted_folder, package_model
    from rankfold.recipe.schema import PACKAGE_PREFIX

    name = model.name_or_path
    if name.startswith(PACKAGE_PREFIX):
        try:
            found = package_model(name.removeprefix(PACKAGE_PREFIX))
        except ModelError as error:
            return Unknown(error.message)
        if found.is_dir():
            return found
        # Hashing a file of a hundred megabytes takes a while.
        if (cache_folder() / "converted").is_dir() and (folder := converted_folder(found)).is_dir():
            return folder
        return Unknown("its GGUF file has not been converted yet")
    repository = model_repository(model)
    if repository is None:
        return Path(name).expanduser()
    snapshot = find_snapshot(repository, hub_cache())
    return snapshot.folder if snapshot else Unknown("it has not been fetched yet")


def _decoder(kind: str, config: Config, recipe: Recipe) -> Shape | Unknown:
    """Llama and its relatives: RMSNorm, rotary positions, grouped queries, a gated middle."""
    if recipe.task != "generative_ner":
        return Unknown(f"{kind} is a language model, and {recipe.task} takes an encoder")
    h, i, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    width = config.get("head_dim") or h // heads
    query, key_value = heads * width, (config.get("num_key_value_heads") or heads) * width
    qkv_bias = kind == "qwen2" or bool(config.get("attention_bias"))
    out_bias = kind != "qwen2" and bool(config.get("attention_bias"))
    middle_bias = kind == "llama" and bool(config.get("mlp_bias"))
    layers = [Layer("model.embed_tokens", "embedding", config["vocab_size"], h)]
    for index in range(config["num_hidden_layers"]):
        at = f"model.layers.{index}"
        layers += [
            Layer(f"{at}.self_attn.q_proj", "linear", h, query, qkv_bias),
            Layer(f"{at}.self_attn.k_proj", "linear", h, key_value, qkv_bias),
            Layer(f"{at}.self_attn.v_proj", "linear", h, key_value, qkv_bias),
            Layer(f"{at}.self_attn.o_proj", "linear", query, h, out_bias),
            Layer(f"{at}.mlp.gate_proj", "linear", h, i, middle_bias),
            Layer(f"{at}.mlp.up_proj", "linear", h, i, middle_bias),
            Layer(f"{at}.mlp.down_proj", "linear", i, h, middle_bias),
            Layer(f"{at}.norms", "other", 2, h),
        ]
        if kind == "qwen3":
            layers.append(Layer(f"{at}.self_attn.norms", "other", 2, width))
    layers.append(Layer("model.norm", "other", 1, h))
    if not config.get("tie_word_embeddings", _TIED_BY_DEFAULT[kind]):
        layers.append(Layer("lm_head", "linear", h, config["vocab_size"]))
    block = Block(h, query, key_value, i, heads, is_gated=True, norm_in_float32=True, dropout=False)
    return Shape(kind, tuple(layers), config["num_hidden_layers"], block, config["vocab_size"])


_TIED_BY_DEFAULT = {"llama": False, "mistral": False, "qwen2": False, "qwen3": False}


@dataclass(frozen=True)
class _EncoderNames:
    """How an encoder's configuration and layers are called."""

    hidden: str
    intermediate: str
    blocks: str
    heads: str
    block: str
    query_key_value: tuple[str, str, str]
    rest: tuple[str, str, str]
    dropout: str


_BERT = _EncoderNames(
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    block="encoder.layer",
    query_key_value=("attention.self.query", "attention.self.key", "attention.self.value"),
    rest=("attention.output.dense", "intermediate.dense", "output.dense"),
    dropout="hidden_dropout_prob",
)
_DISTILBERT = _EncoderNames(
    *("dim", "hidden_dim", "n_layers", "n_heads"),
    block="transformer.layer",
    query_key_value=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    rest=("attention.out_lin", "ffn.lin1", "ffn.lin2"),
    dropout="dropout",
)


def _encoder(kind: str, config: Config, recipe: Recipe) -> Shape | Unknown:
    """BERT and its relatives: learned positions, LayerNorm, a plain middle, a head of a few outputs."""
    if recipe.task == "generative_ner":
        return Unknown(f"{kind} is an encoder, and generative_ner takes a language model")
    names = _DISTILBERT if kind == "distilbert" else _BERT
    h, i = config[names.hidden], config[names.intermediate]
    top = {"distilbert": "distilbert", "bert": "bert"}.get(kind, "roberta")
    layers = [
        Layer(f"{top}.embeddings.word_embeddings", "embedding", config["vocab_size"], h),
        Layer(f"{top}.embeddings.position_embeddings", "embedding", config["max_position_embeddings"], h),
    ]
    if kind != "distilbert":
        types = config.get("type_vocab_size", 2)
        layers.append(Layer(f"{top}.embeddings.token_type_embeddings", "embedding", types, h))
    layers.append(Layer(f"{top}.embeddings.norm", "other", 2, h))
    first, wide, last = names.rest
    for index in range(config[names.blocks]):
        at = f"{top}.{names.block}.{index}"
        layers += [Layer(f"{at}.{name}", "linear", h, h, True) for name in (*names.query_key_value, first)]
        layers += [Layer(f"{at}.{wide}", "linear", h, i, True), Layer(f"{at}.{last}", "linear", i, h, True)]
        layers.append(Layer(f"{at}.norms", "other", 4, h))
    outputs = 2 if recipe.task == "extractive_qa" else _num_tags(recipe)
    layers.append(Layer("head", "head", h, outputs, True))
    dropout = bool(config.get(names.dropout, 0.1))
    block = Block(h, h, h, i, config[names.heads], is_gated=False, norm_in_float32=False, dropout=dropout)
    return Shape(kind, tuple(layers), config[names.blocks], block, outputs)


def _num_tags(recipe: Recipe) -> int:
    """Outputs of a tagger: one, and two for each label; labels that only the data names are left out."""
    return 1 + 2 * len(recipe.data.labels)


ARCHITECTURES: Mapping[str, Callable[[str, Config, Recipe], Shape | Unknown]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _decoder),
    **dict.fromkeys(("bert", "distilbert", "roberta", "xlm-roberta"), _encoder),
}
"""`model_type` → how its configuration is read."""


def _from_files(folder: Path, kind: str) -> Shape | Unknown:
    """Only the number of parameters, from the headers of the model's safetensors."""
    try:
        sizes = dict(_tensor_sizes(folder))
    except (OSError, ValueError, KeyError, struct.error) as error:
        return Unknown(f"its safetensors cannot be read ({error})")
    if not sizes:
        return Unknown(f"{kind} is an architecture that is not known here, and it has no safetensors")
    layers = tuple(Layer(name, "other", size, 1) for name, size in sizes.items())
    return Shape(kind, layers, 0, None, 0)


def _tensor_sizes(folder: Path) -> Iterator[tuple[str, int]]:
    """Name and number of elements of each tensor; a header's length is its first 8 bytes, little endian."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, path.stat().st_size)))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield name, math.prod(tensor["shape"])
