"""Each known cause, recognised by what a failure of its kind really leaves behind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from failed_runs import fail, rank, run_on_slurm, tell, traceback
from fake_slurm import FakeSlurm

from launch.attempts import Cause
from launch.why.known_causes import KNOWN_CAUSES
from rankfold import atomic
from rankfold.run_folder import RunFolder


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm that has forgotten everything."""
    return FakeSlurm(tmp_path / "bin", monkeypatch)


@pytest.fixture
def run(make_run: Any, make_recipe: Any) -> RunFolder:
    return run_on_slurm(make_run, make_recipe)


@dataclass(frozen=True)
class Left:
    """What a failure left: the attempt's cause, the first failing rank's error, the batch output."""

    name: str
    cause: Cause
    error: str = ""
    batch: str = ""
    title: str = ""
    then: str = "launch resume RUN"


SUBMIT = "launch submit {recipe} "
LEFT = (
    Left(
        "gpu_out_of_memory",
        "out_of_memory",
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        then=f"{SUBMIT}train.per_device_train_batch_size=2 train.gradient_accumulation_steps=4",
    ),
    Left(
        "cpu_out_of_memory",
        "out_of_memory",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 4503599627370496 bytes. Error code 12 (Cannot allocate memory)",
        then=f"{SUBMIT}train.per_device_train_batch_size=2 train.gradient_accumulation_steps=4",
    ),
    Left(
        "slurm_out_of_memory",
        "out_of_memory",
        "used more memory than its job had asked for",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=41.0. Some of your processes may have "
        "been killed by the cgroup out-of-memory handler.\nsrun: error: node2: task 3: Out Of Memory\n",
        then=f"{SUBMIT}resources.train.memory_gb=64",
    ),
    Left(
        "shared_memory",
        "killed",
        "was killed by signal 7 (SIGBUS)",
        "srun: error: node2: task 3: Bus error\n",
    ),
    Left(
        "segmentation_fault",
        "killed",
        "was killed by signal 11 (SIGSEGV)",
        "srun: error: node2: task 3: Segmentation fault\n",
        then="launch logs RUN --stage train --rank 3",
    ),
    Left(
        "killed",
        "killed",
        "was killed by signal 9 (SIGKILL), as the kernel does when memory runs out",
        "srun: error: node2: task 3: Killed\n",
        then=f"{SUBMIT}resources.train.memory_gb=64",
    ),
    Left(
        "not_a_number",
        "not_a_number",
        "step 7: the training loss is nan\n  → Lower learning_rate.",
        then=f"{SUBMIT}train.learning_rate=5e-06",
    ),
    Left("disk_full", "disk_full", "OSError: [Errno 28] No space left on device: '/runs/x'"),
    Left(
        "time_limit",
        "time_limit",
        "its time limit was over",
        then=f"{SUBMIT}resources.train.time_limit_min=120",
    ),
    Left("preempted", "preempted", "another job took its nodes"),
    Left("interrupted", "interrupted", "Slurm ended it to queue it again"),
    Left("node_failure", "node_failure", "node node2 failed", "srun: error: Node failure on node2\n"),
    Left(
        "rendezvous",
        "exception",
        "rank 3 on node2 cannot reach rank 0 on node1, port 1234: node1: Connection refused",
        then="launch logs RUN --stage train",
    ),
    Left(
        "connection",
        "exception",
        "DistBackendError: NCCL error: remote process exited or there was a network error, ncclRemoteError",
    ),
    Left(
        "connection",
        "exception",
        "RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:5000",
    ),
    Left(
        "gpu_driver",
        "exception",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
        then="launch logs RUN --stage train --rank 3",
    ),
    Left(
        "gpu_broken",
        "exception",
        "AcceleratorError: CUDA error: device-side assert triggered",
        then="launch logs RUN --stage train --rank 3",
    ),
    Left(
        "missing_module",
        "exception",
        "ModuleNotFoundError: No module named 'flash_attn'",
        title="Python could not import something: No module named 'flash_attn'",
    ),
    Left(
        "hub_offline",
        "exception",
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files",
        then="launch fetch {recipe}",
    ),
    Left("permission_denied", "exception", "PermissionError: [Errno 13] Permission denied: '/data/x'"),
    Left(
        "exception",
        "exception",
        "ValueError: the seventh row is odd",
        title="ValueError: the seventh row is odd",
    ),
    Left(
        "user_error",
        "user_error",
        "data.jsonl:7: no label\n  → Add one.",
        title="data.jsonl:7: no label",
        then="launch",
    ),
)


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("left", LEFT, ids=lambda left: f"{left.name}: {left.error[:20]}")
def test_a_cause_is_known_by_what_it_leaves(run: RunFolder, left: Left) -> None:
    by_rank = not left.batch and left.cause not in ("preempted", "interrupted", "time_limit")
    if by_rank:
        rank(run, 3, left.error, traceback(left.error))
    fail(
        run, left.cause, left.error, first=3 if by_rank or "task 3" in left.batch else None, batch=left.batch
    )
    told = tell(run)
    assert told.cause == left.name
    assert told.title.startswith(left.title)
    assert told.explanation
    assert told.remedy
    assert told.next == left.then.format(recipe=f"'{run.recipe}'")
    assert told.job == "train"


@pytest.mark.parametrize(
    ("name", "line", "what"),
    [
        (
            "setup_path_missing",
            "/spool/job1/slurm_script: line 17: cd: /no/such: No such file or directory",
            "/no/such",
        ),
        ("command_not_found", "/spool/job1/slurm_script: line 17: modul: command not found", "modul"),
        (
            "module_not_loaded",
            "ModuleCmd_Load.c(213):ERROR:105: Unable to locate a modulefile for 'cuda/99'",
            "cuda/99",
        ),
        ("setup_failed", "false", "the batch script ended before any rank started"),
    ],
)
def test_a_setup_line_that_fails_is_named(
    run: RunFolder, slurm: FakeSlurm, name: str, line: str, what: str
) -> None:
    slurm.answer(
        "squeue",
        "41|FAILED|NonZeroExitCode|node1|N/A|1:00\n42|CANCELLED|DependencyNeverSatisfied||N/A|1:00\n",
    )
    slurm.answer(
        "scontrol", "JobId=41 JobName=x UserId=root(0) JobState=FAILED Reason=NonZeroExitCode ExitCode=1:0\n"
    )
    atomic.write_text(run.output("train", "41"), f"{line}\nlaunch: setup failed: x (exit status 1)\n")
    told = tell(run)
    assert told.cause == name
    assert what in told.title
    assert told.next == "launch logs RUN --stage train"
    assert line in told.batch
    assert told.slurm is not None
    assert told.slurm.exit_code == 1
    assert "will not run because of it: evaluate-fine_tuned-0, merge" in told.consequences


def test_every_known_cause_is_tried_here() -> None:
    tried = {left.name for left in LEFT} | {
        *(
            "setup_path_missing",
            "command_not_found",
            "module_not_loaded",
            "setup_failed",
            "hung",
            "no_progress",
        )
    }
    assert {known.name for known in KNOWN_CAUSES} - tried == {"out_of_memory", "python_missing_on_node"}
