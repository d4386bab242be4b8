"""How long each stage took."""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby

from rankfold.report.facts import JobFacts, RunFacts
from rankfold.report.formats import format_seconds


@dataclass(frozen=True)
class StageRow:
    """The jobs of one stage together, as text; the shards of one model's evaluation are one row."""

    name: str
    num_jobs: int
    state: str
    longest: str
    altogether: str


def stage_rows(facts: RunFacts) -> tuple[StageRow, ...]:
    """A row for every group of jobs, in the order they run."""
    groups = groupby(facts.jobs, key=lambda job: re.sub(r"-\d+$", "", job.job))
    return tuple(_stage_row(name, tuple(jobs), facts) for name, jobs in groups)


def _stage_row(name: str, jobs: tuple[JobFacts, ...], facts: RunFacts) -> StageRow:
    seconds = [job.seconds for job in jobs if job.seconds is not None]
    return StageRow(
        name=name,
        num_jobs=len(jobs),
        state=_state(jobs, facts),
        longest=format_seconds(max(seconds, default=None)),
        altogether=format_seconds(sum(seconds) if seconds else None),
    )


def _state(jobs: tuple[JobFacts, ...], facts: RunFacts) -> str:
    if jobs[-1].job == "merge" and jobs[-1].state == "running" and facts.fine_tuned is not None:
        return "writes this report"
    counts = Counter(job.state for job in jobs)
    if len(counts) == 1:
        return jobs[0].state
    return ", ".join(f"{number} {state}" for state, number in counts.items())
