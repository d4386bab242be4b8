"""Submitting plans to a real Slurm, with cheap ranks: names, arrays, dependencies, refusals, requeues."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, wait_until

from launch.attempts import read_attempts
from launch.job import RankJob
from launch.machine import Machine
from launch.plan import Plan, PlannedJob, make_plan
from launch.profiles.profile import ClusterProfile
from launch.slurm import submission
from launch.states import FINAL, mark_pending, read_job_state, read_json
from launch.status import RunStatus, read_status
from rankfold import atomic
from rankfold.errors import OperationalError, UserError
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder

AWKWARD = "100% 数据 %x 'single' \"double\" $HOME `echo`"
RECIPE: dict[str, Any] = {
    "name": "small",
    "task": "generative_ner",
    "model": {"name_or_path": "some/model"},
    "data": {"source": {"path": "no-such-file.jsonl", "format": "ccfbdci"}},
}
Stage = Callable[[RankJob], None]


@dataclass(frozen=True)
class Submitter:
    """Submits plans of cheap ranks from this process."""

    cluster: Cluster
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def run(self, plan: Plan) -> RunFolder:
        run = RunFolder(self.folder / "run")
        atomic.write_json(run.plan, plan.to_json())
        atomic.write_json(
            run.run, {"run_id": "run", "name": plan.name, "created": "2026-01-01T00:00:00+00:00"}
        )
        # JSON is YAML.
        atomic.write_json(run.recipe, {"distributed": {"timeout_min": 30}})
        mark_pending(run, plan)
        return run

    def submit(self, plan: Plan, stage: Stage, **profile: Any) -> RunFolder:
        run = self.run(plan)

        class CheapJob:
            """Stands for RankJob where a plan is submitted: its ranks call `stage`."""

            @staticmethod
            def of(run: RunFolder, job: PlannedJob) -> Callable[[], None]:
                rank_job = RankJob.of(run, job)

                def task() -> None:
                    from launch import job as module

                    setattr(module, "run_stage", lambda job, lifeline: stage(job))  # noqa: B010 (elsewhere)
                    rank_job()

                return task

        self.monkeypatch.setattr(submission, "RankJob", CheapJob)
        submission.submit_plan(run, plan, ClusterProfile(**profile))
        return run

    def wait(self, run: RunFolder) -> RunStatus:
        """Wait for the end of a run."""

        def is_over(status: RunStatus) -> bool:
            return all(job.state in FINAL for job in status.jobs)

        return wait_until(lambda: read_status(run), is_over, 180, pause_s=0.5)

    def output(self, run: RunFolder, name: str, slurm_id: str) -> str:
        return run.output(name, slurm_id).read_text()


@pytest.fixture
def submitter(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submitter:
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    return Submitter(cluster, tmp_path / AWKWARD, monkeypatch)


def small_plan(**sections: Any) -> Plan:
    recipe = Recipe.model_validate({**RECIPE, **sections}, strict=False)
    return make_plan(recipe, cluster="slurm", machine=Machine(1), num_train_examples=None)


def states(status: RunStatus) -> dict[str, str]:
    return {job.job: job.state for job in status.jobs}


def test_a_plan_goes_through_in_its_order_in_a_folder_of_any_name(
    submitter: Submitter, tmp_path: Path
) -> None:
    plan = small_plan(
        evaluation={"shards": 3, "baseline": False, "merge_shards": 2},
        resources={"train": {"nodes": 2, "tasks_per_node": 2, "cpus_per_task": 1}},
    )
    text = "'single' \"double\" $HOME \\ %j 中文"

    def stage(job: RankJob) -> None:
        import os
        from pathlib import Path

        assert os.environ["NOTE"] == text
        assert os.environ["FROM_SETUP"] == "中文 set up"
        assert Path(os.environ["TMPDIR"]).is_dir()
        (job.run.root / f"{job.job}.{os.environ['RANK']}").write_text(os.environ["TMPDIR"])

    run = submitter.submit(
        replace(plan, name="名字 'n'"),
        stage,
        # Two of three shards fit into one array.
        max_array_size=2,
        environment={"NOTE": text},
        setup=('export FROM_SETUP="中文 set up"',),
        scratch=f"{tmp_path}/临时 `files`/$SLURM_JOB_ID",
        sbatch_options={"comment": text},
    )
    status = submitter.wait(run)
    assert set(states(status).values()) == {"completed"}, status
    ids = {job.job: str(job.slurm_id) for job in status.jobs}
    first, second, third = (ids[f"evaluate-fine_tuned-{shard}"] for shard in range(3))
    assert first.endswith("_0")
    assert second == first.removesuffix("_0") + "_1"
    assert "_" not in third
    assert ids["merge-1"] == ids["merge-0"].removesuffix("_0") + "_1"
    # Dependencies on arrays: parts begin when the last shard has ended, whichever array it was in.
    begun = {job.job: str(job.started) for job in status.jobs}
    ended = {job.job: str(job.ended) for job in status.jobs}
    assert max(ended[f"evaluate-fine_tuned-{shard}"] for shard in range(3)) <= begun["merge-0"]
    assert max(ended["merge-0"], ended["merge-1"]) <= begun["merge"]
    # Each of train's four ranks ran on its node, with a folder of its own job's.
    folders = {(run.root / f"train.{rank}").read_text() for rank in range(4)}
    assert folders == {f"{tmp_path}/临时 `files`/{ids['train']}"}


def test_after_a_failed_job_nothing_stays_in_the_queue(submitter: Submitter) -> None:
    def stage(job: RankJob) -> None:
        from rankfold.errors import DataError

        raise DataError("there is no 数据", where="data.source.path", remedy="Correct the path.")

    run = submitter.submit(small_plan(evaluation={"shards": 2}), stage)
    status = submitter.wait(run)
    assert status.state == "failed"
    assert set(states(status).values()) == {"failed", "cancelled"}
    prepare = read_job_state(run, "prepare")
    assert prepare is not None
    assert prepare.error == "rank 0: data.source.path: there is no 数据\n  → Correct the path."
    assert [attempt.cause for attempt in read_attempts(run, "prepare")] == ["user_error"]
    assert submitter.cluster.run("squeue", "--noheader", "--states=pending").stdout == ""


def test_a_refused_job_takes_back_those_before_it(submitter: Submitter) -> None:
    with pytest.raises(
        OperationalError, match="sbatch refused merge; the 4 before it are cancelled"
    ) as caught:
        submitter.submit(
            small_plan(evaluation={"shards": 2, "baseline": False}),
            lambda job: None,
            stages={"merge": {"partition": "no-such"}},
        )
    assert "invalid partition specified: no-such" in caught.value.message
    status = submitter.wait(RunFolder(submitter.folder / "run"))
    assert set(states(status).values()) == {"cancelled"}


def test_only_asks_about_every_request_and_says_what_to_change(submitter: Submitter) -> None:
    plan = small_plan(
        evaluation={"shards": 2},
        resources={"train": {"gpus_per_node": 2, "cpus_per_gpu": 1}, "merge": {"memory_gb": 1}},
    )
    estimates = submission.test_only(plan, ClusterProfile(), submitter.folder)
    assert [estimate.name for estimate in estimates] == ["prepare", "evaluate-base-shards", "train", "merge"]
    assert all(str(estimate.starts) > "2026" and estimate.nodes for estimate in estimates)

    greedy = small_plan(resources={"train": {"gpus_per_node": 64}})
    stages = {"merge": {"partition": "no-such"}}
    with pytest.raises(UserError) as caught:
        submission.test_only(greedy, ClusterProfile(stages=stages), submitter.folder)
    message = caught.value.message
    assert "train: allocation failure: Requested node configuration is not available" in message
    assert "lower resources.train" in message
    assert "merge: sbatch: error: invalid partition specified: no-such" in message
    assert "prepare" not in message


def test_a_setup_line_that_fails_ends_the_job_and_is_named(submitter: Submitter) -> None:
    lines = ("true", 'echo "what it says" && ls /no/such/place', "echo never here")
    plan = small_plan(evaluation={"baseline": False})
    run = submitter.submit(plan, lambda job: None, stages={"prepare": {"setup": lines}})
    status = submitter.wait(run)
    assert states(status) == {
        "prepare": "failed",
        "train": "cancelled",
        "evaluate-fine_tuned-0": "cancelled",
        "merge": "cancelled",
    }
    text = submitter.output(run, "prepare", str(status.jobs[0].slurm_id))
    assert "what it says" in text
    assert "launch: setup failed: ls /no/such/place (exit status 2)" in text
    assert "never here" not in text
    assert read_attempts(run, "prepare") == []


def test_only_the_shard_that_was_killed_is_requeued_and_the_dependencies_stay(submitter: Submitter) -> None:
    def stage(job: RankJob) -> None:
        import os
        import signal
        import time

        if job.job == "evaluate-fine_tuned-1" and os.environ["LAUNCH_ATTEMPT"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        if job.stage == "evaluate" and job.shard != 1:
            # Still there when shard 1, whose number is the array's, is requeued.
            time.sleep(4)

    plan = small_plan(evaluation={"shards": 2, "baseline": False})
    run = submitter.submit(plan, stage)
    status = submitter.wait(run)
    assert set(states(status).values()) == {"completed"}, status
    causes = {job.job: [attempt.cause for attempt in job.attempts] for job in status.jobs}
    assert causes == {
        "prepare": ["completed"],
        "train": ["completed"],
        "evaluate-fine_tuned-0": ["completed"],
        "evaluate-fine_tuned-1": ["killed", "completed"],
        "merge": ["completed"],
    }


@pytest.mark.slow
def test_what_is_preempted_while_it_can_save_nothing_begins_anew(submitter: Submitter) -> None:
    def stage(job: RankJob) -> None:
        import os
        import threading

        if job.stage == "prepare" and os.environ["LAUNCH_ATTEMPT"] == "1":
            (job.run.root / "busy").touch()
            threading.Event().wait()

    low = {"prepare": {"partition": "low"}}
    run = submitter.submit(small_plan(evaluation={"baseline": False}), stage, stages=low)
    wait_until((run.root / "busy").exists, bool, 60)
    submitter.cluster.sbatch("true", "--partition=high", "--nodes=2", "--exclusive")
    status = submitter.wait(run)
    assert status.state == "completed"
    prepare = read_attempts(run, "prepare")
    assert [attempt.cause for attempt in prepare] == ["preempted", "completed"]
    assert prepare[0].slurm_id == prepare[1].slurm_id


def test_a_job_that_scancel_ends_does_not_come_back(submitter: Submitter) -> None:
    def stage(job: RankJob) -> None:
        import threading

        (job.run.root / "busy").touch()
        threading.Event().wait()

    run = submitter.submit(small_plan(evaluation={"baseline": False}), stage)
    wait_until((run.root / "busy").exists, bool, 30)
    submitter.cluster.run("scancel", read_json(run.job_ids)["prepare"])
    status = submitter.wait(run)
    assert set(states(status).values()) == {"cancelled"}
    wait_until(lambda: read_attempts(run, "prepare")[0].cause, lambda cause: cause is not None, 30)
    assert [attempt.cause for attempt in read_attempts(run, "prepare")] == ["cancelled"]


def test_a_job_may_submit_a_run_without_handing_on_what_it_asked_for(submitter: Submitter) -> None:
    run = submitter.run(small_plan(evaluation={"baseline": False}))
    program = submitter.folder / "submit.py"
    program.write_text(
        "import sys; from pathlib import Path\n"
        "from launch.plan import Plan; from launch.states import read_json\n"
        "from launch.profiles.profile import ClusterProfile\n"
        "from launch.slurm.submission import submit_plan\n"
        "from rankfold.run_folder import RunFolder\n"
        "run = RunFolder(Path(sys.argv[1]))\n"
        "submit_plan(run, Plan.from_json(read_json(run.plan)), ClusterProfile())\n"
    )
    submitter.cluster.run(
        *("srun", "--ntasks=1", "--cpus-per-task=2", "--partition=high"),
        *(sys.executable, str(program), str(run.root)),
    )
    prepare = read_json(run.job_ids)["prepare"]
    shown = submitter.cluster.run("scontrol", "show", "job", prepare).stdout
    assert "NumCPUs=1 " in shown
    assert "Partition=main" in shown
