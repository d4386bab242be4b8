"""Running a plan's jobs on this machine, in order, as many at once as fit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from launch.attempts import (
    TRIED_AGAIN,
    Attempt,
    Ending,
    begin_attempt,
    end_attempt,
    no_progress,
    progress_of,
    read_attempts,
)
from launch.machine import Machine
from launch.plan import Plan, PlannedJob
from launch.processes import Process, end_group
from launch.states import DriverState, JobState, State, mark_cancelled, now, read_job_state, read_json
from launch.why.failures import Evidence, Exit, hung_ranks, ranks_of, settle_ranks, silent_failure, why
from rankfold.run_folder import RunFolder

POLL_S = 0.2
PATIENCE_S = 5.0
"""Between TERM and KILL: enough for a rank to close its files."""
EXIT_PATIENCE_S = 10.0
"""How long a rank that said it failed may take to exit before its job is ended."""

MakeTask = Callable[[RunFolder, PlannedJob, tuple[str, ...]], Callable[[], object]]


@dataclass(frozen=True)
class _Running:
    job: PlannedJob
    attempt: Attempt
    state: JobState
    process: subprocess.Popen[bytes]
    gpus: tuple[str, ...]
    deadline: float

    @property
    def cores(self) -> int:
        return self.job.ranks * (self.job.cpus_per_task or 1)


@dataclass
class Driver:
    """Carries out a plan: the first failure that another attempt cannot mend ends the run."""

    run: RunFolder
    plan: Plan
    machine: Machine
    make_task: MakeTask
    _running: dict[str, _Running] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _failure: str | None = None
    _cancelled: str | None = None
    _state: DriverState = field(init=False)

    def __post_init__(self) -> None:
        states = (read_job_state(self.run, job.name) for job in self.plan.jobs)
        # Of a run that is resumed: a new one has none.
        self._done = {state.job for state in states if state is not None and state.state == "completed"}
        self._state = DriverState(Process.this(), "running", now(), {}).write(self.run)

    def cancel(self, reason: str) -> None:
        """Ask the run to stop; safe to call from a signal handler."""
        self._cancelled = reason

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled is not None

    def run_plan(self) -> int:
        """Run every job; return 0 if all completed, 1 if not."""
        while len(self._done) < len(self.plan.jobs) and not (self._failure or self._cancelled):
            self._start_what_fits()
            for running in list(self._running.values()):
                self._look_at(running)
            time.sleep(POLL_S if self._running else 0)
        if self._failure:
            return self._finish("failed", self._failure)
        if self._cancelled and len(self._done) < len(self.plan.jobs):
            return self._finish("cancelled", self._cancelled)
        return self._finish("completed", None)

    def abandon(self, reason: str) -> None:
        """End the run because of an error of the driver itself."""
        self._finish("failed", reason)

    def _start_what_fits(self) -> None:
        """Start jobs in the plan's order; none overtakes an earlier one that waits for room."""
        for job in self.plan.jobs:
            if job.name in self._done or job.name in self._running:
                continue
            if not self._done.issuperset(job.after) or not self._fits(job):
                return
            self._start(job)

    def _fits(self, job: PlannedJob) -> bool:
        if not self._running:
            return True
        cores = sum(running.cores for running in self._running.values())
        wanted = job.ranks * (job.cpus_per_task or 1)
        return cores + wanted <= self.machine.cpu_count and job.gpus_per_node <= len(self._free_gpus())

    def _free_gpus(self) -> list[str]:
        taken = {gpu for running in self._running.values() for gpu in running.gpus}
        return [gpu for gpu in self.machine.gpus if gpu not in taken]

    def _start(self, job: PlannedJob) -> None:
        from launch.local.executor import start_ranks

        gpus = tuple(self._free_gpus()[: job.gpus_per_node])
        earlier = read_attempts(self.run, job.name)
        if earlier and earlier[-1].cause is None:
            end_attempt(self.run, job.name, Ending("interrupted", "its driver was gone"))
        attempt = begin_attempt(self.run, job, slurm_id=None, nodes=self._state.process.host)
        state = JobState(job.name, job.stage, "pending", job.ranks).begin().write(self.run)
        self.run.exit_codes(job.name).unlink(missing_ok=True)
        process = start_ranks(self.run, job, attempt.number, self.make_task(self.run, job, gpus))
        deadline = time.monotonic() + 60 * job.time_limit_min
        self._running[job.name] = _Running(job, attempt, state, process, gpus, deadline)
        groups = {**self._state.groups, job.name: Process.of(process.pid)}
        self._state = replace(self._state, groups=groups).write(self.run)
        print(f"{now()} {job.name} started, controller {process.pid}", flush=True)

    def _look_at(self, running: _Running) -> None:
        job, over = running.job, False
        if running.process.poll() is None:
            over = time.monotonic() > running.deadline
            if not over and not silent_failure(self.run, job, running.attempt.number, EXIT_PATIENCE_S):
                return
        # Before its processes are ended, which would all look as if they had been killed.
        ending = _out_of_time(job) if over else why(self._evidence(running))
        end_group(running.process.pid, PATIENCE_S)
        running.process.wait()
        # Here nothing but a user can give a job more time.
        again = ending.cause in TRIED_AGAIN and not over and self._cancelled is None
        stuck = self._stuck(running, ending) if again else None
        if again and stuck is None:
            self._try_again(running, ending)
        else:
            self._settle(running, stuck or ending)

    def _evidence(self, running: _Running) -> Evidence:
        job = running.job
        codes: list[int | None] = read_json(self.run.exit_codes(job.name)) or []
        exits = tuple(Exit(rank, code) for rank, code in enumerate(codes) if code)
        status = running.process.returncode
        if codes:
            status = exits[0].code if exits else 0 if None not in codes else 1
        ranks = ranks_of(self.run, job, running.attempt.number)
        hung = hung_ranks(self.run, job, running.attempt.number) if status else ()
        return Evidence(1 if status is None else status, ranks, exits, hung, where=str(self.run.driver_log))

    def _stuck(self, running: _Running, ending: Ending) -> Ending | None:
        """Why a job must not be tried again, where its last attempts got no further."""
        *earlier, last = read_attempts(self.run, running.job.name)
        mine = [attempt for attempt in earlier if attempt.started >= self._state.started]
        return no_progress(running.job, [*mine, last.end(ending)], progress_of(self.run, running.job))

    def _try_again(self, running: _Running, ending: Ending) -> None:
        job = running.job
        self._close(running, ending)
        JobState(job.name, job.stage, "pending", job.ranks).write(self.run)
        print(f"{now()} {job.name} is tried again: {ending}", flush=True)

    def _settle(self, running: _Running, ending: Ending) -> None:
        name = running.job.name
        if ending.cause == "completed":
            self._done.add(name)
            self._end(running, "completed", ending)
        else:
            self._failure = f"{name}: {ending}"
            self._end(running, "failed", ending)

    def _end(self, running: _Running, state: State, ending: Ending) -> None:
        self._close(running, ending)
        error = str(ending) if state == "failed" else None
        running.state.end(state, error).write(self.run)
        print(f"{now()} {running.job.name} {state}{f': {error}' if error else ''}", flush=True)

    def _close(self, running: _Running, ending: Ending) -> None:
        settle_ranks(self.run, running.job, ending)
        end_attempt(self.run, running.job.name, ending)
        del self._running[running.job.name]

    def _finish(self, final: State, error: str | None) -> int:
        for running in list(self._running.values()):
            end_group(running.process.pid, PATIENCE_S)
            running.process.wait()
            self._end(running, "cancelled", Ending("cancelled", error))
        mark_cancelled(self.run, self.plan)
        self._state = self._state.end(final, error).write(self.run)
        return 0 if final == "completed" else 1


def _out_of_time(job: PlannedJob) -> Ending:
    limit = f"the time limit of {job.time_limit_min} min is over"
    return Ending("time_limit", f"{limit}; raise resources.{job.stage}.time_limit_min")
