"""Methods of fine-tuning that do not go with other settings: adapters, few bits, frozen layers, teachers."""

from collections.abc import Iterator, Mapping

from rankfold.recipe.conflict import Conflict
from rankfold.recipe.entries import listed
from rankfold.recipe.schema import PACKAGE_PREFIX, Adapter, Quantization, Recipe
from rankfold.task_facts import task_facts

_LORA = ("lora", "dora", "rslora")
_VIRTUAL_TOKENS = ("prefix_tuning", "prompt_tuning", "p_tuning")

_METHODS_OF: Mapping[str, tuple[str, ...]] = {
    "r": _LORA,
    "lora_alpha": _LORA,
    "lora_dropout": _LORA,
    "target_modules": (*_LORA, "ia3"),
    "num_virtual_tokens": _VIRTUAL_TOKENS,
    "encoder_hidden_size": ("prefix_tuning", "p_tuning"),
    "prompt_tuning_init_text": ("prompt_tuning",),
}
"""Field of an adapter → the methods that read it."""


def method_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Find settings of the way to train that cannot work, or that nothing would read."""
    if recipe.model.adapter is not None:
        yield from _unread_fields(recipe.model.adapter)
    yield from _virtual_token_conflicts(recipe)
    yield from _frozen_conflicts(recipe)
    yield from _quantization_conflicts(recipe)
    yield from _distillation_conflicts(recipe)


def _unread_fields(adapter: Adapter) -> Iterator[Conflict]:
    for field, methods in _METHODS_OF.items():
        changed = getattr(adapter, field) != Adapter.model_fields[field].default
        if changed and adapter.method not in methods:
            yield Conflict(
                (f"model.adapter.{field}",),
                f"is for {listed(list(methods), 'and')}, but method is {adapter.method}; leave it out",
            )


def _virtual_token_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    adapter = recipe.model.trained_adapter
    if adapter is None or not adapter.trains_virtual_tokens:
        return
    method = adapter.method
    if method == "prefix_tuning" and task_facts(recipe.task).model_kind == "encoder-decoder":
        yield Conflict(
            ("model.adapter.method",),
            f"is prefix_tuning, but {recipe.task} takes an encoder-decoder, whose decoder would count the "
            "prefix as its own text; use prompt_tuning, p_tuning or lora",
        )
    if method == "prefix_tuning" and recipe.train.gradient_checkpointing:
        yield Conflict(
            ("train.gradient_checkpointing", "model.adapter.method"),
            "is true, but prefix_tuning puts its prefix into a cache, which cannot be computed again; set "
            "gradient_checkpointing to false, or use prompt_tuning",
        )
    if recipe.distributed.strategy == "zero3":
        yield Conflict(
            ("distributed.strategy", "model.adapter.method"),
            f"is zero3, which shards the embeddings that {method} reads; use zero2, or lora",
        )
    if recipe.train.neftune_noise_alpha is not None:
        yield Conflict(
            ("train.neftune_noise_alpha", "model.adapter.method"),
            f"is noise on the embeddings of a trained model, but {method} trains none; leave it out",
        )


def _frozen_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    adapter = recipe.model.trained_adapter
    if adapter is None:
        return
    for field in ("freeze", "num_frozen_layers"):
        if getattr(recipe.model, field):
            yield Conflict(
                (f"model.{field}", "model.adapter"),
                f"is for training in full: {adapter.method} freezes the whole model anyway; leave {field} "
                "out",
            )


def _quantization_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    quantization, adapter = recipe.model.quantization, recipe.model.trained_adapter
    if quantization is None:
        return
    if adapter is None or not adapter.is_lora:
        method = "full" if adapter is None else adapter.method
        yield Conflict(
            ("model.quantization", "model.adapter"),
            "is for lora, dora and rslora, whose weights stay whole beside those in few bits, but method is "
            f"{method}; set model.adapter.method to lora, or leave quantization out",
        )
    for stage in ("train", "evaluate"):
        if getattr(recipe.resources, stage).gpus_per_node == 0:
            yield Conflict(
                ("model.quantization", f"resources.{stage}.gpus_per_node"),
                f"needs a GPU, but resources.{stage}.gpus_per_node is 0; ask for GPUs, or leave quantization "
                "out",
            )
    if recipe.distributed.strategy == "zero3":
        yield Conflict(
            ("distributed.strategy", "model.quantization"),
            "is zero3, under which weights in few bits have not been tried here; use zero2 or ddp",
        )
    for field in ("bnb_4bit_quant_type", "bnb_4bit_use_double_quant"):
        changed = getattr(quantization, field) != Quantization.model_fields[field].default
        if changed and quantization.bits != 4:
            yield Conflict(
                (f"model.quantization.{field}", "model.quantization.bits"),
                f"is for 4 bits, but bits is {quantization.bits}; leave it out",
            )


def _distillation_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    distillation = recipe.train.distillation
    if distillation is None:
        return
    if not distillation.teacher.removeprefix(PACKAGE_PREFIX).strip():
        yield Conflict(
            ("train.distillation.teacher",), "names no model; write a hub id, a folder or run:FOLDER"
        )
    if recipe.task == "embedding" or recipe.data.multi_label:
        what = "data.multi_label" if recipe.data.multi_label else recipe.task
        yield Conflict(
            ("train.distillation",),
            f"compares probabilities of classes or tokens, and {what} has none that sum to one; leave it out",
        )
    if recipe.train.packing:
        yield Conflict(
            ("train.packing", "train.distillation"),
            "puts several examples into a row, which the teacher would have to keep apart too; set "
            "packing to false",
        )
    if recipe.distributed.strategy == "zero3":
        yield Conflict(
            ("distributed.strategy", "train.distillation"),
            "is zero3, which would shard the teacher as well, that nothing gathers; use zero2 or ddp",
        )
    if recipe.train.use_liger_kernel:
        yield Conflict(
            ("train.use_liger_kernel", "train.distillation"),
            "never has the logits as a whole, which the teacher's are compared with; leave one of the two "
            "out",
        )
