"""What ranks leave behind, for tests of attempts."""

from dataclasses import replace

from launch.plan import Plan, PlannedJob
from launch.processes import Process
from launch.states import RankState, State, read_json
from rankfold.run_folder import RunFolder

HERE = Process(1, "1", "node1")
START = "2026-01-01T00:00:00.000+00:00"


def rank(
    number: int, state: State, error: str | None = None, kind: str | None = None, *, second: int = 1
) -> RankState:
    ended = None if state == "running" else f"2026-01-01T00:00:{second:02}.000+00:00"
    return RankState(number, HERE, state, START, ended=ended, error=error, kind=kind)


def planned(run: RunFolder, name: str) -> PlannedJob:
    return Plan.from_json(read_json(run.plan)).job(name)


def fail(run: RunFolder, state: State, error: str, kind: str, number: int = 1) -> None:
    replace(rank(0, state, error, kind), attempt=number).write(run, "train")
