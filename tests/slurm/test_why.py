"""`launch why` names the cause of eight failures that were prepared on a real Slurm, all of them at once.

The ranks are real, but their stage is a few lines of the test's own that fail at once: what counts here is
what Slurm, srun, the batch script and the ranks leave behind.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml
from clusters import Cluster, wait_until
from commands import read

from launch.plan import Plan, PlannedJob
from launch.profiles.profile import ClusterProfile
from launch.slurm.submission import submit_plan
from launch.states import mark_pending
from rankfold import atomic
from rankfold.run_folder import RunFolder

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(300)]

STAGE_OF_THE_TEST = """\
# Python imports this module by itself when it starts: the stage `train` is what the run's folder says.
import sys, types

def train(run, lifeline):
    lifeline.beat()
    source = run.root / "stage.py"
    exec(compile(source.read_text(), str(source), "exec"), {"__name__": "stage"})

module = types.ModuleType("rankfold.stages.train")
module.train = train
sys.modules[module.__name__] = module
"""
SLEEP = "import time\ntime.sleep(600)\n"
OUT_OF_MEMORY = "import torch\ntorch.empty(1 << 50)\n"
OUT_OF_GPU_MEMORY = """
import torch
raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 15 GiB.")
"""
NAN = """
from rankfold.errors import NumericalError
raise NumericalError("the training loss is nan", where="step 7", remedy="Lower it.")
"""
ON_RANK_3 = """
import os, time
if os.environ["RANK"] != "3":
    time.sleep(600)
raise ValueError("the seventh row has no label")
"""
HANG = """
import os, threading
def all_reduce():
    threading.Event().wait()
def read_the_slow_disk():
    while True:
        pass
(read_the_slow_disk if os.environ["RANK"] == "1" else all_reduce)()
"""
SUBMIT = "launch submit {folder}/recipe.yaml"
SMALLER_BATCH = f"{SUBMIT} train.per_device_train_batch_size=2 train.gradient_accumulation_steps=4"


@dataclass(frozen=True)
class Failure:
    """A prepared failure, and what `launch why` must say of it."""

    cause: str
    title: str
    then: str
    stage: str = ""
    nodes: int = 1
    tasks_per_node: int = 1
    time_limit_min: int = 10
    again: bool = True
    setup: tuple[str, ...] = ()
    options: dict[str, str | int | bool] = field(default_factory=dict)
    rank: int | None = None
    shown: str = ""


FAILURES = {
    "setup": Failure(
        "setup_path_missing",
        "a setup line names /no/such/folder, which does not exist on the node",
        "launch logs {name} --stage train",
        setup=("cd /no/such/folder",),
    ),
    "memory": Failure(
        "cpu_out_of_memory",
        "the node's memory (RAM) was not enough",
        SMALLER_BATCH,
        stage=OUT_OF_MEMORY,
        rank=0,
        shown="torch.empty(1 << 50)",
    ),
    "gpu-memory": Failure(
        "gpu_out_of_memory",
        "a GPU ran out of memory",
        SMALLER_BATCH,
        stage=OUT_OF_GPU_MEMORY,
        rank=0,
        shown="CUDA out of memory. Tried to allocate 2.00 GiB",
    ),
    "rank-3": Failure(
        "exception",
        "ValueError: the seventh row has no label",
        "launch resume {name}",
        stage=ON_RANK_3,
        nodes=2,
        tasks_per_node=2,
        rank=3,
        shown='raise ValueError("the seventh row has no label")',
    ),
    "nan": Failure(
        "not_a_number",
        "the numbers became NaN or infinite",
        "launch submit {folder}/recipe.yaml train.learning_rate=1e-05",
        stage=NAN,
        rank=0,
        shown="the training loss is nan",
    ),
    "time-limit": Failure(
        "time_limit",
        "the time limit was over before it was done",
        "launch submit {folder}/recipe.yaml resources.train.time_limit_min=2",
        stage=SLEEP,
        time_limit_min=1,
        again=False,
    ),
    "cancelled": Failure("cancelled", "it was cancelled by root", "launch resume {name}", stage=SLEEP),
    "dependency": Failure(
        "never_starts",
        "merge never starts: train cancelled",
        "launch cancel {name}",
        options={"hold": True, "kill-on-invalid-dep": "no"},
    ),
    "node": Failure(
        "node_failure", "a node failed", "launch resume {name}", stage=SLEEP, nodes=2, again=False
    ),
    "hang": Failure(
        "hung",
        "rank 1 stood elsewhere than the others: rank 1 in read_the_slow_disk",
        "launch logs {name} --stage train --rank 1",
        stage=HANG,
        tasks_per_node=2,
        again=False,
        rank=1,
        shown="in read_the_slow_disk",
    ),
}


def make_run(folder: Path, name: str, failure: Failure) -> tuple[RunFolder, Plan]:
    """A run of two jobs, train and then merge, as a submission leaves it."""
    run = RunFolder(folder / name)
    run.root.mkdir()
    train = PlannedJob(
        *("train", "train", None, None, 1, (), failure.nodes, failure.tasks_per_node, 0, 1, None),
        failure.time_limit_min,
    )
    merge = replace(train, name="merge", stage="merge", after=("train",), nodes=1, tasks_per_node=1)
    plan = Plan("why", "generative_ner", "slurm", (train, merge), train.ranks, 4, None, None, ())
    identity = {"run_id": name, "name": "why", "created": "2026-01-01T00:00:00+00:00", "command": ["launch"]}
    atomic.write_json(run.run, {**identity, "recipe_sha256": "0" * 64})
    atomic.write_json(run.plan, plan.to_json())
    recipe = {
        "train": {
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
            "learning_rate": 0.0001,
        },
        "distributed": {"timeout_min": 0.15 if failure.cause == "hung" else 30},
    }
    run.recipe.write_text(yaml.safe_dump(recipe))
    (run.root / "stage.py").write_text(failure.stage)
    mark_pending(run, plan)
    return run, plan


def submit(cluster: Cluster, folder: Path, name: str) -> RunFolder:
    failure = FAILURES[name]
    profile = ClusterProfile(
        environment={"PYTHONPATH": str(folder)},
        setup=failure.setup,
        signal_delay_s=30,
        # The other node will be taken down, which must not become anybody else's failure.
        sbatch_options=failure.options | ({"nodelist": "node1"} if failure.nodes == 1 else {}),
    )
    run, plan = make_run(folder, name, failure)
    ids = submit_plan(run, plan, profile)
    if not failure.again:
        cluster.run("scontrol", "update", f"JobId={ids['train']}", "Requeue=0")
    return run


def cancel(cluster: Cluster, runs: dict[str, RunFolder]) -> None:
    run = runs["cancelled"]
    wait_until(run.log("train", 0).is_file, bool, 60)
    told = cluster.launch("cancel", str(run.root), runs=run.root.parent).stdout
    assert told == "cancelled is cancelled\n  running: train\n  pending: merge\n"


def break_a_dependency(cluster: Cluster, runs: dict[str, RunFolder]) -> None:
    ids = read(runs["dependency"].job_ids)
    cluster.run("scancel", ids["train"])
    cluster.run("scontrol", "release", ids["merge"])


def take_a_node_down(cluster: Cluster, runs: dict[str, RunFolder]) -> None:
    wait_until(runs["node"].log("train", 1).is_file, bool, 60)
    wait_for_end(cluster, runs["rank-3"])
    cluster.run("scontrol", "update", "NodeName=node2", "State=DOWN", "Reason=test")


def wait_for_end(cluster: Cluster, run: RunFolder) -> None:
    ended = ("FAILED", "TIMEOUT", "NODE_FAIL", "CANCELLED", "OUT_OF_MEMORY")
    cluster.wait_for_job(read(run.job_ids)["train"], *ended, timeout_s=150)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        pytest.param(list(FAILURES), (), id="with accounting"),
        pytest.param(["setup", "nan", "cancelled", "dependency"], ("--no-accounting",), id="without"),
    ],
)
def test_why_names_the_cause_and_the_next_command(
    names: list[str],
    options: tuple[str, ...],
    make_cluster: Callable[..., Cluster],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    subtests: pytest.Subtests,
) -> None:
    cluster = make_cluster("--cpus", "16", *options)
    (tmp_path / "sitecustomize.py").write_text(STAGE_OF_THE_TEST)
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    runs = {name: submit(cluster, tmp_path, name) for name in names}
    happens = [HAPPENS[name] for name in HAPPENS.keys() & runs]
    with ThreadPoolExecutor(len(happens)) as threads:
        list(threads.map(lambda happen: happen(cluster, runs), happens))
    for run in runs.values():
        wait_for_end(cluster, run)
    for name in names:
        expected = FAILURES[name]
        with subtests.test(msg=name):
            text = cluster.launch("why", name, "--json", runs=tmp_path).stdout
            told = json.loads(text)
            assert (told["cause"], told["rank"]) == (expected.cause, expected.rank), text
            assert expected.title in told["title"], text
            assert expected.shown in "\n".join(told["evidence"]), text
            assert told["next"] == expected.then.format(name=name, folder=tmp_path / name), text
    text = cluster.launch("why", "setup", runs=tmp_path).stdout
    assert "launch: setup failed: cd /no/such/folder (exit status 1)" in text
    assert "Slurm says of job " in text
    assert "will not run because of it: merge" in text
    assert text.endswith("\nnext: launch logs setup --stage train\n")


HAPPENS = {"cancelled": cancel, "dependency": break_a_dependency, "node": take_a_node_down}
