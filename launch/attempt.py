"""What a batch script calls before and after its ranks: `python -m launch.attempt begin RUN JOB`.

    begin RUN JOB          prints the number of the attempt that begins, nothing where the job had completed
    end RUN JOB STATUS     exit code 75 (EXIT_INTERRUPTED) asks the script to requeue its job
    refused RUN JOB        Slurm refused to

Nothing here needs torch, or Slurm's commands, which a container may lack.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from launch.attempts import (
    TRIED_AGAIN,
    Attempt,
    Cause,
    Ending,
    begin_attempt,
    end_attempt,
    no_progress,
    progress_of,
    read_attempts,
)
from launch.new_run import code_changed
from launch.plan import Plan, PlannedJob
from launch.slurm import batch_output
from launch.slurm.answers import AccountedJob, accounted_attempts, shown_job
from launch.slurm.states import batch_text
from launch.states import FINAL, JobState, RankState, State, read_job_state, read_json
from launch.why.failures import Evidence, hung_ranks, ranks_of, settle_ranks, why
from rankfold.errors import EXIT_INTERRUPTED, EXIT_OPERATIONAL, OperationalError, RankfoldError
from rankfold.run_folder import RunFolder

LAG_S = 5.0
"""How long a network file system may hide what a rank on another node wrote last."""
POLL_S = 0.5
ACCOUNTED: dict[str, Cause] = {
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node_failure",
    "TIMEOUT": "time_limit",
    "REQUEUED": "interrupted",
    "CANCELLED": "cancelled",
}
"""What accounting's words for the end of a job mean."""
GOING_ON = ("RUNNING", "SIGNALING", "RESIZING", "SUSPENDED", "STOPPED")
"""scontrol's words for a job that nobody has ended."""
FINAL_STATES: dict[Cause, State] = {"completed": "completed", "cancelled": "cancelled"}


def begin(run: RunFolder, job: PlannedJob) -> int:
    """Write that an attempt begins and print its number; refuse where another one makes no sense."""
    slurm_id = this_job()
    attempts = read_attempts(run, job.name)
    over = _ended_before(run, job, slurm_id, attempts)
    if over is not None:
        _tell(f"{job.name} had ended before Slurm queued it once more: {over.error or over.state}")
        return 0 if over.state == "completed" else EXIT_OPERATIONAL
    if attempts and attempts[-1].cause is None:
        _close_earlier(run, job, attempts[-1])
        attempts = read_attempts(run, job.name)
    refusal = _refusal(run, job, [attempt for attempt in attempts if attempt.slurm_id == slurm_id])
    if refusal is not None:
        if attempts and refusal.cause == "no_progress":
            end_attempt(run, job.name, refusal, attempts[-1].ended)
        _write_end(run, job, refusal)
        _tell(f"{job.name} is not tried again: {refusal}")
        return EXIT_OPERATIONAL
    # Whoever was killed while writing its result would keep submitit from writing the next one.
    for left in run.submitit(job.array or job.name).glob(f"{slurm_id}_*.save_tmp"):
        left.unlink(missing_ok=True)
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    attempt = begin_attempt(run, job, slurm_id=slurm_id, nodes=nodes)
    JobState(job.name, job.stage, "pending", job.ranks).begin().write(run)
    print(batch_output.begins_line(attempt.number, job.name, nodes), file=sys.stderr, flush=True)
    if code_changed(run):
        _tell("the code has changed since the run was submitted; this attempt runs it as it is now")
    print(attempt.number, flush=True)
    return 0


def end(run: RunFolder, job: PlannedJob, status: int) -> int:
    """Write how the attempt ended; EXIT_INTERRUPTED asks for another one."""
    slurm_id = this_job()
    attempt = read_attempts(run, job.name)[-1]
    if attempt.slurm_id != slurm_id:
        _tell(f"{job.name} belongs to the Slurm job {attempt.slurm_id} now: nothing is written of this one")
        return 0
    ending, requeued = _why_ended(run, job, attempt, status)
    settle_ranks(run, job, ending)
    end_attempt(run, job.name, ending)
    if ending.cause not in TRIED_AGAIN:
        _write_end(run, job, ending)
        _tell(f"attempt {attempt.number} of {job.name} ended: {ending}")
        return 0
    attempts = [each for each in read_attempts(run, job.name) if each.slurm_id == slurm_id]
    refusal = _refusal(run, job, attempts)
    if refusal is not None:
        end_attempt(run, job.name, refusal)
        _write_end(run, job, refusal)
        _tell(f"{job.name} is not tried again: {refusal}")
        return 0
    JobState(job.name, job.stage, "pending", job.ranks).write(run)
    _tell(f"attempt {attempt.number} of {job.name} ended: {ending}; it is tried again")
    return 0 if requeued else EXIT_INTERRUPTED


def refused(run: RunFolder, job: PlannedJob) -> int:
    """Slurm refused to requeue the job: write its end, unless Slurm had requeued it by itself."""
    shown = shown_job(this_job())
    if shown is not None and _requeued_by_slurm(shown):
        return 0
    last = read_attempts(run, job.name)[-1]
    ending = Ending(last.cause or "interrupted", last.error, last.rank)
    _write_end(
        run, job, replace(ending, error=f"{ending.error or ending.cause}; Slurm refused to requeue it")
    )
    return 0


def this_job() -> str:
    """Slurm's id of the job that this process runs in, in the form that names one task of an array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _ended_before(
    run: RunFolder, job: PlannedJob, slurm_id: str, attempts: Sequence[Attempt]
) -> JobState | None:
    """How this very Slurm job ended before, if it did, or was followed by another submission.

    Slurm queues a job again whose node goes down while it completes, whatever its script has written.
    """
    mine = [attempt for attempt in attempts if attempt.slurm_id == slurm_id]
    if not mine:
        return None
    newest = (read_json(run.job_ids) or {}).get(job.name, slurm_id)
    if newest != slurm_id:
        error = f"it was submitted anew as {newest}"
        return JobState(job.name, job.stage, "cancelled", job.ranks, error=error)
    told = read_job_state(run, job.name)
    # What was to be tried again ended only because Slurm did not seem to requeue it.
    final = told is not None and told.state in FINAL and mine[-1].cause not in TRIED_AGAIN
    return told if final else None


def _why_ended(run: RunFolder, job: PlannedJob, attempt: Attempt, status: int) -> tuple[Ending, bool]:
    """Why the attempt ended, and whether Slurm requeues the job by itself."""
    slurm_id = this_job()
    text = batch_output.last_attempt(batch_text(run, job, slurm_id))
    shown = shown_job(slurm_id)
    requeued = shown is not None and _requeued_by_slurm(shown)
    exits = batch_output.exits(text)
    ended_by = _cancelled(run) or batch_output.ended_by_slurm(text) or _ended_silently(shown, requeued)
    others_know = status == 0 or ended_by is not None or any(each.code < 0 for each in exits)
    evidence = Evidence(
        status=status,
        ranks=_ranks_when_told(run, job, attempt.number, 0 if others_know else LAG_S),
        exits=exits,
        hung=hung_ranks(run, job, attempt.number) if status else (),
        ended_by=ended_by,
        stopped_for=_stopped_for(job, attempt, shown),
        out_of_memory=batch_output.out_of_memory(text),
        where=str(run.output(job.array or job.name, slurm_id)),
    )
    return why(evidence), requeued


def _cancelled(run: RunFolder) -> Ending | None:
    cancelled = read_json(run.cancelled)
    return None if cancelled is None else Ending("cancelled", "the run was cancelled")


def _ended_silently(shown: AccountedJob | None, requeued: bool) -> Ending | None:
    """What the controller says where the output says nothing: a job that ends, and is not to come back."""
    if shown is None or shown.state in GOING_ON:
        return None
    cause: Cause = "interrupted" if requeued else "cancelled"
    if shown.reason == "TimeLimit":
        cause = "time_limit"
    return Ending(cause, batch_output.ERRORS[cause])


def _requeued_by_slurm(shown: AccountedJob) -> bool:
    mine = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    return shown.state == "PENDING" or (shown.restarts is not None and shown.restarts > mine)


def _stopped_for(job: PlannedJob, attempt: Attempt, shown: AccountedJob | None) -> Cause:
    """What an early warning means: a preemption moves the job's end to the end of its grace time."""
    if shown is None or shown.ended is None or shown.started is None:
        return "interrupted"
    seconds = (datetime.fromisoformat(shown.ended) - datetime.fromisoformat(shown.started)).total_seconds()
    return "preempted" if seconds < 60 * job.time_limit_min else "interrupted"


def _ranks_when_told(
    run: RunFolder, job: PlannedJob, attempt: int, patience_s: float
) -> tuple[RankState, ...]:
    """The ranks of an attempt; waits a little where none of them says why it ended."""
    deadline = time.monotonic() + patience_s
    while True:
        ranks = ranks_of(run, job, attempt)
        if any(state.state in ("failed", "cancelled") for state in ranks) or time.monotonic() >= deadline:
            return ranks
        time.sleep(POLL_S)


def _refusal(run: RunFolder, job: PlannedJob, attempts: Sequence[Attempt]) -> Ending | None:
    """Why a job must not be tried again, given the attempts of this submission."""
    return _cancelled(run) or no_progress(job, attempts, progress_of(run, job))


def _close_earlier(run: RunFolder, job: PlannedJob, attempt: Attempt) -> None:
    """Write how an attempt ended whose script was killed: by Slurm, or together with its node."""
    ending, when = None, None
    if attempt.slurm_id is not None:
        text = batch_output.last_attempt(batch_text(run, job, attempt.slurm_id))
        ending = batch_output.ended_by_slurm(text)
        known = accounted_attempts([attempt.slurm_id]).get(attempt.slurm_id, [])
        for accounted in reversed(known):
            # Accounting lags: what it tells last may be of an attempt before.
            if (
                accounted.state in ACCOUNTED
                and accounted.ended
                and _is_after(accounted.ended, attempt.started)
            ):
                cause, when = ACCOUNTED[accounted.state], accounted.ended
                ending = ending or Ending(cause, batch_output.ERRORS[cause])
                break
    ending = ending or Ending("interrupted", "it ended without a word")
    settle_ranks(run, job, None)
    end_attempt(run, job.name, ending, when or _last_sign(run, job) or attempt.started)


def _is_after(ended: str, started: str) -> bool:
    """Whether an end by Slurm's clock, which counts whole seconds, is not before a start by ours."""
    return datetime.fromisoformat(ended) >= datetime.fromisoformat(started).replace(microsecond=0)


def _last_sign(run: RunFolder, job: PlannedJob) -> str | None:
    """When a rank last wrote into its log."""
    times = [path.stat().st_mtime for path in run.job(job.name).glob("rank*.log")]
    return datetime.fromtimestamp(max(times), UTC).isoformat(timespec="milliseconds") if times else None


def _write_end(run: RunFolder, job: PlannedJob, ending: Ending) -> None:
    told = read_job_state(run, job.name) or JobState(job.name, job.stage, "pending", job.ranks)
    state = FINAL_STATES.get(ending.cause, "failed")
    told.end(state, None if state == "completed" else str(ending)).write(run)


def _tell(text: str) -> None:
    print(f"launch: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Carry out one command; what goes wrong is one line in the batch output."""
    command, root, name, *rest = arguments
    run = RunFolder(Path(root))
    try:
        value = read_json(run.plan)
        if value is None:
            raise OperationalError(
                f"there is no {run.plan.name}: the run's folder is gone, or this node does not see it",
                where=str(run.root),
                remedy="`launch doctor` says which nodes see the folder of all runs.",
            )
        job = Plan.from_json(value).job(name)
        if command == "end":
            return end(run, job, int(rest[0]))
        return begin(run, job) if command == "begin" else refused(run, job)
    except (OSError, RankfoldError) as error:
        _tell(f"{command} of an attempt at {name} could not be written: {error}")
        return EXIT_OPERATIONAL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
