"""Combinations of settings that cannot work, though each setting by itself may."""

import re
from collections.abc import Iterator

from rankfold.recipe.conflict import Conflict
from rankfold.recipe.data_checks import data_conflicts
from rankfold.recipe.deepspeed_checks import distributed_conflicts
from rankfold.recipe.entries import listed, shown
from rankfold.recipe.method_checks import method_conflicts
from rankfold.recipe.schema import PACKAGE_PREFIX, Evaluation, Model, Prompt, Recipe, StageResources
from rankfold.recipe.speed_checks import speed_conflicts
from rankfold.recipe.validation_checks import validation_conflicts
from rankfold.task_facts import BUILT_IN, task_facts, task_names

SETTINGS_OF_ONE_TASK = {
    "data.multi_label": "text_classification",
    "data.label_all_tokens": "token_classification",
    "data.source_prefix": "seq2seq",
    "data.max_target_length": "seq2seq",
    "data.mlm_probability": "masked_lm",
    "data.noise_density": "denoising",
    "data.mean_noise_span_length": "denoising",
    "model.pooling": "embedding",
    "train.contrastive_temperature": "embedding",
    "evaluation.multi_label_threshold": "text_classification",
}
_PLACEHOLDERS = ("labels", "text", "no_entities")


def conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Find every combination of settings in a well-typed recipe that cannot work."""
    unknown = _unknown_task(recipe.task)
    if unknown:
        # What else there is to say depends on the task.
        yield unknown
        return
    yield from data_conflicts(recipe)
    yield from _model_conflicts(recipe.model)
    yield from method_conflicts(recipe)
    yield from _task_conflicts(recipe)
    yield from _prompt_conflicts(recipe.prompt)
    yield from validation_conflicts(recipe)
    yield from _generation_conflicts(recipe.evaluation)
    yield from _precision_conflicts(recipe)
    yield from speed_conflicts(recipe)
    yield from distributed_conflicts(recipe, num_ranks(recipe.resources.train))
    for stage, resources in recipe.resources:
        yield from _resource_conflicts(f"resources.{stage}", resources)
    for stage in ("prepare", "evaluate", "merge"):
        yield from _single_rank_conflicts(stage, getattr(recipe.resources, stage))


def num_ranks(resources: StageResources) -> int:
    """How many ranks a stage has: one for each GPU, without GPUs one for each task."""
    return resources.nodes * (resources.gpus_per_node or resources.tasks_per_node or 1)


def _model_conflicts(model: Model) -> Iterator[Conflict]:
    if not model.name_or_path.removeprefix(PACKAGE_PREFIX).strip():
        yield Conflict(("model.name_or_path",), "names no model; write a hub id, a folder or package:NAME")
    if model.adapter and not model.adapter.target_modules:
        yield Conflict(
            ("model.adapter.target_modules",),
            "is empty, so nothing would be trained; name layers, or write all-linear",
        )


def _unknown_task(task: str) -> Conflict | None:
    if task in BUILT_IN:
        return None
    names = task_names()
    if task in names:
        return None
    # Only mistakes need it.
    from rankfold.recipe.suggest import close_option

    meant = close_option(task.lower(), list(names))
    hint = f"; did you mean {meant}?" if meant else ""
    return Conflict(("task",), f"must be {listed(names)}; found {shown(task)}{hint}")


def _task_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Settings that the recipe's task does not have, and windows that would not move on."""
    data, facts = recipe.data, task_facts(recipe.task)
    if data.labels and not facts.has_labels:
        yield Conflict(("data.labels",), f"is for labels; {recipe.task} has none")
    if recipe.prompt != Prompt() and not facts.has_prompt:
        yield Conflict(("prompt",), f"is for generative_ner; {recipe.task} has no prompt")
    if recipe.train.packing and not facts.packs:
        yield Conflict(("train.packing",), f"is for causal language models; {recipe.task} is none")
    if recipe.task in BUILT_IN:
        yield from _foreign_settings(recipe)
    threshold = recipe.evaluation.multi_label_threshold
    if recipe.task == "text_classification" and not data.multi_label and threshold != 0.5:
        yield Conflict(
            ("evaluation.multi_label_threshold", "data.multi_label"),
            f"is {threshold:g}, but of a single label the most probable one is given; set data.multi_label "
            "to true, or leave multi_label_threshold out",
        )
    if facts.has_windows and data.doc_stride >= data.max_length:
        yield Conflict(
            ("data.doc_stride", "data.max_length"),
            f"doc_stride is {data.doc_stride} and max_length {data.max_length}; windows that share "
            "doc_stride tokens only move on if it is below max_length",
        )


def _foreign_settings(recipe: Recipe) -> Iterator[Conflict]:
    """Settings of one task in the recipe of another; a task of another package may read what it likes."""
    for key, task in SETTINGS_OF_ONE_TASK.items():
        section, name = key.split(".")
        part = getattr(recipe, section)
        if recipe.task != task and getattr(part, name) != type(part).model_fields[name].default:
            yield Conflict((key,), f"is for {task}; {recipe.task} does not read it, so leave it out")


def _prompt_conflicts(prompt: Prompt) -> Iterator[Conflict]:
    unknown = [
        Conflict((f"prompt.{key}",), f"{found} is not filled in; {_placeholder_hint(found.strip('{} '))}")
        for key in ("system", "user")
        for found in re.findall(r"\{\{\s*\w+\s*\}\}|\{\s*\w+\s*\}", getattr(prompt, key) or "")
        if found not in {f"{{{placeholder}}}" for placeholder in _PLACEHOLDERS}
    ]
    if unknown:
        yield from unknown
        return
    # The built-in system message names the labels, the built-in user message holds the text.
    if prompt.user is not None and "{text}" not in prompt.user:
        yield Conflict(("prompt.user",), "does not contain {text}; write {text} where the text goes")
    if prompt.system is not None and "{labels}" not in prompt.system + (prompt.user or ""):
        yield Conflict(
            ("prompt.system",),
            "neither system nor user contains {labels}; write {labels} where the labels go",
        )


def _placeholder_hint(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name.lower(), _PLACEHOLDERS, n=1)
    if close:
        return f"did you mean {{{close[0]}}}?"
    return f"only {listed([f'{{{placeholder}}}' for placeholder in _PLACEHOLDERS], 'and')} are"


def _generation_conflicts(evaluation: Evaluation) -> Iterator[Conflict]:
    wanted, beams = evaluation.num_return_sequences, evaluation.num_beams
    if wanted > beams and not (evaluation.do_sample and beams == 1):
        remedy = f"set num_beams to {wanted}" + ("" if evaluation.do_sample else ", or do_sample to true")
        yield Conflict(
            ("evaluation.num_return_sequences", "evaluation.num_beams"),
            f"num_return_sequences is {wanted}, but num_beams {beams} finds no more than {beams}; {remedy}",
        )
    for key in ("temperature", "top_p"):
        value = getattr(evaluation, key)
        if value != 1 and not evaluation.do_sample:
            yield Conflict(
                (f"evaluation.{key}",),
                f"is {value}, but do_sample is false; set do_sample to true, or leave {key} out",
            )
    if evaluation.unit_size < evaluation.per_device_eval_batch_size:
        yield Conflict(
            ("evaluation.unit_size", "evaluation.per_device_eval_batch_size"),
            f"unit_size is {evaluation.unit_size} and per_device_eval_batch_size "
            f"{evaluation.per_device_eval_batch_size}, but a batch never crosses units; "
            "raise unit_size or lower per_device_eval_batch_size",
        )


def _precision_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    train, model = recipe.train, recipe.model
    if train.bf16 and train.fp16:
        yield Conflict(("train.fp16", "train.bf16"), "bf16 and fp16 are both true; choose one")
    if train.fp16 and recipe.resources.train.gpus_per_node == 0:
        yield Conflict(
            ("train.fp16",),
            "needs a GPU, but resources.train.gpus_per_node is 0; ask for GPUs, or use bf16",
        )
    # torch.amp.GradScaler refuses to unscale gradients that are float16 themselves.
    scales_gradients = train.fp16 and recipe.distributed.strategy in ("none", "ddp")
    if scales_gradients and model.torch_dtype == "float16" and model.trained_adapter is None:
        yield Conflict(
            ("model.torch_dtype", "train.fp16"),
            "is float16 while train.fp16 is true, but loss scaling needs float32 weights; "
            "set torch_dtype to float32",
        )
    warmup_steps = train.warmup_steps
    if warmup_steps > 1 and warmup_steps % 1:
        yield Conflict(
            ("train.warmup_steps",),
            f"is {warmup_steps}; write a whole number of steps, or a share of all steps below 1",
        )


def _resource_conflicts(section: str, resources: StageResources) -> Iterator[Conflict]:
    gpus, tasks = resources.gpus_per_node, resources.tasks_per_node
    if gpus and tasks not in (None, gpus):
        yield Conflict(
            (f"{section}.tasks_per_node", f"{section}.gpus_per_node"),
            f"is {tasks}, but gpus_per_node is {gpus} and a GPU is a rank; leave tasks_per_node out",
        )
    if gpus and resources.cpus_per_task is not None:
        yield Conflict(
            (f"{section}.cpus_per_task",),
            f"is for ranks without a GPU, but gpus_per_node is {gpus}; use cpus_per_gpu",
        )


def _single_rank_conflicts(stage: str, resources: StageResources) -> Iterator[Conflict]:
    ranks = num_ranks(resources)
    if ranks > 1:
        per_node = "gpus_per_node" if resources.gpus_per_node else "tasks_per_node"
        keys = [key for key in ("nodes", per_node) if getattr(resources, key) not in (None, 1)]
        more = "; for more at once raise evaluation.shards" if stage == "evaluate" else ""
        yield Conflict(
            tuple(f"resources.{stage}.{key}" for key in keys),
            f"asks for {ranks} ranks, but this stage is one process; set {listed(keys, 'and')} to 1{more}",
        )
