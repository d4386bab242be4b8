"""The small JSON files that say how a run's jobs, ranks and driver are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from launch.plan import Plan
from launch.processes import Process
from rankfold import atomic
from rankfold.run_folder import RunFolder

State = Literal["pending", "running", "completed", "failed", "cancelled"]
FINAL: tuple[State, ...] = ("completed", "failed", "cancelled")


def now() -> str:
    """This moment in UTC, ISO 8601, to the millisecond: ranks are ordered by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def seconds_between(started: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()


def read_json(path: Path) -> Any:
    """Read a JSON file that may not be there yet: None."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class JobState:
    """How a job is."""

    job: str
    stage: str
    state: State
    ranks: int
    started: str | None = None
    ended: str | None = None
    seconds: float | None = None
    error: str | None = None

    def write(self, run: RunFolder) -> JobState:
        atomic.write_json(run.job_state(self.job), asdict(self))
        return self

    def begin(self) -> JobState:
        return replace(self, state="running", started=now())

    def end(self, state: State, error: str | None = None) -> JobState:
        ended = now()
        seconds = round(seconds_between(self.started, ended), 3) if self.started else None
        return replace(self, state=state, ended=ended, seconds=seconds, error=error)


def read_job_state(run: RunFolder, job: str) -> JobState | None:
    value = read_json(run.job_state(job))
    return None if value is None else JobState(**value)


def mark_pending(run: RunFolder, plan: Plan) -> None:
    """Write that no job has started yet."""
    for job in plan.jobs:
        JobState(job.name, job.stage, "pending", job.ranks).write(run)


def mark_cancelled(run: RunFolder, plan: Plan) -> None:
    """Write that every job which has not ended is cancelled."""
    for job in plan.jobs:
        state = read_job_state(run, job.name) or JobState(job.name, job.stage, "pending", job.ranks)
        if state.state not in FINAL:
            state.end("cancelled").write(run)


@dataclass(frozen=True)
class RankState:
    """How one rank of a job is; `kind` is the class of the exception that ended it."""

    rank: int
    process: Process
    state: State
    started: str
    attempt: int = 1
    ended: str | None = None
    error: str | None = None
    kind: str | None = None

    def write(self, run: RunFolder, job: str) -> RankState:
        value = asdict(self)
        # The pid is what people look for, so it stands on top.
        process = value.pop("process")
        value = {"rank": self.rank, "pid": process["pid"], "host": process["host"], **value}
        atomic.write_json(run.rank_state(job, self.rank), {**value, "process_started": process["started"]})
        return self

    def end(self, state: State, error: str | None = None, kind: str | None = None) -> RankState:
        return replace(self, state=state, ended=now(), error=error, kind=kind)


def read_rank_states(run: RunFolder, job: str, ranks: int) -> list[RankState]:
    """The ranks of a job that have started."""
    states = []
    for rank in range(ranks):
        value = read_json(run.rank_state(job, rank))
        if value is not None:
            process = Process(value.pop("pid"), value.pop("process_started"), value.pop("host"))
            states.append(RankState(process=process, **value))
    return states


@dataclass(frozen=True)
class DriverState:
    """How the process is that runs the jobs on this machine, and the process groups it started."""

    process: Process
    state: State
    started: str
    groups: dict[str, Process]
    ended: str | None = None
    error: str | None = None

    def write(self, run: RunFolder) -> DriverState:
        atomic.write_json(run.driver_state, asdict(self))
        return self

    def end(self, state: State, error: str | None = None) -> DriverState:
        return replace(self, state=state, ended=now(), error=error, groups={})


def read_driver_state(run: RunFolder) -> DriverState | None:
    value = read_json(run.driver_state)
    if value is None:
        return None
    value["process"] = Process.from_json(value["process"])
    value["groups"] = {job: Process.from_json(group) for job, group in value["groups"].items()}
    return DriverState(**value)
