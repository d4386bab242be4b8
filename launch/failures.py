"""Which rank of a job failed first, and why, from what the ranks and their controller wrote."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import UTC, datetime

from launch.plan import PlannedJob
from launch.states import RankState, read_json, read_rank_states
from rankfold.run_folder import RunFolder


@dataclass(frozen=True)
class Failure:
    """Why a job failed; `rank` is the one that failed first, None where none can be named."""

    rank: int | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.rank is None else f"rank {self.rank}: {self.reason}"


def first_failure(run: RunFolder, job: PlannedJob, controller_exit_code: int) -> Failure | None:
    """Say which rank failed first and why, once a job's processes are gone; None if all went well."""
    exit_codes: list[int | None] | None = read_json(run.exit_codes(job.name))
    if exit_codes is None:
        ended = _exit_words(controller_exit_code)
        return Failure(None, f"the process that keeps its ranks {ended}; see {run.driver_log}")
    if all(code == 0 for code in exit_codes):
        return None
    failed = _failed_ranks(run, job)
    told = {state.rank for state in failed}
    # A rank that was killed made the others fail, never the other way round.
    for rank, code in enumerate(exit_codes):
        if code is not None and code < 0 and rank not in told:
            return Failure(rank, _exit_words(code))
    if failed:
        return Failure(failed[0].rank, str(failed[0].error))
    for rank, code in enumerate(exit_codes):
        if code:
            return Failure(rank, f"{_exit_words(code)} and did not say why; see {run.submitit(job.name)}")
    return Failure(None, "its ranks were ended because the driver was gone")


def silent_failure(run: RunFolder, job: PlannedJob, patience_s: float) -> Failure | None:
    """Say which rank failed where it said so `patience_s` ago and its job still runs."""
    for state in _failed_ranks(run, job):
        ended = datetime.fromisoformat(state.ended or state.started)
        if (datetime.now(UTC) - ended).total_seconds() > patience_s:
            return Failure(state.rank, str(state.error))
    return None


def settle_ranks(run: RunFolder, job: PlannedJob, failure: Failure | None) -> None:
    """Write the end of ranks that were ended from outside and could not do so themselves."""
    for state in read_rank_states(run, job.name, job.ranks):
        if state.state != "running":
            continue
        if failure is not None and failure.rank == state.rank:
            state.end("failed", failure.reason).write(run, job.name)
        else:
            state.end("cancelled").write(run, job.name)


def _failed_ranks(run: RunFolder, job: PlannedJob) -> list[RankState]:
    states = read_rank_states(run, job.name, job.ranks)
    failed = [state for state in states if state.state == "failed"]
    return sorted(failed, key=lambda state: state.ended or "")


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    # The kernel's out-of-memory killer is by far the most common sender of a KILL nobody asked for.
    hint = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code} ({name}){hint}"
