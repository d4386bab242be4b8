"""The shapes of known architectures, from their configurations alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launch.memory.model_shape import Block, Layer, Shape, Unknown
from rankfold.task_facts import task_facts

if TYPE_CHECKING:
    from rankfold.recipe.schema import Recipe

Config = Mapping[str, Any]


def _decoder(kind: str, config: Config, recipe: Recipe) -> Shape | Unknown:
    """Llama and its relatives: RMSNorm, rotary positions, grouped queries, a gated middle."""
    wanted = task_facts(recipe.task).model_kind
    if wanted != "decoder":
        return Unknown(f"{kind} is a language model, and {recipe.task} takes an {wanted}")
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
    wanted = task_facts(recipe.task).model_kind
    if wanted != "encoder":
        kinds = {"decoder": "a language model", "encoder-decoder": "an encoder-decoder"}
        return Unknown(f"{kind} is an encoder, and {recipe.task} takes {kinds[wanted]}")
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
    outputs = _num_outputs(recipe, config)
    layers.append(Layer("head", "head", h, outputs, True))
    dropout = bool(config.get(names.dropout, 0.1))
    block = Block(h, h, h, i, config[names.heads], is_gated=False, norm_in_float32=False, dropout=dropout)
    return Shape(kind, tuple(layers), config[names.blocks], block, outputs)


def _num_outputs(recipe: Recipe, config: Config) -> int:
    """Outputs of a head; labels that only the data names are left out, as are heads not known here."""
    num_labels = len(recipe.data.labels)
    known = {
        "extractive_qa": 2,
        "token_classification": 1 + 2 * num_labels,
        "text_classification": num_labels,
        "multiple_choice": 1,
        "masked_lm": int(config["vocab_size"]),
    }
    return known.get(recipe.task, 0)


ARCHITECTURES: Mapping[str, Callable[[str, Config, Recipe], Shape | Unknown]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _decoder),
    **dict.fromkeys(("bert", "distilbert", "roberta", "xlm-roberta"), _encoder),
}
"""`model_type` → how its configuration is read."""
