"""Why an attempt at a job ended, from what its ranks, their processes and their keeper left behind."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from datetime import UTC, datetime

from launch.attempts import Cause, Ending
from launch.plan import PlannedJob
from launch.states import RankState, read_rank_states
from launch.stop_signals import CANCELLED, TIME_LIMIT
from rankfold import errors
from rankfold.run_folder import RunFolder

STACKS_LOOKED_AT = 1_000_000
"""Bytes at the end of a rank's log; the stacks of all threads are far shorter."""
HANG = re.compile(rb"^Timeout \(\d+:\d\d:\d\d\)!", re.MULTILINE)
"""What faulthandler writes before the stacks of all threads."""
STARTS = re.compile(rb"^\S+ starts as \d+ of \d+ ranks$", re.MULTILINE)
"""What a rank writes when an attempt begins."""

KINDS: dict[str, Cause] = {
    "NumericalError": "not_a_number",
    "FloatingPointError": "not_a_number",
    "OutOfMemoryError": "out_of_memory",
    "MemoryError": "out_of_memory",
}
"""What an exception's class says, by name: a rank's torch is not imported here."""
WORDS: tuple[tuple[re.Pattern[str], Cause], ...] = (
    (
        re.compile("out of memory|can't allocate memory|cannot allocate memory|bad_alloc", re.I),
        "out_of_memory",
    ),
    (re.compile("no space left on device|disk quota exceeded", re.I), "disk_full"),
    (re.compile(r"watchdog caught collective operation timeout|timed out waiting \d+ms", re.I), "hung"),
)
"""What an error's text says: gloo, NCCL and the C library have no classes of their own."""


@dataclass(frozen=True)
class Exit:
    """How a rank's process ended; `code` is negative for a signal, as subprocess has it."""

    rank: int
    code: int


@dataclass(frozen=True)
class Evidence:
    """What is known of an attempt whose processes are gone.

    Attributes:
        status: Exit status of what kept the ranks: srun, or the controller.
        ranks: Those that started in this attempt.
        exits: Processes that ended by themselves and not well, the first one first.
        hung: Ranks that were ended because they got no further.
        ended_by: Why all ranks were ended from outside, where they were.
        stopped_for: What stands behind a stop whose reason the ranks could not know.
        out_of_memory: Whether the kernel or Slurm says that memory ran out.
        where: What to look at where nobody says why.
    """

    status: int
    ranks: tuple[RankState, ...]
    exits: tuple[Exit, ...] = ()
    hung: tuple[int, ...] = ()
    ended_by: Ending | None = None
    stopped_for: Cause = "interrupted"
    out_of_memory: bool = False
    where: str = ""


def why(evidence: Evidence) -> Ending:
    """Say why an attempt ended, and which rank was the first to fail."""
    done = bool(evidence.ranks) and all(state.state == "completed" for state in evidence.ranks)
    # srun ends well where Slurm took its step away, so that its word alone is not enough.
    if evidence.status == 0 and (done or evidence.ended_by is None):
        return Ending("completed")
    if evidence.ended_by is not None:
        return evidence.ended_by
    for rule in (_memory, _hang, _signal, _error, _stop):
        ending = rule(evidence)
        if ending is not None:
            return ending
    return _silence(evidence)


def cause_of(kind: str | None, error: str) -> Cause:
    """What an error means for another attempt, from its class's name and its text."""
    known = getattr(errors, kind or "", None)
    if isinstance(known, type) and issubclass(known, errors.UserError):
        return "user_error"
    if kind in KINDS:
        return KINDS[kind]
    return next((cause for pattern, cause in WORDS if pattern.search(error)), "exception")


def hung_ranks(run: RunFolder, job: PlannedJob, attempt: int) -> tuple[int, ...]:
    """The ranks that were ended in an attempt because they got no further; such a one has told no end."""
    silent = (state.rank for state in ranks_of(run, job, attempt) if state.state == "running")
    return tuple(rank for rank in silent if _shows_hang(run, job.name, rank))


def silent_failure(run: RunFolder, job: PlannedJob, attempt: int, patience_s: float) -> bool:
    """Whether a rank said `patience_s` ago that it failed, and its job still runs."""
    for state in ranks_of(run, job, attempt):
        if state.state == "failed":
            ended = datetime.fromisoformat(state.ended or state.started)
            if (datetime.now(UTC) - ended).total_seconds() > patience_s:
                return True
    return False


def ranks_of(run: RunFolder, job: PlannedJob, attempt: int) -> tuple[RankState, ...]:
    """The ranks of one attempt that have started."""
    states = read_rank_states(run, job.name, job.ranks)
    return tuple(state for state in states if state.attempt == attempt)


def settle_ranks(run: RunFolder, job: PlannedJob, ending: Ending | None) -> None:
    """Write the end of ranks that were ended from outside and could not do so themselves."""
    for state in read_rank_states(run, job.name, job.ranks):
        if state.state != "running":
            continue
        if ending is not None and ending.rank == state.rank:
            state.end("failed", ending.error).write(run, job.name)
        else:
            state.end("cancelled").write(run, job.name)


def exit_words(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    # The kernel's out-of-memory killer is by far the most common sender of a KILL nobody asked for.
    hint = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code} ({name}){hint}"


def _memory(evidence: Evidence) -> Ending | None:
    if not evidence.out_of_memory:
        return None
    killed = next((each.rank for each in evidence.exits if each.code < 0), None)
    return Ending("out_of_memory", "used more memory than its job had asked for", killed)


def _hang(evidence: Evidence) -> Ending | None:
    if not evidence.hung:
        return None
    first, *rest = evidence.hung
    whose, others = "its log shows", ""
    if rest:
        whose, others = "their logs show", f", as did rank{'s' * (len(rest) > 1)} {', '.join(map(str, rest))}"
    error = f"got no further until its time was over{others}; {whose} where each thread stood"
    return Ending("hung", error, first)


def _signal(evidence: Evidence) -> Ending | None:
    """A rank that was killed made the others fail, never the other way round."""
    told = {state.rank for state in evidence.ranks if state.state in ("failed", "cancelled")}
    for each in evidence.exits:
        if each.code < 0 and each.rank not in told:
            return Ending("killed", exit_words(each.code), each.rank)
    return None


def _error(evidence: Evidence) -> Ending | None:
    failed = [state for state in evidence.ranks if state.state == "failed"]
    if not failed:
        return None
    first = min(failed, key=lambda state: state.ended or "")
    error = first.error or ""
    return Ending(cause_of(first.kind, error), error, first.rank)


def _stop(evidence: Evidence) -> Ending | None:
    stopped = [state for state in evidence.ranks if state.state == "cancelled"]
    if not stopped:
        return None
    first = min(stopped, key=lambda state: state.ended or "")
    known: dict[str | None, Cause] = {TIME_LIMIT: "time_limit", CANCELLED: "cancelled"}
    return Ending(known.get(first.error, evidence.stopped_for), first.error)


def _silence(evidence: Evidence) -> Ending:
    seen = f"; see {evidence.where}" if evidence.where else ""
    if not evidence.ranks:
        words = f"its ranks did not start: {exit_words(evidence.status)}"
        return Ending("setup_failed", f"{words}{seen}", evidence.exits[0].rank if evidence.exits else None)
    for each in evidence.exits:
        return Ending("exception", f"{exit_words(each.code)} and did not say why{seen}", each.rank)
    cause: Cause = "killed" if evidence.status < 0 else "exception"
    return Ending(cause, f"the process that keeps its ranks {exit_words(evidence.status)}{seen}")


def _shows_hang(run: RunFolder, job: str, rank: int) -> bool:
    try:
        with run.log(job, rank).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - STACKS_LOOKED_AT))
            text = file.read()
    except FileNotFoundError:
        return False
    starts = [found.end() for found in STARTS.finditer(text)]
    return HANG.search(text, starts[-1] if starts else 0) is not None
