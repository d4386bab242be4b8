"""Runs side by side: ranked by one metric, with the settings in which they differ."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from launch.plan_text import dotted_values, shown
from launch.runs import all_runs, find_run
from launch.states import State, read_json, seconds_between
from launch.status import RunStatus, read_all
from launch.tables import BOLD, YELLOW, duration, styled, table
from rankfold.errors import UserError
from rankfold.run_folder import RunFolder

VARIANT = "fine_tuned"
LONGEST_VALUE = 30
LOWER_IS_BETTER = ("loss", "_rate", "_runtime_s")
"""Ends of the names of metrics of which less is better."""


@dataclass(frozen=True)
class Compared:
    """One run of a comparison.

    Attributes:
        settings: Dotted key → value of every setting.
        scores: Metric → number; empty before the run has any.
        intervals: Metric → bounds of its 95 % interval.
        num_examples: Examples behind the scores.
        seconds: From the first job's start to the last one's end.
    """

    run_id: str
    state: State
    settings: Mapping[str, Any]
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    num_examples: int | None
    seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """Runs ranked by one metric, the best first; equal scores share a rank."""

    title: str
    metric: str
    lower_is_better: bool
    ranked: tuple[tuple[int, Compared], ...]
    unranked: tuple[Compared, ...]

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
            "better": "lower" if self.lower_is_better else "higher",
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
            "unranked": [self._row(run) for run in self.unranked],
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
    metric = metric or _own_metric(compared)
    known = {name for run in compared for name in run.scores}
    if known and metric not in known:
        near = difflib.get_close_matches(metric, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(known))}"
        raise UserError(f"none of these runs has the metric {metric}{hint}", where="--metric")
    lower = _is_lower_better(metric, compared)
    ended = [run for run in compared if run.state == "completed" and metric in run.scores]
    ordered = sorted(ended, key=lambda run: run.scores[metric], reverse=not lower)
    scores = [run.scores[metric] for run in ordered]
    return Comparison(
        title=title,
        metric=metric,
        lower_is_better=lower,
        ranked=tuple((scores.index(run.scores[metric]) + 1, run) for run in ordered),
        unranked=tuple(run for run in compared if run not in ended),
    )


def comparison_lines(comparison: Comparison, *, color: bool) -> Iterator[str]:
    """Yield the ranked runs, then those that cannot be ranked, then what to think of the order."""
    metric, settings = comparison.metric, comparison.settings
    better = "lower" if comparison.lower_is_better else "higher"
    yield styled(f"{comparison.title} by {metric}, {better} is better", BOLD, color=color)
    yield ""
    header = ("rank", "run", metric, "95 % interval", *_short(settings), "time", "state")
    rows = [_cells(str(rank), run, metric, settings) for rank, run in comparison.ranked]
    rows += [_cells("–", run, metric, settings) for run in comparison.unranked]
    yield from table(header, rows, right=("rank", metric, "time"))
    yield from (styled(f"note: {note}", YELLOW, color=color) for note in _notes(comparison))


def _notes(comparison: Comparison) -> Iterator[str]:
    if not comparison.ranked:
        yield "no run has completed yet, so none is ranked"
    as_good = comparison.as_good
    if as_good:
        count = as_good[0].num_examples
        others = "1 run is" if len(as_good) == 1 else f"{len(as_good)} runs are"
        tested = f" on {count:,} test examples" if count else ""
        yield (
            f"{others} within the best one's 95 % interval and the best one within theirs: "
            f"the order of these {len(as_good) + 1} means little{tested}"
        )


def _cells(rank: str, run: Compared, metric: str, settings: Sequence[str]) -> list[str]:
    score, interval = run.scores.get(metric), run.intervals.get(metric)
    ended = rank != "–" and score is not None
    return [
        rank,
        run.run_id,
        f"{score:.4g}" if ended else "–",
        f"{interval[0]:.4g}–{interval[1]:.4g}" if ended and interval else "",
        *(shown(run.settings.get(key, "–"), LONGEST_VALUE) for key in settings),
        duration(run.seconds),
        run.state,
    ]


def _read(run: RunFolder, status: RunStatus) -> Compared:
    from rankfold.recipe.load import load_recipe

    recipe = load_recipe(run.recipe).recipe
    metrics = read_json(run.metrics(VARIANT)) or {}
    intervals = metrics.pop("confidence_intervals", {})
    return Compared(
        run_id=run.run_id,
        state=status.state,
        settings=dict(dotted_values(recipe.model_dump(mode="json"))),
        scores=_numbers(read_json(run.train_summary) or {}) | _numbers(metrics),
        intervals={name: (low, high) for name, (low, high) in intervals.items()},
        num_examples=metrics.get("num_examples", metrics.get("total")),
        seconds=_seconds(status),
    )


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


def _own_metric(runs: Sequence[Compared]) -> str:
    """The metric that the task of all these runs is judged by."""
    from rankfold.task_facts import task_facts

    tasks = sorted({run.settings["task"] for run in runs})
    metrics = {task_facts(task).metric_for_best_model for task in tasks}
    if len(metrics) > 1:
        raise UserError(
            f"these runs have different tasks: {', '.join(tasks)}",
            remedy="Compare runs of one task, or name a metric that all have: --metric train_loss.",
        )
    return metrics.pop()


def _is_lower_better(metric: str, runs: Sequence[Compared]) -> bool:
    """As the tasks of the runs say it, or as all tasks do, or by the name of a metric that nobody knows."""
    from rankfold.known_metrics import METRICS
    from rankfold.task_facts import task_facts

    own = {name: known for run in runs for name, known in task_facts(run.settings["task"]).metrics.items()}
    known = own.get(metric) or METRICS.get(metric)
    if known is not None and known.better == "neither":
        raise UserError(f"{metric} says nothing about which run is better", where="--metric")
    return known.better == "lower" if known else metric.endswith(LOWER_IS_BETTER)


def _within(score: float, interval: tuple[float, float] | None) -> bool:
    return interval is not None and interval[0] <= score <= interval[1]


def _short(keys: Sequence[str]) -> list[str]:
    """The last words of dotted keys, or the whole where two would read the same."""
    last = [key.rpartition(".")[2] for key in keys]
    count = Counter(last)
    return [word if count[word] == 1 else key for word, key in zip(last, keys, strict=True)]


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
