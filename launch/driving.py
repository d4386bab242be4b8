"""Running a plan's jobs on this machine, in order, as many at once as fit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from launch.failures import Failure, first_failure, settle_ranks, silent_failure
from launch.machine import Machine
from launch.plan import Plan, PlannedJob
from launch.processes import Process, end_group
from launch.states import DriverState, JobState, State, mark_cancelled, now
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
    state: JobState
    process: subprocess.Popen[bytes]
    gpus: tuple[str, ...]
    deadline: float

    @property
    def cores(self) -> int:
        return self.job.ranks * (self.job.cpus_per_task or 1)


@dataclass
class Driver:
    """Carries out a plan: the first failure ends the run."""

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
        self._state = DriverState(Process.this(), "running", now(), {}).write(self.run)

    def cancel(self, reason: str) -> None:
        """Ask the run to stop; safe to call from a signal handler."""
        self._cancelled = reason

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
        from launch.executor import start_ranks

        gpus = tuple(self._free_gpus()[: job.gpus_per_node])
        state = JobState(job.name, job.stage, "pending", job.ranks).begin().write(self.run)
        process = start_ranks(self.run, job, self.make_task(self.run, job, gpus))
        deadline = time.monotonic() + 60 * job.time_limit_min
        self._running[job.name] = _Running(job, state, process, gpus, deadline)
        groups = {**self._state.groups, job.name: Process.of(process.pid)}
        self._state = replace(self._state, groups=groups).write(self.run)
        print(f"{now()} {job.name} started, controller {process.pid}", flush=True)

    def _look_at(self, running: _Running) -> None:
        job = running.job
        failure: Failure | None
        if running.process.poll() is not None:
            failure = first_failure(self.run, job, running.process.returncode)
        elif time.monotonic() > running.deadline:
            field_name = f"resources.{job.stage}.time_limit_min"
            limit = f"the time limit of {job.time_limit_min} min is over; raise {field_name}"
            failure = Failure(None, limit)
        else:
            failure = silent_failure(self.run, job, EXIT_PATIENCE_S)
            if failure is None:
                return
        self._end(running, "failed" if failure else "completed", failure)
        if failure:
            self._failure = f"{job.name}: {failure}"
        else:
            self._done.add(job.name)

    def _end(self, running: _Running, state: State, failure: Failure | None) -> None:
        end_group(running.process.pid, PATIENCE_S)
        running.process.wait()
        settle_ranks(self.run, running.job, failure)
        running.state.end(state, str(failure) if failure else None).write(self.run)
        del self._running[running.job.name]
        print(f"{now()} {running.job.name} {state}{f': {failure}' if failure else ''}", flush=True)

    def _finish(self, final: State, error: str | None) -> int:
        for running in list(self._running.values()):
            self._end(running, "cancelled", None)
        mark_cancelled(self.run, self.plan)
        self._state = self._state.end(final, error).write(self.run)
        return 0 if final == "completed" else 1
