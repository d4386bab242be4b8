"""Reads a run's files into `RunFacts`. Only run.json and recipe.yaml must be there."""

import math
import re
from collections.abc import Sequence
from typing import Any

import yaml

from rankfold.errors import OperationalError, RecipeError
from rankfold.known_metrics import METRICS, Metric
from rankfold.report.facts import (
    CodeFacts,
    DataFacts,
    EnvironmentFacts,
    Evaluation,
    JobFacts,
    PackingFacts,
    RunFacts,
    SourceFacts,
    SplitFacts,
    TrainingFacts,
    VariantFacts,
)
from rankfold.report.files import read_object, read_text, written_by_a_stage
from rankfold.report.metrics import NERVALUATE
from rankfold.report.results import finite_numbers, read_variant
from rankfold.run_folder import VARIANTS, RunFolder
from rankfold.task_facts import TaskFacts, task_facts

STAGES = ("prepare", "train", "evaluate", "merge")
"""The order in which jobs are listed."""

SPLITS = ("train", "validation", "test")


def read_facts(run: RunFolder) -> RunFacts:
    """Read what the run has written so far.

    Raises:
        OperationalError: run.json or recipe.yaml is missing, or a file is not what its stage writes.
    """
    identity, recipe_text = _beginning(run)
    with written_by_a_stage(run.recipe):
        recipe = _recipe(recipe_text)
        task, model = recipe["task"], recipe["model"]["name_or_path"]
    base, fine_tuned = (read_variant(run, variant, recipe) for variant in VARIANTS)
    with written_by_a_stage(run.run):
        return RunFacts(
            run_id=identity["run_id"],
            name=identity["name"],
            created=identity["created"],
            command=tuple(identity["command"]),
            task=task,
            about_task=_about(task, [*filter(None, (base, fine_tuned))]),
            model=model,
            recipe=recipe_text,
            value_sources=_value_sources(run),
            code=_code(run),
            environment=_environment(run),
            jobs=_jobs(run),
            data=_data(run),
            training=_training(run, recipe),
            base=base,
            fine_tuned=fine_tuned,
            html=run.report_html,
            tracker_errors=read_object(run.tracker_errors) or {},
        )


def _about(task: str, variants: Sequence[VariantFacts]) -> TaskFacts:
    """A report can be written though the package that brought the task is gone: it shows what there is."""
    try:
        return task_facts(task)
    except RecipeError:
        written = dict.fromkeys(key for variant in variants for key in variant.metrics)
        keys = [key for key in written if key not in METRICS and not key.startswith(NERVALUATE)]
        return TaskFacts(
            task,
            "encoder",
            (),
            "",
            metrics={key: Metric(key, better="neither") for key in keys},
            notes=(
                f"No installed package has the task {task}: its own scores have the names that metrics.json "
                "gives them, and which way they are better is not known.",
            ),
        )


def _beginning(run: RunFolder) -> tuple[dict[str, Any], str]:
    """Who the run is, and its recipe."""
    identity, recipe_text = read_object(run.run), read_text(run.recipe)
    if identity is None or recipe_text is None:
        missing = run.run if identity is None else run.recipe
        raise OperationalError(
            "a run has this file from its first moment, and it is not there",
            where=str(missing),
            remedy="Check that the folder is a run: `launch list` names them all.",
        )
    return identity, recipe_text


def _recipe(text: str) -> dict[str, Any]:
    try:
        recipe = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise TypeError(f"a mapping is expected, {type(recipe).__name__} was found")
    return recipe


def _value_sources(run: RunFolder) -> dict[str, str]:
    return {key: str(source) for key, source in (read_object(run.recipe_sources) or {}).items()}


def _code(run: RunFolder) -> CodeFacts | None:
    git = read_object(run.code / "git.json")
    if git is None:
        return None
    with written_by_a_stage(run.code / "git.json"):
        return CodeFacts(git["revision"], git.get("branch"), dirty=git.get("dirty", False))


def _environment(run: RunFolder) -> EnvironmentFacts | None:
    found = read_object(run.environment)
    if found is None:
        return None
    with written_by_a_stage(run.environment):
        return EnvironmentFacts(
            python=found["python"],
            platform=found["platform"],
            cpu_count=found.get("cpu_count"),
            gpus=tuple(str(gpu) for gpu in found.get("gpus", ())),
            packages=dict(sorted(found["packages"].items())),
        )


def _jobs(run: RunFolder) -> tuple[JobFacts, ...]:
    found = []
    for path in run.jobs.glob("*/state.json"):
        state = read_object(path) or {}
        with written_by_a_stage(path):
            found.append(
                JobFacts(
                    job=state["job"],
                    stage=state["stage"],
                    state=state["state"],
                    seconds=state.get("seconds"),
                    error=state.get("error"),
                )
            )
    return tuple(sorted(found, key=_job_order))


def _job_order(job: JobFacts) -> tuple[int, str, float]:
    """By stage, then by name, with shard 10 after shard 9, and what joins the shards after all of them."""
    name, shard = re.fullmatch(r"(.*?)(?:-(\d+))?", job.job, re.DOTALL).groups()  # type: ignore[union-attr]
    stage = STAGES.index(job.stage) if job.stage in STAGES else len(STAGES)
    return stage, name, math.inf if shard is None else int(shard)


def _data(run: RunFolder) -> DataFacts | None:
    summary = read_object(run.prepare_summary)
    if summary is None:
        return None
    with written_by_a_stage(run.prepare_summary):
        return DataFacts(
            labels=tuple(summary.get("labels") or ()),
            max_length=summary["max_length"],
            splits=tuple(_split(name, summary[name]) for name in SPLITS if name in summary),
            dropped_before_split=summary.get("dropped_before_split", {}),
            repaired=summary.get("repaired", {}),
            sources=tuple(
                SourceFacts(_split(name, counts), counts["weight"])
                for name, counts in summary.get("sources", {}).items()
            ),
            packing=PackingFacts(**summary["packing"]) if "packing" in summary else None,
        )


def _split(name: str, counts: dict[str, Any]) -> SplitFacts:
    return SplitFacts(
        name=name,
        num_examples=counts["num_examples"],
        num_features=counts["num_features"],
        num_tokens=counts["num_tokens"],
        num_truncated=counts["num_truncated"],
        dropped=counts["dropped"],
    )


def _training(run: RunFolder, recipe: dict[str, Any]) -> TrainingFacts | None:
    summary = read_object(run.train_summary)
    if summary is None:
        return None
    with written_by_a_stage(run.train_summary):
        logged = [finite_numbers(entry) for entry in summary.get("log_history", ())]
        losses = tuple((int(log["step"]), log["loss"]) for log in logged if {"step", "loss"} <= log.keys())
        return TrainingFacts(
            totals=finite_numbers(summary),
            losses=losses,
            evaluations=tuple(_evaluation(entry) for entry in summary.get("eval_history", ())),
            best_metric=summary.get("metric_for_best_model"),
            best_step=summary.get("best_step"),
            keeps_best=bool(recipe.get("train", {}).get("load_best_model_at_end")),
            tracker_errors=summary.get("tracker_errors", {}),
        )


def _evaluation(entry: dict[str, Any]) -> Evaluation:
    metrics = finite_numbers(entry)
    step, epoch = int(metrics.pop("step")), metrics.pop("epoch", None)
    return Evaluation(step, epoch, metrics)
