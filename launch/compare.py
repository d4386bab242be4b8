"""Runs side by side: ranked by one metric, with the settings in which they differ."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from launch.plan_text import dotted_values
from launch.runs import all_runs, find_run
from launch.states import State, read_json, seconds_between
from launch.status import RunStatus, read_all
from rankfold.errors import RecipeError, UserError
from rankfold.run_folder import RunFolder

if TYPE_CHECKING:
    from rankfold.task_facts import TaskFacts

VARIANT = "fine_tuned"
LOWER_IS_BETTER = ("loss", "_rate", "_runtime_s")
"""Ends of the names of metrics of which less is better."""


@dataclass(frozen=True)
class Compared:
    """One run of a comparison.

    Attributes:
        settings: Dotted key → value of every setting.
        own_metric: What the run is judged by, where its task or the run itself says it.
        scores: Metric → number; empty before the run has any.
        intervals: Metric → bounds of its 95 % interval.
        num_examples: Examples behind the scores.
        seconds: From the first job's start to the last one's end.
    """

    run_id: str
    state: State
    settings: Mapping[str, Any]
    own_metric: str | None
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    num_examples: int | None
    seconds: float | None

    def score(self, metric: str) -> float | None:
        """What the run has reached; None while it may still change."""
        return self.scores.get(metric) if self.state == "completed" else None


@dataclass(frozen=True)
class Comparison:
    """Runs ranked by one metric, the best first; equal scores share a rank.

    Attributes:
        better: None where nobody knows; then no run is ranked.
        unknown_tasks: Tasks that no installed package has any more, so that little is known of their metrics.
    """

    title: str
    metric: str
    better: Literal["higher", "lower"] | None
    ranked: tuple[tuple[int, Compared], ...]
    unranked: tuple[Compared, ...]
    unknown_tasks: tuple[str, ...] = ()

    @property
    def settings(self) -> list[str]:
        """The settings in which the runs differ."""
        runs = [*(run for _, run in self.ranked), *self.unranked]
        keys = dict.fromkeys(key for run in runs for key in run.settings)
        return [
            key
            for key in keys
            if any(run.settings.get(key) != runs[0].settings.get(key) for run in runs) and key != "name"
        ]

    @property
    def as_good(self) -> list[Compared]:
        """Runs whose score lies within the best one's interval while the best one's lies within theirs."""
        if not self.ranked:
            return []
        (_, best), *others = self.ranked
        return [
            run
            for _, run in others
            if _within(run.scores[self.metric], best.intervals.get(self.metric))
            and _within(best.scores[self.metric], run.intervals.get(self.metric))
        ]

    def to_json(self) -> dict[str, Any]:
        """The comparison for a script; settings are only those that differ."""
        return {
            "title": self.title,
            "metric": self.metric,
            "better": self.better,
            "settings": self.settings,
            "ranked": [
                {
                    "rank": rank,
                    **self._row(run),
                    "score": run.scores[self.metric],
                    "interval": run.intervals.get(self.metric),
                    "as_good_as_best": run in self.as_good,
                }
                for rank, run in self.ranked
            ],
            "unranked": [{**self._row(run), "score": run.score(self.metric)} for run in self.unranked],
            "unknown_tasks": self.unknown_tasks,
        }

    def _row(self, run: Compared) -> dict[str, Any]:
        settings = {key: run.settings.get(key) for key in self.settings}
        return {"run_id": run.run_id, "state": run.state, "settings": settings, "seconds": run.seconds}


def chosen_runs(names: Sequence[str], sweep: str | None, folder: Path) -> tuple[str, list[RunFolder]]:
    """The runs that were named, those of a sweep, or those of the newest sweep; with a title for them.

    Raises:
        UserError: There is no such run or sweep.
    """
    if names and sweep:
        raise UserError("both runs and a sweep are named", where="--sweep", remedy="Name one of the two.")
    if names:
        runs = {run.root: run for run in (find_run(name, folder) for name in names)}
        return f"{len(runs)} runs", list(runs.values())
    sweeps: dict[str, list[RunFolder]] = {}
    for run in all_runs(folder):
        told = read_json(run.run).get("sweep")
        if told is not None:
            # Taken out first, so that the sweep with the newest run is the last one.
            sweeps[told["id"]] = [*sweeps.pop(told["id"], []), run]
    found = [name for name in sweeps if name == sweep] or [
        name for name in sweeps if sweep is None or name.startswith(sweep)
    ]
    if not found or (sweep is not None and len(found) > 1):
        raise _no_sweep(sweep, folder, list(sweeps))
    return f"sweep {found[-1]}", sweeps[found[-1]]


def compare(title: str, runs: Sequence[RunFolder], metric: str | None) -> Comparison:
    """Rank runs by their task's own metric, or by another.

    Raises:
        UserError: The runs are of different tasks, or none has the metric.
        OperationalError: Slurm does not answer.
    """
    compared = [_read(run, status) for run, status in zip(runs, read_all(runs), strict=True)]
    tasks = sorted({run.settings["task"] for run in compared})
    metric = metric or _own_metric(tasks, compared)
    known = {name for run in compared for name in run.scores}
    if known and metric not in known:
        near = difflib.get_close_matches(metric, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(known))}"
        raise UserError(f"none of these runs has the metric {metric}{hint}", where="--metric")
    unknown = tuple(task for task in tasks if _facts(task) is None)
    better = _better(metric, tasks)
    ended = [run for run in compared if run.score(metric) is not None] if better else []
    ordered = sorted(ended, key=lambda run: run.scores[metric], reverse=better == "higher")
    scores = [run.scores[metric] for run in ordered]
    return Comparison(
        title=title,
        metric=metric,
        better=better,
        ranked=tuple((scores.index(run.scores[metric]) + 1, run) for run in ordered),
        unranked=tuple(run for run in compared if run not in ended),
        unknown_tasks=unknown,
    )


def _read(run: RunFolder, status: RunStatus) -> Compared:
    recipe = _recipe(run)
    facts = _facts(recipe["task"])
    metrics, trained = read_json(run.metrics(VARIANT)) or {}, read_json(run.train_summary) or {}
    intervals = metrics.pop("confidence_intervals", {})
    scores = _numbers(trained) | _numbers(metrics)
    return Compared(
        run_id=run.run_id,
        state=status.state,
        settings=dict(dotted_values(recipe)),
        own_metric=_judged_by(facts, scores) if facts else trained.get("metric_for_best_model"),
        scores=scores,
        intervals={name: (low, high) for name, (low, high) in intervals.items()},
        num_examples=metrics.get("num_examples", metrics.get("total")),
        seconds=_seconds(status),
    )


def _recipe(run: RunFolder) -> dict[str, Any]:
    """A run's recipe with today's defaults, or as it was written where it is none of today's any more."""
    import yaml

    from rankfold.recipe.load import load_recipe
    from rankfold.recipe.yaml_reader import core_loader

    try:
        return load_recipe(run.recipe).recipe.model_dump(mode="json")
    except RecipeError:
        written = yaml.load(run.recipe.read_text(encoding="utf-8"), core_loader(yaml.SafeLoader))  # noqa: S506
        if not isinstance(written, dict) or "task" not in written:
            raise
        return written


def _facts(task: str) -> TaskFacts | None:
    """What is known of a task; None where its package is gone, or broken."""
    from rankfold.task_facts import task_facts

    try:
        return task_facts(task)
    except RecipeError:
        return None


def _judged_by(facts: TaskFacts, scores: Mapping[str, float]) -> str:
    """The task's own metric; of data that does not have it, such as pairs with scores, the most telling."""
    own = facts.metric_for_best_model
    return next((name for name in (own, *facts.headline) if name in scores), own)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: value
        for key, value in dotted_values(values)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _seconds(status: RunStatus) -> float | None:
    started = [job.started for job in status.jobs if job.started]
    ended = [job.ended for job in status.jobs if job.started and job.ended]
    if not ended or status.state != "completed":
        return None
    return seconds_between(min(started, key=datetime.fromisoformat), max(ended, key=datetime.fromisoformat))


def _own_metric(tasks: Sequence[str], runs: Sequence[Compared]) -> str:
    """The metric that all these runs are judged by."""
    metrics = {run.own_metric for run in runs} - {None}
    if len(metrics) > 1:
        raise UserError(
            f"these runs have different tasks: {', '.join(tasks)}",
            remedy="Compare runs of one task, or name a metric that all have: --metric train_loss.",
        )
    if not metrics:
        known = ", ".join(dict.fromkeys(name for run in runs for name in run.scores)) or "none yet"
        raise UserError(
            f"what runs of {', '.join(tasks)} are judged by is not known: no installed package has the task",
            where="--metric",
            remedy=f"Install that package, or name one of their metrics: {known}.",
        )
    return str(metrics.pop())


def _better(metric: str, tasks: Sequence[str]) -> Literal["higher", "lower"] | None:
    """As the tasks of the runs say it, or as all tasks do, or by the name of a metric that nobody knows."""
    from rankfold.known_metrics import METRICS

    facts = [_facts(task) for task in tasks]
    own = {name: known for of_task in filter(None, facts) for name, known in of_task.metrics.items()}
    known = own.get(metric) or METRICS.get(metric)
    if known is not None and known.better == "neither":
        raise UserError(f"{metric} says nothing about which run is better", where="--metric")
    if known is not None:
        return "lower" if known.better == "lower" else "higher"
    if metric.endswith(LOWER_IS_BETTER):
        return "lower"
    return "higher" if all(facts) else None


def _within(score: float, interval: tuple[float, float] | None) -> bool:
    return interval is not None and interval[0] <= score <= interval[1]


def _no_sweep(sweep: str | None, folder: Path, known: Sequence[str]) -> UserError:
    if not known:
        return UserError(
            f"there is no sweep in {folder}",
            remedy="Start one with `launch submit RECIPE key=VALUE,VALUE`, or name runs to compare.",
        )
    what = "there is no sweep" if not any(name.startswith(sweep or "") for name in known) else "not one sweep"
    return UserError(
        f"{what} {sweep!r}; newest: {', '.join(list(known)[:-6:-1])}", remedy="Write more of its name."
    )
