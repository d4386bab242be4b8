"""Settings that make training faster, or learn otherwise, where they cannot hold."""

from collections.abc import Iterator

from rankfold.recipe.conflict import Conflict
from rankfold.recipe.schema import Recipe, Train
from rankfold.task_facts import task_facts

WITHOUT_CLASSES = ("extractive_qa", "embedding")
"""Tasks whose loss is over positions of a text, or over the batch: there are no labels to smooth."""

_WITH_TWO_DECAYS = ("adam", "ademamix", "lion")
"""Parts of the names of transformers' optimizers that read `adam_beta1`, `adam_beta2` and `adam_epsilon`."""


def speed_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """What packing, fused kernels, label smoothing and settings of Adam do not go together with."""
    yield from _packing_conflicts(recipe)
    yield from _adam_conflicts(recipe.train)
    train = recipe.train
    on_gpus = recipe.resources.train.gpus_per_node > 0
    if train.use_liger_kernel and not on_gpus:
        yield Conflict(
            ("train.use_liger_kernel",),
            "its kernels run on GPUs, but resources.train.gpus_per_node is 0; ask for GPUs, or leave it out",
        )
    if train.use_liger_kernel and task_facts(recipe.task).model_kind != "decoder":
        # It puts the loss of a language model in place of whatever a decoder with another head computes.
        yield Conflict(
            ("train.use_liger_kernel",),
            f"has kernels for language models only, not for what {recipe.task} trains; leave it out",
        )
    if train.tf32 and not on_gpus:
        yield Conflict(
            ("train.tf32",),
            "is for GPUs, but resources.train.gpus_per_node is 0; ask for GPUs, or leave it out",
        )
    if train.label_smoothing_factor:
        yield from _smoothing_conflicts(recipe)


def _adam_conflicts(train: Train) -> Iterator[Conflict]:
    if any(part in train.optim for part in _WITH_TWO_DECAYS):
        return
    for name in ("adam_beta1", "adam_beta2", "adam_epsilon"):
        if getattr(train, name) != Train.model_fields[name].default:
            yield Conflict(
                (f"train.{name}", "train.optim"),
                f"is for AdamW and its kin; {train.optim} does not read it, so leave it out",
            )


def _packing_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    train, model = recipe.train, recipe.model
    if not train.packing:
        return
    if model.attn_implementation == "flash_attention_2" and train.per_device_train_batch_size > 1:
        # transformers.modeling_flash_attention_utils._is_packed_sequence: only in a batch of one.
        yield Conflict(
            ("train.packing", "train.per_device_train_batch_size"),
            f"flash_attention_2 keeps packed examples apart only in a batch of one row, but "
            f"per_device_train_batch_size is {train.per_device_train_batch_size}; set it to 1 and raise "
            "data.max_length or gradient_accumulation_steps, or set model.attn_implementation to sdpa",
        )
    if model.adapter and model.adapter.trains_virtual_tokens:
        yield Conflict(
            ("train.packing", "model.adapter.method"),
            f"{model.adapter.method} puts its tokens in front of a row, where only the first of its packed "
            "examples would see them; set packing to false, or method to lora",
        )


def _smoothing_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    key = "train.label_smoothing_factor"
    if recipe.task in WITHOUT_CLASSES or recipe.data.multi_label:
        what = "several labels a text" if recipe.data.multi_label else recipe.task
        yield Conflict((key,), f"smooths one label of several classes; {what} has none such")
    if recipe.train.use_liger_kernel:
        yield Conflict(
            (key, "train.use_liger_kernel"),
            "needs the logits, which Liger's loss never has as a whole; leave one of the two out",
        )
    if recipe.train.distillation is not None:
        yield Conflict(
            (key, "train.distillation"),
            "is for labels, but a teacher's probabilities are smooth themselves; leave one of the two out",
        )
