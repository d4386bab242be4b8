"""What a rank does around its stage."""

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, cast

import pytest

from launch import job as job_module
from launch.job import Place, RankJob, redirected_to
from launch.states import read_job_state, read_json, read_rank_states
from rankfold.errors import OperationalError
from rankfold.run_folder import RunFolder


def test_what_native_code_and_children_print_goes_to_the_log_too(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    with redirected_to(log):
        os.write(2, "来自本地代码\n".encode())
        subprocess.run([sys.executable, "-c", "print('来自子进程')"], check=True)
    assert log.read_text().splitlines() == ["来自本地代码", "来自子进程"]
    with redirected_to(log):
        os.write(1, b"more\n")
    assert log.read_text().endswith("more\n")


def on_slurm(run: RunFolder, monkeypatch: pytest.MonkeyPatch, stage: Any) -> None:
    """Run a rank's body as Slurm would: no driver writes the job's state."""
    monkeypatch.setattr(job_module, "run_stage", stage)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    job = RankJob(str(run.root), "train", "train", None, None, 1, threads=3)
    job._run_and_tell(Place(rank=0, local_rank=0, world_size=1, hosts=("here",), attempt=1))


def test_on_slurm_rank_zero_writes_the_state_of_the_job(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    seen: dict[str, str] = {}

    def stage(job: RankJob) -> None:
        seen.update(os.environ)
        state = read_job_state(run, "train")
        assert state is not None
        assert state.state == "running"

    on_slurm(run, monkeypatch, stage)
    state = read_job_state(run, "train")
    assert state is not None
    assert (state.state, state.ranks) == ("completed", 1)
    assert seen["OMP_NUM_THREADS"] == "3"
    assert seen["TOKENIZERS_PARALLELISM"] == "false"
    meeting = read_json(run.rendezvous("train", 1))
    assert (seen["MASTER_ADDR"], seen["MASTER_PORT"]) == ("127.0.0.1", str(meeting["port"]))


def test_on_slurm_a_rank_that_fails_says_so_for_the_job(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()

    def stage(job: RankJob) -> None:
        raise OperationalError("no room")

    with pytest.raises(OperationalError):
        on_slurm(run, monkeypatch, stage)
    state = read_job_state(run, "train")
    assert state is not None
    assert (state.state, state.error) == ("failed", "rank 0: no room")
    [rank] = read_rank_states(run, "train", 2)
    assert (rank.state, rank.error) == ("failed", "no room")


def test_an_evaluation_gets_its_variant_and_shard(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    called = []
    stage = types.SimpleNamespace(evaluate=lambda *arguments: called.append(arguments))
    # Importing the real one takes seconds.
    monkeypatch.setitem(sys.modules, "rankfold.stages.evaluate", cast(Any, stage))
    job_module.run_stage(RankJob(str(run.root), "evaluate-base-1", "evaluate", "base", 1, 4))
    assert called == [(run, "base", 1, 4)]
