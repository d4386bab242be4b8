"""What every rank of every job runs: set the environment, say how it goes, call one stage."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
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

from launch import rendezvous, stop_signals
from launch.plan import PlannedJob
from launch.processes import Process
from launch.states import RankState, now
from rankfold.errors import EXIT_INTERRUPTED, RankfoldError, StoppedError, UserError
from rankfold.lifeline import Lifeline
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

OFFLINE = {
    # What a run needs was fetched before it was submitted; compute nodes often see no network, and wait.
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}

EXIT_S = 60.0
"""How long a rank that failed may take to exit: what it shares with others may wait for them for ever."""

STOPS_AT_SAFE_POINTS = ("train", "evaluate")
"""Stages that a signal asks to stop; the others are short and begin again."""


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
    """

    run_folder: str
    job: str
    stage: str
    variant: str | None
    shard: int | None
    num_shards: int
    threads: int | None = None
    gpus: tuple[str, ...] | None = None

    @classmethod
    def of(cls, run: RunFolder, job: PlannedJob, *, gpus: tuple[str, ...] | None = None) -> RankJob:
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
        )

    @property
    def run(self) -> RunFolder:
        return RunFolder(Path(self.run_folder))

    def __call__(self) -> None:
        place = Place.from_submitit()
        log = self.run.log(self.job, place.rank)
        log.parent.mkdir(parents=True, exist_ok=True)
        with redirected_to(log), log.open("a", encoding="utf-8") as stacks:
            lifeline = Lifeline(timeout_s(self.run), stacks)
            self._heed_signals(lifeline)
            _set_up_logging()
            try:
                self._run_and_tell(place, lifeline)
                lifeline.end()
            except BaseException:
                exit_within(EXIT_S)
                raise
            finally:
                end_children()

    def _heed_signals(self, lifeline: Lifeline) -> None:
        """In place of what submitit does: ranks of its survive TERM, and may requeue their job on USR2."""
        on_slurm = "SLURM_JOB_ID" in os.environ and os.environ.get("SUBMITIT_EXECUTOR") == "slurm"
        if on_slurm and self.stage in STOPS_AT_SAFE_POINTS:
            stop_signals.heed(lifeline, stop_signals.Reasons.of(self.run, self.job).why)
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # It announces the time limit, also to children, and nothing could be saved.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def _run_and_tell(self, place: Place, lifeline: Lifeline) -> None:
        """Run the stage and write this rank's state; whoever watches the ranks writes the job's.

        Raises:
            SystemExit: With EXIT_INTERRUPTED where the stage stopped, or failed, after it was asked to stop.
        """
        state = RankState(place.rank, Process.this(), "running", now(), attempt=place.attempt)
        state.write(self.run, self.job)
        try:
            self._run_stage(place, lifeline)
        except BaseException as error:
            message, kind = describe(error), type(error).__name__
            if not isinstance(error, UserError | StoppedError):
                traceback.print_exc()
            # The frames hold loader workers, which would go on as long as this process.
            traceback.clear_frames(error.__traceback__)
            if lifeline.stop_reason is not None or isinstance(error, StoppedError):
                state.end("cancelled", lifeline.stop_reason or message, kind).write(self.run, self.job)
                print(f"{self.job} stopped: {message}", flush=True)
                raise SystemExit(EXIT_INTERRUPTED) from None
            interrupted = isinstance(error, KeyboardInterrupt)
            state.end("cancelled" if interrupted else "failed", message, kind).write(self.run, self.job)
            print(f"{self.job} failed: {message}", flush=True)
            raise
        state.end("completed").write(self.run, self.job)

    def _run_stage(self, place: Place, lifeline: Lifeline) -> None:
        os.environ.update(self._environment(place))
        print(f"{self.job} starts as {place.rank + 1} of {place.world_size} ranks", flush=True)
        started = time.monotonic()
        run_stage(self, lifeline)
        print(f"{self.job} completed in {time.monotonic() - started:.1f} s", flush=True)

    def _environment(self, place: Place) -> dict[str, str]:
        meeting = self._meet(place)
        gpus = {} if self.gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}
        unset = {name: value for name, value in (QUIET | OFFLINE).items() if name not in os.environ}
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
        """Leave the socket to the process group, which only several ranks form, once all are there."""
        if place.world_size == 1:
            listener.close()
            return
        rendezvous.wait_for_ranks(listener, world_size=place.world_size, hosts=place.hosts)
        os.environ[LISTEN_FD] = str(listener.detach())


def run_stage(job: RankJob, lifeline: Lifeline | None = None) -> None:
    """Call the stage that a job is for; each imports only what it needs."""
    if job.stage == "prepare":
        from rankfold.stages.prepare import prepare

        prepare(job.run)
    elif job.stage == "train":
        from rankfold.stages.train import train

        train(job.run, lifeline)
    elif job.stage == "merge":
        _run_merge(job)
    elif job.variant is None or job.shard is None:
        raise ValueError(f"{job.job} is an evaluation without a variant or shard")
    else:
        from rankfold.stages.evaluate import evaluate

        evaluate(job.run, job.variant, job.shard, job.num_shards, lifeline)


def _run_merge(job: RankJob) -> None:
    from rankfold.stages.merge import merge, merge_part

    if job.shard is None:
        merge(job.run)
    else:
        merge_part(job.run, job.shard, job.num_shards)


def timeout_s(run: RunFolder) -> float:
    """How long a rank of a run may go without getting on."""
    import yaml

    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    minutes = recipe.get("distributed", {}).get("timeout_min")
    if minutes is None:
        # A run from before recipes had it. The schema is slow to import, and signals still end this rank.
        from rankfold.recipe.schema import Distributed

        minutes = Distributed().timeout_min
    return float(60 * minutes)


def exit_within(seconds: float) -> None:
    """End this process then if it still hangs; takes the place of a lifeline's timer, as there is but one."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)


def end_children() -> None:
    """End what loader workers are left: blocked signals cannot, and Python would wait for them for ever."""
    # torch would raise in this process that one was killed.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        child.kill()


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
