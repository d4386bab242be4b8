"""What every rank of every job runs: set the environment, say how it goes, call one stage."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launch import rendezvous
from launch.plan import PlannedJob
from launch.processes import Process
from launch.states import JobState, RankState, now, read_job_state, read_rank_states
from rankfold.errors import RankfoldError, UserError
from rankfold.ranks import LISTEN_FD
from rankfold.run_folder import RunFolder

ATTEMPT = "LAUNCH_ATTEMPT"
"""Which attempt at its job this is, from 1 on; whoever starts the ranks sets it."""

QUIET = {
    # Progress bars in a log file are thousands of lines; the stages write progress.json instead.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "warning",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


@dataclass(frozen=True)
class Place:
    """Where this rank stands among the ranks of its job; `hosts` in the scheduler's order."""

    rank: int
    local_rank: int
    world_size: int
    hosts: tuple[str, ...]
    attempt: int

    @classmethod
    def from_submitit(cls) -> Place:
        from submitit import JobEnvironment

        here = JobEnvironment()
        attempt = int(os.environ.get(ATTEMPT, "1"))
        return cls(here.global_rank, here.local_rank, here.num_tasks, tuple(here.hostnames), attempt)

    @property
    def local_world_size(self) -> int:
        return self.world_size // len(self.hosts)


@dataclass(frozen=True)
class RankJob:
    """The callable that submitit pickles: names and numbers only, never data or a model.

    Args:
        run_folder: The run's folder, absolute.
        threads: OMP_NUM_THREADS; None: the cores this rank is bound to.
        gpus: CUDA_VISIBLE_DEVICES of the job; None leaves what the scheduler set.
        has_driver: Whether a process watches this job and writes its state; on Slurm ranks do.
    """

    run_folder: str
    job: str
    stage: str
    variant: str | None
    shard: int | None
    num_shards: int
    threads: int | None = None
    gpus: tuple[str, ...] | None = None
    has_driver: bool = False

    @classmethod
    def of(
        cls,
        run: RunFolder,
        job: PlannedJob,
        *,
        gpus: tuple[str, ...] | None = None,
        has_driver: bool = False,
    ) -> RankJob:
        """The callable for a planned job."""
        return cls(
            run_folder=str(run.root),
            job=job.name,
            stage=job.stage,
            variant=job.variant,
            shard=job.shard,
            num_shards=job.num_shards,
            threads=job.cpus_per_task,
            gpus=gpus,
            has_driver=has_driver,
        )

    @property
    def run(self) -> RunFolder:
        return RunFolder(Path(self.run_folder))

    def __call__(self) -> None:
        place = Place.from_submitit()
        # submitit lets ranks survive TERM and may requeue on USR2; here TERM ends a rank, and USR2,
        # which announces the time limit to the rank and all its children, does nothing.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        log = self.run.log(self.job, place.rank)
        log.parent.mkdir(parents=True, exist_ok=True)
        with redirected_to(log):
            _set_up_logging()
            self._run_and_tell(place)

    def _run_and_tell(self, place: Place) -> None:
        state = RankState(place.rank, Process.this(), "running", now()).write(self.run, self.job)
        job_state = JobState(self.job, self.stage, "running", place.world_size, started=state.started)
        if not self.has_driver and place.rank == 0:
            job_state.write(self.run)
        try:
            self._run_stage(place)
        except BaseException as error:
            message = describe(error)
            interrupted = isinstance(error, KeyboardInterrupt)
            state.end("cancelled" if interrupted else "failed", message).write(self.run, self.job)
            if not self.has_driver and not self._already_failed():
                job_state.end("failed", f"rank {place.rank}: {message}").write(self.run)
            if not isinstance(error, UserError):
                traceback.print_exc()
            print(f"{self.job} failed: {message}", flush=True)
            raise
        state.end("completed").write(self.run, self.job)
        if not self.has_driver and place.rank == 0 and not self._already_failed():
            job_state.end("completed").write(self.run)

    def _run_stage(self, place: Place) -> None:
        os.environ.update(self._environment(place))
        print(f"{self.job} starts as {place.rank + 1} of {place.world_size} ranks", flush=True)
        started = time.monotonic()
        run_stage(self)
        print(f"{self.job} completed in {time.monotonic() - started:.1f} s", flush=True)

    def _environment(self, place: Place) -> dict[str, str]:
        meeting = self._meet(place)
        gpus = {} if self.gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}
        unset = {name: value for name, value in QUIET.items() if name not in os.environ}
        return {
            "RANK": str(place.rank),
            "LOCAL_RANK": str(place.local_rank),
            "WORLD_SIZE": str(place.world_size),
            "LOCAL_WORLD_SIZE": str(place.local_world_size),
            "MASTER_ADDR": meeting.host,
            "MASTER_PORT": str(meeting.port),
            "OMP_NUM_THREADS": str(self.threads or len(os.sched_getaffinity(0))),
            "TOKENIZERS_PARALLELISM": "false",
            **gpus,
            **unset,
        }

    def _meet(self, place: Place) -> rendezvous.Meeting:
        file = self.run.rendezvous(self.job, place.attempt)
        if place.rank == 0:
            meeting, listener = rendezvous.open_meeting(file, single_node=len(place.hosts) == 1)
            self._hand_over(listener, place)
            return meeting
        return rendezvous.find_meeting(file, rank=place.rank, first_host=place.hosts[0])

    def _hand_over(self, listener: socket.socket, place: Place) -> None:
        """Leave the socket to the process group, which only several ranks form; and wait for those."""
        if place.world_size == 1:
            listener.close()
            return
        os.environ[LISTEN_FD] = str(listener.detach())

        def arrived() -> list[int]:
            states = read_rank_states(self.run, self.job, place.world_size)
            return [state.rank for state in states if state.attempt == place.attempt]

        rendezvous.wait_for_ranks(arrived, world_size=place.world_size, hosts=place.hosts)

    def _already_failed(self) -> bool:
        state = read_job_state(self.run, self.job)
        return state is not None and state.state == "failed"


def run_stage(job: RankJob) -> None:
    """Call the stage that a job is for; each imports only what it needs."""
    if job.stage == "prepare":
        from rankfold.stages.prepare import prepare

        prepare(job.run)
    elif job.stage == "train":
        from rankfold.stages.train import train

        train(job.run)
    elif job.stage == "merge":
        _run_merge(job)
    elif job.variant is None or job.shard is None:
        raise ValueError(f"{job.job} is an evaluation without a variant or shard")
    else:
        from rankfold.stages.evaluate import evaluate

        evaluate(job.run, job.variant, job.shard, job.num_shards)


def _run_merge(job: RankJob) -> None:
    from rankfold.stages.merge import merge, merge_part

    if job.shard is None:
        merge(job.run)
    else:
        merge_part(job.run, job.shard, job.num_shards)


def describe(error: BaseException) -> str:
    """One line or a few on an error, for a state file and the end of a log."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, RankfoldError) else f"{type(error).__name__}: {error}"


def _set_up_logging() -> None:
    """This project's own messages from INFO on, everybody else's warnings."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("rankfold").setLevel(logging.INFO)


@contextmanager
def redirected_to(log: Path) -> Iterator[None]:
    """Send standard output and error to a file, by descriptor: native code writes there too."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    saved = [(number, os.dup(number)) for number in (1, 2)]
    with log.open("ab", buffering=0) as file:
        for number, _ in saved:
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, copy in saved:
            os.dup2(copy, number)
            os.close(copy)
