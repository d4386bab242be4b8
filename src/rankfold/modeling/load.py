"""Loading models and tokenizers, with and without an adapter."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rankfold.errors import ModelError
from rankfold.recipe.schema import Model

ADAPTER_FILE = "adapter_config.json"


@dataclass(frozen=True)
class LoadedModel:
    """A model and the names of parameters that its files did not hold, such as a new head."""

    model: PreTrainedModel
    new_parameters: frozenset[str]


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer with character offsets and a padding token.

    Raises:
        ModelError: There is no fast tokenizer, so character offsets cannot be had.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer in {folder} has no fast version, which character offsets need",
            where="model.name_or_path",
            remedy="Convert it with transformers' convert_slow_tokenizer, or choose another model.",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(folder: Path, model: Model, auto_class: str) -> LoadedModel:
    """Load weights for a task: `auto_class` names transformers' class, such as AutoModelForCausalLM.

    Raises:
        ModelError: The folder's architecture has no such task, or a weight has another shape.
    """
    options: dict[str, Any] = dict(model.config)
    if model.attn_implementation is not None:
        options["attn_implementation"] = model.attn_implementation
    try:
        loaded, info = getattr(transformers, auto_class).from_pretrained(
            folder,
            dtype=getattr(torch, model.torch_dtype),
            use_safetensors=True,
            trust_remote_code=model.trust_remote_code,
            output_loading_info=True,
            **options,
        )
    except (ValueError, OSError, TypeError) as error:
        raise ModelError(
            f"{auto_class} cannot load {folder}: {error}",
            where="model",
            remedy="Choose a model of the task's kind, or correct model.config.",
        ) from error
    return LoadedModel(loaded, frozenset(info["missing_keys"]))


def load_trained(base: Path, trained: Path, model: Model, auto_class: str) -> PreTrainedModel:
    """Load what a run trained: the adapter on its base, or the full model."""
    if not (trained / ADAPTER_FILE).is_file():
        return load_model(trained, model, auto_class).model
    from peft import PeftModel

    with_adapter = PeftModel.from_pretrained(load_model(base, model, auto_class).model, trained)
    # Merged, generation costs what the base model costs; outputs differ in the last bits only.
    merged: PreTrainedModel = with_adapter.merge_and_unload()
    return merged
