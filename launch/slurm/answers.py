"""What Slurm answers, typed: is it there, what is queued, what became of a job; and cancelling."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rankfold.errors import OperationalError

COMMAND_TIMEOUT_S = 30
"""A busy controller answers late; one that is down answers never."""
MISLEADING = re.compile(r"(SQUEUE|SINFO|SACCT|SACCTMGR|SCANCEL|SCONTROL)_|SLURM_(?!CONF$)")
"""A user's or a surrounding job's variables that filter or reformat what Slurm's commands answer."""
QUEUE_FIELDS = "%i|%T|%r|%N|%S|%L"
ACCOUNT_FIELDS = "JobID,State,ExitCode,Start,End,NodeList"
TASKS = re.compile(r"(\d+)_\[([\d,:-]+)[^\]]*\]")
"""Array tasks that never started share one line in sacct: `12_[0-3,7%2]`."""


@dataclass(frozen=True)
class QueuedJob:
    """A job as squeue tells it.

    Attributes:
        state: In Slurm's words, such as PENDING.
        reason: Why it waits, or how it ended; `None` in Slurm's words for no reason.
        starts: When Slurm expects it to start, or when it started: ISO 8601, UTC.
        seconds_left: Until its time limit.
    """

    state: str
    reason: str
    nodes: str = ""
    starts: str | None = None
    seconds_left: int | None = None


@dataclass(frozen=True)
class AccountedJob:
    """One attempt at a job as Slurm's accounting remembers it, or as the controller still does.

    Attributes:
        cancelled_by: Number of the user who cancelled it, where that is known.
        signal: The signal that ended it, 0 for none.
    """

    state: str
    exit_code: int
    signal: int
    started: str | None
    ended: str | None
    nodes: str
    cancelled_by: int | None = None
    restarts: int | None = None
    reason: str | None = None


def slurm_answers() -> bool:
    """Whether jobs can be submitted from here."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return False
    try:
        answer = _run(["scontrol", "ping"])
    except OperationalError:
        return False
    return answer.returncode == 0 and " UP" in answer.stdout


def queued_jobs(job_ids: Iterable[str]) -> dict[str, QueuedJob]:
    """What squeue says of jobs, by id (`7`, or `7_2` in an array); recently ended ones among them.

    Raises:
        OperationalError: Slurm does not answer.
    """
    wanted = set(job_ids)
    if not wanted:
        return {}
    answer = _run(
        # Without --array tasks that wait are shown as one line, 7_[0-3].
        [
            "squeue",
            "--noheader",
            "--array",
            "--states=all",
            f"--jobs={_whole(wanted)}",
            f"--format={QUEUE_FIELDS}",
        ]
    )
    # squeue minds an id it has forgotten only where that is the only one.
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        raise OperationalError(f"squeue does not answer: {_last_line(answer.stderr)}")
    rows = (line.strip().split("|") for line in answer.stdout.splitlines() if line.strip())
    return {
        job_id: QueuedJob(state, reason, nodes, _time(starts), _seconds(left))
        for job_id, state, reason, nodes, starts, left in rows
        if job_id in wanted
    }


def accounted_attempts(job_ids: Iterable[str]) -> dict[str, list[AccountedJob]]:
    """Every attempt that accounting remembers, by id, the first one first.

    Empty where accounting is switched off, absent or does not answer. It lags some seconds behind squeue.
    """
    wanted = set(job_ids)
    if not wanted or shutil.which("sacct") is None:
        return {}
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--duplicates"]
    try:
        answer = _run([*command, f"--jobs={_whole(wanted)}", f"--format={ACCOUNT_FIELDS}"])
    except OperationalError:
        return {}
    found: dict[str, list[AccountedJob]] = {}
    for line in answer.stdout.splitlines() if answer.returncode == 0 else ():
        job_id, state, exit_code, started, ended, nodes = line.strip().split("|")
        word, _, by = state.partition(" by ")
        code, _, number = exit_code.partition(":")
        job = AccountedJob(
            word,
            int(code),
            int(number or 0),
            _time(started),
            _time(ended),
            "" if nodes == "None assigned" else nodes,
            int(by) if by.isdecimal() else None,
        )
        for one in _tasks(job_id):
            if one in wanted:
                found.setdefault(one, []).append(job)
    return found


def shown_job(job_id: str) -> AccountedJob | None:
    """What the controller says of a job, also some minutes after its end; None once it has forgotten it."""
    try:
        answer = _run(["scontrol", "--oneliner", "show", "job", job_id])
    except OperationalError:
        return None
    # Names and paths, which may hold anything, stand before UserId and from Command on.
    text = answer.stdout.partition(" UserId=")[2]
    values = dict(re.findall(r"(\w+)=(\S*)", text.partition(" Command=")[0]))
    if answer.returncode != 0 or "JobState" not in values:
        return None
    code, _, number = values.get("ExitCode", "0:0").partition(":")
    return AccountedJob(
        values["JobState"],
        int(code),
        int(number or 0),
        _time(values.get("StartTime", "")),
        _time(values.get("EndTime", "")),
        values.get("NodeList", "").replace("(null)", ""),
        restarts=int(values["Restarts"]) if values.get("Restarts", "").isdecimal() else None,
        reason=values.get("Reason"),
    )


def cancel_jobs(job_ids: Sequence[str]) -> None:
    """Cancel jobs, arrays as a whole; those that have ended are passed over by scancel itself.

    Raises:
        OperationalError: Slurm does not answer.
    """
    if not job_ids:
        return
    answer = _run(["scancel", *_whole(job_ids).split(",")])
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        raise OperationalError(f"scancel failed: {_last_line(answer.stderr)}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands.

    Raises:
        OperationalError: It is not there, or does not answer in time.
    """
    clean = {name: value for name, value in os.environ.items() if not MISLEADING.match(name)}
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            env={**clean, "SLURM_TIME_FORMAT": "standard"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OperationalError(f"{command[0]} does not answer: {error}") from error


def _last_line(text: str) -> str:
    """The conclusion of what a command complained of."""
    return text.strip().rpartition("\n")[2]


def _whole(job_ids: Iterable[str]) -> str:
    """Ids with whole arrays instead of their tasks, separated by commas."""
    return ",".join(sorted({job_id.partition("_")[0] for job_id in job_ids}, key=int))


def _tasks(job_id: str) -> Iterator[str]:
    found = TASKS.fullmatch(job_id)
    if found is None:
        yield job_id
        return
    for part in found[2].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        for number in range(int(first), int(last or first) + 1, int(step or 1)):
            yield f"{found[1]}_{number}"


def _time(text: str) -> str | None:
    """Slurm's local time as UTC; None for its N/A, Unknown and None."""
    if not text[:1].isdecimal():
        return None
    return datetime.fromisoformat(text).astimezone(UTC).isoformat()


def _seconds(text: str) -> int | None:
    """`1-02:03:04`, `2:03:04`, `3:04` as seconds; None for INVALID, NOT_SET and UNLIMITED."""
    if not text[:1].isdecimal():
        return None
    days, _, rest = text.rpartition("-")
    seconds = 0
    for part in rest.split(":"):
        seconds = 60 * seconds + int(part)
    return 86400 * int(days or 0) + seconds
