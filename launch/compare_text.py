"""A comparison of runs as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from launch.compare import Compared, Comparison
from launch.plan_text import shown
from launch.tables import BOLD, YELLOW, duration, styled, table

LONGEST_VALUE = 30


def comparison_lines(comparison: Comparison, *, color: bool) -> Iterator[str]:
    """Yield the ranked runs, then those that cannot be ranked, then what to think of the order."""
    metric, settings = comparison.metric, comparison.settings
    direction = f", {comparison.better} is better" if comparison.better else ""
    yield styled(f"{comparison.title} by {metric}{direction}", BOLD, color=color)
    yield ""
    header = ("rank", "run", metric, "95 % interval", *_short(settings), "time", "state")
    rows = [_cells(str(rank), run, metric, settings) for rank, run in comparison.ranked]
    rows += [_cells("–", run, metric, settings) for run in comparison.unranked]
    yield from table(header, rows, right=("rank", metric, "time"))
    yield from (styled(f"note: {note}", YELLOW, color=color) for note in _notes(comparison))


def _notes(comparison: Comparison) -> Iterator[str]:
    if comparison.unknown_tasks:
        yield (
            f"no installed package has the task {', '.join(comparison.unknown_tasks)}, so metrics of its own "
            "have the names of metrics.json"
        )
    if comparison.better is None:
        yield f"whether more or less of {comparison.metric} is better is not known, so no run is ranked"
    elif not comparison.ranked:
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
    score, interval = run.score(metric), run.intervals.get(metric)
    return [
        rank,
        run.run_id,
        "–" if score is None else f"{score:.4g}",
        f"{interval[0]:.4g}–{interval[1]:.4g}" if score is not None and interval else "",
        *(shown(run.settings.get(key, "–"), LONGEST_VALUE) for key in settings),
        duration(run.seconds),
        run.state,
    ]


def _short(keys: Sequence[str]) -> list[str]:
    """The last words of dotted keys, or the whole where two would read the same."""
    last = [key.rpartition(".")[2] for key in keys]
    count = Counter(last)
    return [word if count[word] == 1 else key for word, key in zip(last, keys, strict=True)]
