"""Loading models and tokenizers, with and without an adapter."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rankfold.earlier_runs import ADAPTER_FILE
from rankfold.errors import ModelError
from rankfold.modeling.output_layer import multiply_in_one_piece
from rankfold.modeling.parameters import num_elements
from rankfold.recipe.schema import Model

NO_CONFIG: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class LoadedModel:
    """A model and the names of parameters that its files did not hold, such as a new head."""

    model: PreTrainedModel
    new_parameters: frozenset[str]


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer with character offsets and a padding token.

    Raises:
        ModelError: There is none, or no fast one, so character offsets cannot be had, or nothing to pad with.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (ValueError, OSError) as error:
        raise _no_tokenizer(folder, str(error)) from error
    _check_vocabulary(tokenizer, folder)
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer in {folder} has no fast version, which character offsets need",
            where="model.name_or_path",
            remedy="Convert it with transformers' convert_slow_tokenizer, or choose another model.",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise ModelError(
            f"the tokenizer in {folder} has neither a padding nor an end-of-text token",
            where="model.name_or_path",
            remedy="Set pad_token in its tokenizer_config.json.",
        )
    return tokenizer


def _check_vocabulary(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Where the files are missing, transformers makes a tokenizer of special tokens, and perhaps a space."""
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) <= 1:
        raise _no_tokenizer(folder, "its vocabulary is missing")


def _no_tokenizer(folder: Path, reason: str) -> ModelError:
    return ModelError(
        f"no tokenizer can be loaded from {folder}: {reason}",
        where="model.name_or_path",
        remedy="Put the model's tokenizer.json and tokenizer_config.json into that folder.",
    )


def load_model(
    folder: Path, model: Model, auto_class: str, task_config: Mapping[str, Any] = NO_CONFIG
) -> LoadedModel:
    """Load weights for a task.

    Args:
        folder: Configuration and weights, as transformers writes them.
        model: Settings of the recipe.
        auto_class: Name of transformers' class, such as AutoModelForCausalLM.
        task_config: Values of the configuration that the task and its labels demand.

    Raises:
        ModelError: The folder's architecture has no such task, a file is damaged, a weight has another
            shape, or most weights are not in the files, so that the model would start from chance, or one
            that is not gets no first value. Or the recipe wants few bits, and bitsandbytes or a GPU is
            missing.
    """
    options: dict[str, Any] = {**model.config, **task_config}
    if model.attn_implementation is not None:
        options["attn_implementation"] = model.attn_implementation
    if model.quantization is not None:
        from rankfold.modeling.quantization import quantization_config

        options["quantization_config"] = quantization_config(model)
    try:
        with _unwritten_memory_is_nan():
            loaded, info = getattr(transformers, auto_class).from_pretrained(
                folder,
                dtype=getattr(torch, model.torch_dtype),
                use_safetensors=True,
                trust_remote_code=model.trust_remote_code,
                output_loading_info=True,
                # Refused below, with names and shapes.
                ignore_mismatched_sizes=True,
                **options,
            )
    except (ValueError, OSError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"{auto_class} cannot load {folder}: {error}",
            where="model",
            remedy="Choose a model of the task's kind, or correct model.config.",
        ) from error
    _forget_unused_renamings(loaded)
    _check_shapes(info["mismatched_keys"], folder)
    new_parameters = frozenset(info["missing_keys"])
    _check_mostly_known(loaded, new_parameters, folder)
    _give_first_values(loaded, new_parameters, folder)
    multiply_in_one_piece(loaded)
    return LoadedModel(loaded, new_parameters)


def load_trained(
    base: Path, trained: Path, model: Model, auto_class: str, task_config: Mapping[str, Any] = NO_CONFIG
) -> PreTrainedModel:
    """Load what a run trained, the adapter on its base or the full model; arguments as `load_model`."""
    if not (trained / ADAPTER_FILE).is_file():
        return load_model(trained, model, auto_class, task_config).model
    from peft import PeftConfig, PeftModel

    base_model = load_model(base, model, auto_class, task_config).model
    if PeftConfig.from_pretrained(trained).is_prompt_learning:
        from rankfold.modeling.virtual_tokens import load_virtual_tokens

        return load_virtual_tokens(base_model, trained)
    with_adapter = PeftModel.from_pretrained(base_model, trained)
    if model.quantization is not None:
        # Merged into few bits it would be rounded away: it stays beside them, as it was trained.
        beside: PreTrainedModel = with_adapter.get_base_model()
        return beside
    # Merged, generation costs what the base model costs. What bfloat16 rounds away of a trained adapter is
    # not felt: held-out loss of SmolLM2 0.2711 merged, 0.2721 beside the base, 0.2719 in float32.
    merged: PreTrainedModel = with_adapter.merge_and_unload()
    return merged


@contextmanager
def _unwritten_memory_is_nan() -> Iterator[None]:
    """Have PyTorch fill new memory, so that what nobody initialised is not what happened to lie there."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        # The fill comes with the deterministic algorithms; loading needs none of those.
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


def _give_first_values(model: PreTrainedModel, new_parameters: frozenset[str], folder: Path) -> None:
    """Start what transformers forgets from zero, if it is a bias.

    It builds a model without memory, so a value that only a constructor gives is lost. Where the architecture
    does not initialise it again, as Longformer, FNet and Nyströmformer do not the bias of their language
    modelling heads, the weight is whatever memory it gets (5.23).
    """
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name not in new_parameters or not parameter.isnan().any():
            continue
        if name.rpartition(".")[2] != "bias":
            raise ModelError(
                f"the weight {name} of {type(model).__name__} is not in {folder}, and transformers "
                f"{transformers.__version__} gives it no first value",
                where="model.name_or_path",
                remedy="Choose a model whose files hold it, such as one that was saved with its head.",
            )
        with torch.no_grad():
            parameter.zero_()


def _forget_unused_renamings(model: PreTrainedModel) -> None:
    """Under ZeRO-3 transformers keeps renamings that no weight needed, and saving would undo them too.

    BERT's norms, for one, would be saved under names that only transformers still reads.
    """
    conversions = getattr(model, "_weight_conversions", None)
    if conversions:
        model._weight_conversions = [one for one in conversions if one.was_used()]


def _check_shapes(mismatched: Iterable[tuple[str, Sequence[int], Sequence[int]]], folder: Path) -> None:
    for name, in_file, in_model in sorted(mismatched):
        raise ModelError(
            f"the weight {name} is {list(in_file)} in {folder}, but {list(in_model)} in the model",
            where="model.config",
            remedy="Leave out settings that change the shape of weights, or choose a model without a head "
            "for other labels.",
        )


def _check_mostly_known(model: PreTrainedModel, new_parameters: frozenset[str], folder: Path) -> None:
    """transformers only warns where the names in the files are others, and leaves the weights to chance."""
    sizes = {name: num_elements(parameter) for name, parameter in model.named_parameters()}
    new = sum(size for name, size in sizes.items() if name in new_parameters)
    if 2 * new > sum(sizes.values()):
        raise ModelError(
            f"{new:,} of the {sum(sizes.values()):,} weights of {type(model).__name__} are not in {folder}",
            where="model.name_or_path",
            remedy="Choose a model of the task's kind: an encoder for extractive_qa or "
            "token_classification, a causal language model for generative_ner.",
        )
