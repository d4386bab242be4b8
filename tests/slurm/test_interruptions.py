"""An interruption is invisible: the run ends by itself, and as if nothing had happened.

Every way to be interrupted happens to a run of its own, all of them at once on one cluster; each is compared
with a run that nobody disturbed. One rank, or two on two nodes, train a tiny model; of two numbers there is
one sum only, so weights and losses can be, and are, compared bit for bit.
"""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from clusters import Cluster, MakeCluster
from commands import read
from models import same_weights
from tiny_runs import entities_file

from launch.new_run import create_run
from launch.planning import Planned, plan_recipe
from launch.slurm.submission import submit_plan
from launch.states import FINAL
from rankfold.checkpoints import COMPLETE_MARKER
from rankfold.run_folder import RunFolder
from rankfold.stages.prepare import prepare
from rankfold.stages.train import train as train_stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS, SAVE_STEPS = 120, 20
RECIPE = """
name: {name}
task: generative_ner
model: {{name_or_path: {model}, adapter: {{r: 4, lora_dropout: 0.1}}}}
data:
  train: {{path: {train}, format: spans}}
  test: {{path: {test}, format: spans}}
  max_length: 256
train:
  max_steps: {steps}
  learning_rate: 0.01
  per_device_train_batch_size: 2
  # No divisor of save_steps: interruptions fall between two losses.
  logging_steps: 7
  save_steps: {save_steps}
  save_total_limit: 2
evaluation: {{baseline: false, unit_size: 4, per_device_eval_batch_size: 4, max_new_tokens: 4}}
resources:
  prepare: {{cpus_per_task: 1, time_limit_min: 30}}
  train: {{nodes: {nodes}, {ranks}, time_limit_min: {time_limit_min}}}
  evaluate: {{cpus_per_task: 1, time_limit_min: 30}}
  merge: {{cpus_per_task: 1, time_limit_min: 30}}
"""


@dataclass(frozen=True)
class Warned:
    """What was known just before a warning: the last step done, and how many attempts there were."""

    step: int
    attempts: int


@dataclass(frozen=True)
class Train:
    """The training job of a run that was submitted."""

    cluster: Cluster
    run: RunFolder

    @property
    def slurm_id(self) -> str:
        job_id: str = read(self.run.job_ids)["train"]
        return job_id

    @property
    def state(self) -> str:
        state: str = read(self.run.job_state("train"))["state"]
        return state

    @property
    def step(self) -> int:
        path = self.run.progress("train")
        return int(read(path)["step"]) if path.is_file() else 0

    @property
    def attempts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = read(self.run.attempts("train"))
        return found

    @property
    def causes(self) -> list[str]:
        """Why each attempt but the last ended."""
        return [attempt["cause"] for attempt in self.attempts[:-1]]

    def steps_lost(self, warned: "Warned") -> int:
        """Steps that the attempt after the warned one had to make again."""
        return warned.step - int(self.attempts[warned.attempts]["progress"])

    def now(self) -> Warned:
        return Warned(self.step, len(self.attempts))

    def wait(self, what: Callable[[], bool], seconds: float = 400, *, every: float = 0.05) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                runs = self.run.root.parent
                pytest.fail(self.cluster.launch("why", str(self.run.root), runs=runs).stdout)
            time.sleep(every)

    def wait_for_step(self, step: int) -> None:
        self.wait(lambda: self.step >= step)

    def processes(self, rank: int) -> list[int]:
        """The processes of a rank, as this host numbers them: nodes have numbers of their own."""
        # srun itself, in the batch script, belongs to no step.
        place = (f"SLURM_JOB_ID={self.slurm_id}", "SLURM_STEP_ID=0", f"SLURM_PROCID={rank}")
        wanted = {variable.encode() for variable in place}
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdecimal() and b"submitit" in (folder / "cmdline").read_bytes():
                    variables = (folder / "environ").read_bytes().split(b"\0")
                    found += [int(folder.name)] if wanted <= set(variables) else []
            except (FileNotFoundError, ProcessLookupError):
                # It ended while we looked.
                continue
        return found

    def send(self, number: signal.Signals, rank: int) -> None:
        for pid in self.processes(rank):
            os.kill(pid, number)


@pytest.fixture
def runs(causal_folder: Path, tmp_path: Path) -> Callable[..., tuple[RunFolder, Planned]]:
    """Make runs of the recipe, each under a name of its own; their data are prepared once for all."""
    files = {side: entities_file(tmp_path / f"{side}.jsonl", 40)["path"] for side in ("train", "test")}
    first: list[RunFolder] = []

    def make(
        name: str,
        nodes: int = 1,
        partition: str = "high",
        time_limit_min: int = 30,
        ranks: str = "tasks_per_node: 1, cpus_per_task: 1",
    ) -> tuple[RunFolder, Planned]:
        recipe, profile = tmp_path / f"{name}.yaml", tmp_path / f"{name}-profile.yaml"
        values = {"name": name, "model": causal_folder, **files, "nodes": nodes, "ranks": ranks}
        steps = {"steps": STEPS, "save_steps": SAVE_STEPS, "time_limit_min": time_limit_min}
        recipe.write_text(RECIPE.format(**values, **steps))
        profile.write_text(f"partition: {partition}\nsignal_delay_s: 60\n")
        planned = plan_recipe(recipe, [], cluster="slurm", profile=str(profile))
        run = create_run(planned, tmp_path / "runs", command=["launch", "submit"])
        if first:
            copytree(first[0].prepared.root, run.prepared.root)
        else:
            prepare(run)
            first.append(run)
        return run, planned

    return make


# Each returns what was known before a warning, None where none is given.


def leave_alone(train: Train) -> None:
    pass


def kill_a_rank(train: Train) -> None:
    train.wait_for_step(30)
    train.send(signal.SIGKILL, rank=1)


def kill_while_a_checkpoint_is_written(train: Train) -> None:
    """Stop rank 0 when a checkpoint's folder is there, and kill it if its marker is not."""
    train.wait_for_step(10)
    (pid,) = train.processes(rank=0)
    for step in range(SAVE_STEPS, STEPS, SAVE_STEPS):
        folder = train.run.checkpoints / f"checkpoint-{step}"
        train.wait(folder.is_dir, every=0)
        os.kill(pid, signal.SIGSTOP)
        if not (folder / COMPLETE_MARKER).exists():
            os.kill(pid, signal.SIGKILL)
            return
        os.kill(pid, signal.SIGCONT)
    raise AssertionError("every checkpoint was complete before rank 0 could be stopped")


def requeue_by_hand(train: Train) -> Warned:
    train.wait_for_step(30)
    warned = train.now()
    train.cluster.run("scontrol", "requeue", train.slurm_id)
    return warned


def preempt(train: Train) -> Warned:
    """A job of a higher partition wants every GPU, of which this run has one on each node."""
    train.wait_for_step(30)
    warned = train.now()
    wanted = ("--nodes=2", "--gres=gpu:2", "--partition=main", "--time=1", "--output=/dev/null")
    train.cluster.run("sbatch", *wanted, "--wrap", "sleep 1")
    return warned


def reach_the_time_limit(train: Train) -> Warned:
    """Freeze the rank until Slurm's warning, which wakes it; nothing else is different then.

    On a slow machine the first attempt may be warned before this step, and the next one is frozen.
    """
    train.wait_for_step(5)
    warned = train.now()
    (pid,) = train.processes(rank=0)
    os.kill(pid, signal.SIGSTOP)
    train.wait(lambda: not is_stopped(pid), every=0.5)
    return warned


def is_stopped(pid: int) -> bool:
    try:
        return "State:\tT" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class Interruption:
    """What happens to a run, and what its attempts then say."""

    happens: Callable[[Train], Warned | None]
    causes: set[str]
    submitted: dict[str, Any] = field(default_factory=dict)


INTERRUPTIONS = {
    "undisturbed": Interruption(leave_alone, set(), {"nodes": 2}),
    "killed": Interruption(kill_a_rank, {"killed"}, {"nodes": 2}),
    "preempted": Interruption(
        preempt,
        {"preempted"},
        {"nodes": 2, "partition": "low", "ranks": "gpus_per_node: 1, cpus_per_gpu: 1"},
    ),
    "killed-while-saving": Interruption(kill_while_a_checkpoint_is_written, {"killed"}),
    "requeued": Interruption(requeue_by_hand, {"interrupted"}),
    "time-limit": Interruption(reach_the_time_limit, {"time_limit"}, {"time_limit_min": 3}),
}


def test_whatever_interrupts_a_run_it_ends_as_if_nothing_had(
    runs: Callable[..., tuple[RunFolder, Planned]],
    make_cluster: MakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    subtests: pytest.Subtests,
) -> None:
    # Room for all of them at once: a run that waits is not interrupted.
    cluster = make_cluster("--cpus", "8")
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    trains = {}
    for name, interruption in INTERRUPTIONS.items():
        run, planned = runs(name, **interruption.submitted)
        submit_plan(run, planned.plan, planned.profile, only=["train"])
        trains[name] = Train(cluster, run)

    def interrupt(name: str) -> Warned | None:
        warned = INTERRUPTIONS[name].happens(trains[name])
        trains[name].wait(lambda: trains[name].state in FINAL, every=1)
        return warned

    with ThreadPoolExecutor(len(trains)) as threads:
        warnings = dict(zip(trains, threads.map(interrupt, trains), strict=True))
    alone, _ = runs("alone")
    train_here(alone)
    for name, train in trains.items():
        two_ranks = "nodes" in INTERRUPTIONS[name].submitted
        undisturbed = trains["undisturbed"].run if two_ranks else alone
        with subtests.test(msg=name):
            assert train.state == "completed"
            assert bool(train.causes) == (name != "undisturbed")
            assert set(train.causes) <= INTERRUPTIONS[name].causes
            assert losses(train.run) == losses(undisturbed)
            assert same_weights(train.run.model, undisturbed.model)
            warned = warnings[name]
            if warned is not None:
                assert train.steps_lost(warned) <= 1


def train_here(run: RunFolder) -> None:
    """Train in this process, on one thread as a rank with one core does."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_stage(run)
    torch.set_num_threads(threads)


def losses(run: RunFolder) -> list[tuple[float, ...]]:
    history = read(run.train_summary)["log_history"]
    return [
        tuple(entry[key] for key in ("step", "epoch", "loss", "grad_norm", "learning_rate"))
        for entry in history
    ]
