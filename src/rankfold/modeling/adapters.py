"""Putting a PEFT adapter on a model, as the recipe says."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    PromptTuningInit,
    get_peft_model,
)
from torch.nn import Linear, Module
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from rankfold.errors import ModelError
from rankfold.modeling.lora import round_once
from rankfold.modeling.parameters import num_elements
from rankfold.modeling.virtual_tokens import VirtualTokenModel
from rankfold.recipe.schema import Adapter

TRAINED_IN_FULL: Mapping[str, Sequence[str]] = {
    "QUESTION_ANS": ("qa_outputs",),
    "TOKEN_CLS": ("classifier", "score"),
    "SEQ_CLS": ("classifier", "score"),
}
"""Heads that PEFT trains beside the adapter, by task type; all-linear would put an adapter on them too."""

UNUSED_POOLER_TASK = "FEATURE_EXTRACTION"
"""PEFT's name for embeddings of texts, which are made of the last hidden states."""

_NO_TARGETS = "model.adapter.target_modules"


def add_adapter(
    model: PreTrainedModel,
    adapter: Adapter,
    peft_task_type: str,
    *,
    new_parameters: Collection[str] = (),
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> PeftModel:
    """Freeze the model and add trainable adapter weights.

    Args:
        model: The base model; its modules are changed.
        adapter: The method and its settings.
        peft_task_type: PEFT's name for the task.
        new_parameters: Parameters that the model's files did not hold: their layers are trained in full.
        tokenizer: Reads the words that virtual tokens start from.

    Raises:
        ModelError: `target_modules` names a layer that the model does not have, or that takes no adapter.
    """
    heads = _trained_in_full(model, peft_task_type, new_parameters)
    try:
        if adapter.trains_virtual_tokens:
            config = _virtual_token_config(model, adapter, peft_task_type, heads)
            prompted = VirtualTokenModel(model, config)
            if adapter.prompt_tuning_init_text is not None and tokenizer is not None:
                _start_from_words(prompted, tokenizer, adapter.prompt_tuning_init_text)
            return prompted
        _check_targets(model, adapter)
        adapted = get_peft_model(model, _layer_config(model, adapter, peft_task_type, heads))
    except ValueError as error:
        raise ModelError(
            f"no adapter could be added: {error}",
            where="model.adapter.method" if adapter.trains_virtual_tokens else _NO_TARGETS,
            remedy="Use lora." if adapter.trains_virtual_tokens else _layers_remedy(model),
        ) from error
    round_once(adapted)
    return adapted


def count_parameters(model: PreTrainedModel | PeftModel) -> tuple[int, int]:
    """Return (trainable, all) parameters, however they are stored."""
    sizes = [(num_elements(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes)


def _layer_config(
    model: PreTrainedModel, adapter: Adapter, peft_task_type: str, heads: Sequence[str]
) -> PeftConfig:
    """PEFT's settings of a method that changes layers."""
    common: dict[str, Any] = {"task_type": peft_task_type or None, "modules_to_save": list(heads) or None}
    if adapter.method == "ia3":
        vectors = _ia3_targets(model, adapter, [*heads, *unused_layers(model, peft_task_type)])
        feedforward = [name for name in vectors if _leaves_the_middle(model, name)]
        return IA3Config(target_modules=vectors, feedforward_modules=feedforward, **common)
    targets = adapter.target_modules
    left_out = [*heads, *unused_layers(model, peft_task_type)]
    return LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        lora_dropout=adapter.lora_dropout,
        use_dora=adapter.method == "dora",
        use_rslora=adapter.method == "rslora",
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=_below(left_out) if left_out else None,
        **common,
    )


def _virtual_token_config(
    model: PreTrainedModel, adapter: Adapter, peft_task_type: str, heads: Sequence[str]
) -> PeftConfig:
    """PEFT's settings of a method that puts virtual tokens in front of every text."""
    common: dict[str, Any] = {
        "task_type": peft_task_type or None,
        "num_virtual_tokens": adapter.num_virtual_tokens,
        # An encoder-decoder gets them in front of the source alone, as Lester et al. (2021) have it.
        "num_transformer_submodules": 1,
        "modules_to_save": list(heads) or None,
    }
    if adapter.method != "prefix_tuning":
        # PEFT knows the names of some configurations only.
        common |= {
            "token_dim": model.config.hidden_size,
            "num_layers": model.config.num_hidden_layers,
            "num_attention_heads": model.config.num_attention_heads,
        }
    if adapter.method == "prompt_tuning":
        # Embeddings of real words are a better start than numbers as large as 1 (Lester et al., 2021).
        return PromptTuningConfig(prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB, **common)
    width = adapter.encoder_hidden_size
    if adapter.method == "p_tuning":
        return PromptEncoderConfig(encoder_hidden_size=width or model.config.hidden_size, **common)
    return PrefixTuningConfig(prefix_projection=width is not None, encoder_hidden_size=width, **common)


def _start_from_words(model: VirtualTokenModel, tokenizer: PreTrainedTokenizerBase, words: str) -> None:
    """Begin with the embeddings of these words, over and over or cut off, as many as there are tokens."""
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ModelError(f"the words {words!r} are no tokens", where="model.adapter.prompt_tuning_init_text")
    virtual = model.prompt_encoder[model.active_adapter].embedding.weight
    table = model.get_base_model().get_input_embeddings().weight
    chosen = torch.tensor([ids[place % len(ids)] for place in range(len(virtual))], device=table.device)
    with torch.no_grad():
        virtual.copy_(table[chosen])


def _trained_in_full(
    model: PreTrainedModel, peft_task_type: str, new_parameters: Collection[str]
) -> list[str]:
    """Layers trained beside the adapter: the task's head, and whatever else would stay as chance made it."""
    named = [name for name, _ in model.named_modules()]
    wanted = TRAINED_IN_FULL.get(peft_task_type, ())
    # PEFT trains whatever ends like this, such as DistilBERT's pre_classifier.
    heads = [name for name in named if name.endswith(tuple(wanted))] if wanted else []
    owners = {name.rpartition(".")[0] for name in new_parameters} - {""}
    # A copy of the output embedding would no longer be tied to the input's.
    tied = {name for name, module in model.named_modules() if module is model.get_output_embeddings()}
    owners = {name for name in owners if not any(_is_within(one, name) for one in tied)}
    return heads + [name for name in sorted(owners) if not any(_is_within(name, head) for head in heads)]


def unused_layers(model: PreTrainedModel, peft_task_type: str) -> list[str]:
    """Layers whose output the task never looks at: nothing there would ever learn."""
    if peft_task_type != UNUSED_POOLER_TASK:
        return []
    return [name for name, _ in model.named_children() if name == "pooler"]


def _is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _below(modules: Sequence[str]) -> str:
    """A pattern of these modules and all that is in them."""
    return rf"(?:{'|'.join(map(re.escape, modules))})(?:\..*)?"


def _check_targets(model: PreTrainedModel, adapter: Adapter) -> None:
    """PEFT is content as soon as one of the names fits, and trains less than the recipe says."""
    targets = adapter.target_modules
    unknown = [] if isinstance(targets, str) else _unknown_layers(model, targets)
    if unknown:
        raise ModelError(
            f"the model has no layer named {', '.join(unknown)}",
            where=_NO_TARGETS,
            remedy=_layers_remedy(model),
        )


def _ia3_targets(model: PreTrainedModel, adapter: Adapter, heads: Sequence[str]) -> list[str]:
    """Whole names of the layers that get a vector; all-linear leaves out heads and the output embedding."""
    if isinstance(adapter.target_modules, str):
        left_out = model.get_output_embeddings()
        return [
            name
            for name, module in model.named_modules()
            if _is_linear(module)
            and module is not left_out
            and not any(_is_within(name, head) for head in heads)
        ]
    ends = tuple(f".{name}" for name in adapter.target_modules)
    return [name for name, _ in model.named_modules() if f".{name}".endswith(ends)]


def _leaves_the_middle(model: PreTrainedModel, name: str) -> bool:
    """Whether a layer leads from a block's wide middle back: (IA)³ scales its input instead of its output."""
    layer = model.get_submodule(name)
    if not isinstance(layer, Linear):
        return False
    return layer.in_features > layer.out_features and layer.out_features == int(model.config.hidden_size)


def _unknown_layers(model: PreTrainedModel, names: Sequence[str]) -> list[str]:
    # A dot in front makes PEFT's rule, the whole name or its end after a dot, one rule.
    layers = [f".{layer}" for layer, _ in model.named_modules()]
    return [name for name in names if not any(layer.endswith(f".{name}") for layer in layers)]


def _layers_remedy(model: PreTrainedModel) -> str:
    names = sorted({name.rsplit(".", 1)[-1] for name, layer in model.named_modules() if _is_linear(layer)})
    return f"Use all-linear, or name some of: {', '.join(names)}."


def _is_linear(module: Module) -> bool:
    return isinstance(module, Linear | Conv1D)
