"""Combinations of settings that cannot work, though each setting by itself may."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rankfold.recipe.entries import listed
from rankfold.recipe.schema import (
    HUB_PREFIX,
    PACKAGE_PREFIX,
    Data,
    Evaluation,
    Model,
    Prompt,
    Recipe,
    Source,
    Split,
    StageResources,
)

_QA_FORMATS = {"squad"}
_HUB_FORMATS = {"squad"}
_PLACEHOLDERS = ("labels", "text", "no_entities")


@dataclass(frozen=True)
class Conflict:
    """Settings that do not go together.

    Args:
        keys: The dotted keys involved; the error points to the first one that the recipe spells out.
        message: What is wrong with both values, and what to do.
    """

    keys: tuple[str, ...]
    message: str


def conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Find every combination of settings in a well-typed recipe that cannot work."""
    yield from _data_conflicts(recipe.data)
    yield from _model_conflicts(recipe.model)
    yield from _format_conflicts(recipe)
    if recipe.task == "extractive_qa":
        yield from _question_conflicts(recipe)
    yield from _prompt_conflicts(recipe.prompt)
    yield from _generation_conflicts(recipe.evaluation)
    yield from _precision_conflicts(recipe)
    yield from _distributed_conflicts(recipe)
    for stage, resources in recipe.resources:
        yield from _resource_conflicts(f"resources.{stage}", resources)
    for stage in ("prepare", "evaluate", "merge"):
        yield from _single_rank_conflicts(stage, getattr(recipe.resources, stage))


def num_ranks(resources: StageResources) -> int:
    """How many ranks a stage has: one for each GPU, without GPUs one for each task."""
    return resources.nodes * (resources.gpus_per_node or resources.tasks_per_node or 1)


def _sources(data: Data) -> dict[str, Source]:
    named = {"data.source": data.source, "data.train": data.train, "data.test": data.test}
    return {key: source for key, source in named.items() if source}


def _data_conflicts(data: Data) -> Iterator[Conflict]:
    sources = _sources(data)
    if set(sources) not in ({"data.source"}, {"data.train", "data.test"}):
        given = listed(sources, "and") or "none of them"
        yield Conflict(
            (*sources, "data"),
            f"give either data.source alone, or data.train and data.test; found {given}",
        )
    for key, source in sources.items():
        if source.path.removeprefix(HUB_PREFIX).strip() == "":
            yield Conflict((f"{key}.path",), "names no file; write a path, or hub:NAME")
        splits = (source.train_split, source.test_split)
        if not source.is_on_hub and splits != ("train", "validation"):
            yield Conflict(
                (f"{key}.train_split", f"{key}.test_split"),
                f"picks a split of a hub: data set, but {key}.path is a file; leave it out",
            )
    if (data.split.train, data.split.test) != (Split().train, Split().test):
        yield from _split_conflicts(data)
    yield from _label_conflicts(data)


def _split_conflicts(data: Data) -> Iterator[Conflict]:
    total = data.split.train + data.split.test
    if data.source is None:
        yield Conflict(("data.split",), "divides data.source, which is not given; leave its shares out")
    elif data.source.is_on_hub:
        yield Conflict(
            ("data.split",),
            f"the data set {data.source.path} has splits of its own; leave the shares out, and choose "
            "with data.source.train_split and data.source.test_split",
        )
    elif total > 1 + 1e-9:
        yield Conflict(
            ("data.split.train", "data.split.test"),
            f"the shares train {data.split.train} and test {data.split.test} add up to {total:g}; "
            "they may be at most 1 together",
        )


def _label_conflicts(data: Data) -> Iterator[Conflict]:
    repeated = sorted({label for label in data.labels if data.labels.count(label) > 1})
    if repeated:
        yield Conflict(("data.labels",), f"names {', '.join(repeated)} more than once; name each once")
    if any(not label.strip() for label in data.labels):
        yield Conflict(("data.labels",), "has an empty label; remove it")


def _model_conflicts(model: Model) -> Iterator[Conflict]:
    if not model.name_or_path.removeprefix(PACKAGE_PREFIX).strip():
        yield Conflict(("model.name_or_path",), "names no model; write a hub id, a folder or package:NAME")
    if model.adapter and not model.adapter.target_modules:
        yield Conflict(
            ("model.adapter.target_modules",),
            "is empty, so nothing would be trained; name layers, or write all-linear",
        )


def _format_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    answers_questions = recipe.task == "extractive_qa"
    for key, source in _sources(recipe.data).items():
        if (source.format in _QA_FORMATS) != answers_questions:
            fitting = "squad" if answers_questions else "ccfbdci, spans or conll"
            yield Conflict(
                (f"{key}.format", "task"),
                f"{source.format} does not fit the task {recipe.task}; use {fitting}, or change task",
            )
        elif source.is_on_hub and source.format not in _HUB_FORMATS:
            yield Conflict(
                (f"{key}.path",),
                f"{source.path} cannot be read as {source.format}; from a hub only squad can, so name a file",
            )


def _question_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    data = recipe.data
    if data.labels:
        yield Conflict(("data.labels",), "is for generative_ner; extractive_qa has no labels")
    if recipe.prompt != Prompt():
        yield Conflict(("prompt",), "is for generative_ner; extractive_qa has no prompt")
    if data.doc_stride >= data.max_length:
        yield Conflict(
            ("data.doc_stride", "data.max_length"),
            f"doc_stride is {data.doc_stride} and max_length {data.max_length}; windows that share "
            "doc_stride tokens only move on if it is below max_length",
        )


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
    if scales_gradients and model.torch_dtype == "float16" and model.adapter is None:
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


def _distributed_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    distributed, ranks = recipe.distributed, num_ranks(recipe.resources.train)
    if distributed.strategy == "none" and ranks > 1:
        yield Conflict(
            ("distributed.strategy",),
            f"none means one rank, but resources.train asks for {ranks}; use ddp or zero1, zero2, zero3",
        )
    if distributed.deepspeed and not distributed.strategy.startswith("zero"):
        yield Conflict(
            ("distributed.deepspeed",),
            f"is only read with zero1, zero2 or zero3, but strategy is {distributed.strategy}; "
            "change strategy, or leave deepspeed out",
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
