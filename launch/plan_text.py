"""A plan as text: where each value comes from, the stages, what follows, the batch scripts."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launch.memory.text import deepspeed_lines, memory_json, memory_lines
from launch.plan import Plan, PlannedJob
from launch.planning import Planned
from launch.slurm.batch import Batch, batch_script, batches, rank_command
from launch.tables import BOLD, DIM, YELLOW, shortened, styled, table
from rankfold.run_folder import RunFolder
from rankfold.task_facts import task_facts

RUN_ID = "RUN_ID"
"""Stands for the run id, which only a submission makes."""


def plan_lines(
    planned: Planned, *, runs_folder: Path, everything: bool, scripts: bool, color: bool
) -> Iterator[str]:
    """Yield the lines of a plan.

    Args:
        everything: Also show values that nobody set.
        scripts: Also show the batch scripts, or the commands of a local run.
    """
    plan = planned.plan
    where = f"Slurm, profile {planned.profile.name}" if plan.cluster == "slurm" else "this machine"
    yield styled(f"{plan.name}: {plan.task} on {where}", BOLD, color=color)
    yield ""
    yield from _recipe_lines(planned, everything=everything, color=color)
    yield ""
    yield from _bold_header(_stage_table(plan), color)
    yield ""
    yield from _number_lines(planned)
    for note in plan.notes:
        yield styled(f"note: {note}", YELLOW, color=color)
    yield ""
    yield from memory_lines(planned, color=color)
    yield from deepspeed_lines(planned, color=color)
    if scripts:
        run = RunFolder(runs_folder.absolute() / RUN_ID)
        yield ""
        yield from (
            _script_lines(planned, run, color)
            if plan.cluster == "slurm"
            else _command_lines(plan, run, color)
        )


def plan_json(planned: Planned, *, runs_folder: Path) -> dict[str, Any]:
    """A plan as JSON: recipe, the source of each value, plan and, for Slurm, each script by its first job."""
    run = RunFolder(runs_folder.absolute() / RUN_ID)
    scripts = {}
    if planned.plan.cluster == "slurm":
        several = batches(planned.plan.jobs, planned.profile)
        scripts = {batch.first.name: _script(planned, run, batch) for batch in several}
    return {
        "recipe": planned.loaded.recipe.model_dump(mode="json"),
        "sources": dict(planned.loaded.sources),
        "plan": planned.plan.to_json(),
        "profile": planned.profile.name,
        **memory_json(planned),
        "scripts": scripts,
    }


def _recipe_lines(planned: Planned, *, everything: bool, color: bool) -> Iterator[str]:
    from rankfold.recipe.load import DEFAULT

    values = dict(dotted_values(planned.loaded.recipe.model_dump(mode="json")))
    rows = [(key, shown(values[key]), source) for key, source in planned.loaded.sources.items()]
    chosen = [row for row in rows if row[2] != DEFAULT]
    defaults = [row for row in rows if row[2] == DEFAULT]
    lines = table(("recipe", "value", "from"), chosen + (defaults if everything else []))
    yield from _bold_header(lines[: 1 + len(chosen)], color)
    for line in lines[1 + len(chosen) :]:
        yield styled(line, DIM, color=color)
    if defaults and not everything:
        yield styled(f"and {len(defaults)} values at their defaults (--all shows them)", DIM, color=color)


def dotted_values(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its dotted key, as the recipe's sources name it; a list is one value."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from dotted_values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def shown(value: Any, longest: int = 60) -> str:
    """A value in one short line, as YAML would write it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shortened(text.replace("\n", "⏎"), longest)


def _stage_table(plan: Plan) -> list[str]:
    header = (
        "stage",
        "jobs",
        "nodes",
        "ranks",
        "GPUs",
        "CPUs",
        "memory",
        "time limit",
        "after",
        "runs in rankfold.stages",
    )
    rows = []
    for group in groups(plan):
        job = group[0]
        cpus = "–" if job.cpus_per_task is None else str(job.ranks * job.cpus_per_task)
        memory = f"{job.memory_gb} GB" if job.memory_gb else "–"
        rows.append(
            (
                _group_name(job),
                *(str(number) for number in (len(group), job.nodes, job.ranks)),
                str(job.nodes * job.gpus_per_node),
                cpus,
                memory,
                f"{job.time_limit_min} min",
                _after_words(job),
                _call(job, len(group)),
            )
        )
    return table(header, rows, right=header[1:8])


def groups(plan: Plan) -> list[list[PlannedJob]]:
    """Jobs that differ in their shard only, together."""
    grouped: dict[tuple[str, str | None, bool], list[PlannedJob]] = {}
    for job in plan.jobs:
        grouped.setdefault((job.stage, job.variant, job.shard is None), []).append(job)
    return list(grouped.values())


def _group_name(job: PlannedJob) -> str:
    if job.variant is not None:
        return f"{job.stage} {job.variant}"
    return job.name if job.shard is None else f"{job.stage} parts"


def _after_words(job: PlannedJob) -> str:
    if len(job.after) > 1:
        return "every part" if job.after[0].startswith("merge") else "every evaluation"
    return job.after[0] if job.after else "–"


def _call(job: PlannedJob, count: int) -> str:
    function = f"{job.stage}.{job.stage}"
    if job.shard is None:
        return f"{function}(run)"
    shards = "0" if count == 1 else f"0…{count - 1}"
    if job.variant is None:
        return f"{function}_part(run, {shards}, {job.num_shards})"
    return f"{function}(run, {job.variant!r}, {shards}, {job.num_shards})"


def _number_lines(planned: Planned) -> Iterator[str]:
    plan, train = planned.plan, planned.loaded.recipe.train
    count = plan.num_train_examples
    batch = (
        f"{plan.global_batch_size} = {train.per_device_train_batch_size} per device × "
        f"{train.gradient_accumulation_steps} accumulated × {plan.world_size} "
        f"{'rank' if plan.world_size == 1 else 'ranks'}"
    )
    yield from (
        f"world size          {plan.world_size}",
        f"global batch size   {batch}",
        f"training examples   {'unknown until prepare' if count is None else f'about {count}'}",
        f"optimizer steps     {_steps(planned)}",
    )


def _steps(planned: Planned) -> str:
    plan = planned.plan
    if plan.steps is None:
        return "unknown until prepare"
    if planned.loaded.recipe.train.max_steps is not None:
        return f"{plan.steps} (train.max_steps)"
    facts = task_facts(plan.task)
    if planned.loaded.recipe.train.packing:
        return f"about {plan.steps} if each example were a row; prepare packs them"
    if facts.has_windows or facts.has_pieces:
        several = "windows" if facts.has_windows else "rows"
        return f"at least {plan.steps}: what is longer than max_length becomes several {several}"
    return f"about {plan.steps}"


def _script(planned: Planned, run: RunFolder, batch: Batch) -> str:
    names = (planned.plan.job(name).array or name for name in batch.first.after)
    after = [f"<{name}>" for name in dict.fromkeys(names)]
    return batch_script(planned.plan.name, batch, planned.profile, run, after)


def _script_lines(planned: Planned, run: RunFolder, color: bool) -> Iterator[str]:
    for batch in batches(planned.plan.jobs, planned.profile):
        more = f" (an array of {len(batch.jobs)}, one task a shard)" if batch.is_array else ""
        yield styled(f"# sbatch {batch.name}{more}", BOLD, color=color)
        yield from _script(planned, run, batch).rstrip("\n").split("\n")
        yield ""


def _command_lines(plan: Plan, run: RunFolder, color: bool) -> Iterator[str]:
    yield styled("commands, each run once a rank", BOLD, color=color)
    for job in plan.jobs:
        yield rank_command(run.submitit(job.name), shlex.quote(sys.executable))


def _bold_header(lines: list[str], color: bool) -> Iterator[str]:
    yield styled(lines[0], BOLD, color=color)
    yield from lines[1:]
