"""Handing a plan's jobs to Slurm: all of them, or none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from launch.job import RankJob
from launch.plan import Plan
from launch.profiles.profile import ClusterProfile
from launch.slurm.answers import COMMAND_TIMEOUT_S, cancel_jobs
from launch.slurm.batch import Batch, batch_script, batches, python_command, slurm_parameters
from launch.states import mark_cancelled, read_json
from rankfold import atomic
from rankfold.errors import OperationalError, UserError
from rankfold.run_folder import RunFolder

INHERITED = re.compile(r"(SLURM|SBATCH|SRUN)_(?!CONF$)")
"""Variables of a surrounding job that would silently change what a new one asks for."""
UNUSABLE = re.compile(r"[\\\n]|%[jtAa]")
"""A backslash makes Slurm take %j for a name, not for the job's id; these %-words are submitit's own."""

EXPECTED_START = re.compile(r"to start at (\S+) using .* on nodes (\S+)")
REMEDIES = (
    ("partition", "`sinfo` lists the partitions; name one in the profile (partition)."),
    ("account", "`sacctmgr show associations` lists your accounts; name one in the profile (account)."),
    ("qos", "`sacctmgr show qos` lists them; name one in the profile (qos)."),
    ("feature", "`sinfo -o %f` lists the features; correct the profile's constraint."),
    ("reservation", "`scontrol show reservations` lists them; correct the profile's reservation."),
    ("job array", "Set the profile's max_array_size: `scontrol show config` says MaxArraySize."),
    ("time limit", "Lower resources.{stage}.time_limit_min, or name another partition in the profile."),
    ("node configuration", "No node has this much: lower resources.{stage} (nodes, gpus_per_node, cpus, "
     "memory_gb) or correct the profile (partition, gpu_request, gpu_type)."),
)  # fmt: skip
"""What to change, by a word of sbatch's refusal."""
ANY_REMEDY = "Correct the profile or resources.{stage}; `launch plan --cluster slurm` shows the script."


@dataclass(frozen=True)
class Estimate:
    """When Slurm would start a job if it were submitted now, whatever it waits for.

    Attributes:
        starts: ISO 8601 in UTC; None where sbatch does not say.
    """

    name: str
    starts: str | None
    nodes: str | None

    def __str__(self) -> str:
        return f"{self.name}: would start at {self.starts or 'an unknown time'} on {self.nodes or 'any node'}"


def test_only(plan: Plan, profile: ClusterProfile, runs_folder: Path) -> list[Estimate]:
    """Have sbatch look at every distinct request without submitting it.

    Raises:
        UserError: It would refuse some of them; all are named, with what to change.
        OperationalError: sbatch does not answer.
    """
    check_folder(runs_folder)
    run = RunFolder(runs_folder.absolute() / plan.name)
    distinct: dict[tuple[str, int], Batch] = {}
    for batch in batches(plan.jobs, profile):
        distinct.setdefault((batch.first.stage, len(batch.jobs)), batch)
    estimates, refusals = [], []
    for (stage, _), batch in distinct.items():
        answer = _sbatch_test_only(batch_script(plan.name, batch, profile, run))
        if answer.returncode == 0:
            estimates.append(_estimate(batch.name, answer.stderr))
        else:
            refusals.append(_refusal(stage, answer.stderr))
    if refusals:
        raise UserError("sbatch would refuse this:\n  " + "\n  ".join(refusals), where="--cluster slurm")
    return estimates


# Its name is sbatch's own; pytest must not take it for a test.
test_only.__test__ = False  # type: ignore[attr-defined]


def submit_plan(
    run: RunFolder, plan: Plan, profile: ClusterProfile, only: Collection[str] | None = None
) -> dict[str, str]:
    """Submit jobs with their dependencies; return job name → Slurm's id (`7`, or `7_2` in an array).

    Ids are written down after every sbatch, so that a submission that is interrupted can be cancelled.

    Args:
        only: The jobs to submit; they wait for each other, but for no other job. None: all.

    Raises:
        UserError: The folder's name is one that Slurm or submitit would misread.
        OperationalError: sbatch refused one; those before it are cancelled.
    """
    check_folder(run.root)
    chosen = [job for job in plan.jobs if only is None or job.name in only]
    names = {job.name for job in chosen}
    earlier: dict[str, str] = read_json(run.job_ids) or {}
    earlier = {name: slurm_id for name, slurm_id in earlier.items() if name not in names}
    atomic.write_json(run.profile, profile.to_json())
    ids: dict[str, str] = {}
    batch = None
    try:
        for batch in batches(chosen, profile):
            after = [ids[name] for name in batch.first.after if name in ids]
            with _undisturbed():
                ids |= _submit(run, plan.name, batch, profile, _whole(after))
                atomic.write_json(run.job_ids, {**earlier, **ids})
    except BaseException as error:
        _take_back(run, plan, ids, batch, error)
        raise
    return ids


def check_folder(folder: Path) -> None:
    """See that Slurm and submitit can write into a folder of this name.

    Raises:
        UserError: They would misread its name.
    """
    found = UNUSABLE.search(str(folder.absolute()))
    if found:
        raise UserError(
            f"the name of {str(folder.absolute())!r} holds {found[0]!r}, which Slurm would misread",
            where="--runs-dir",
            remedy="Name a folder whose path has no backslash, no line break, and no %j, %t, %A or %a.",
        )


@contextmanager
def clean_environment() -> Iterator[None]:
    """Hide what a surrounding job has set: a job may submit others."""
    inherited = {name: value for name, value in os.environ.items() if INHERITED.match(name)}
    for name in inherited:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(inherited)


def sbatch_words(text: str) -> str:
    """sbatch's own words out of an error, which submitit wraps in the command and a traceback."""
    lines = [line.strip() for line in text.splitlines() if "sbatch: error:" in line]
    return " ".join(lines) or text


def _submit(
    run: RunFolder, recipe_name: str, batch: Batch, profile: ClusterProfile, after_ids: Sequence[str]
) -> dict[str, str]:
    from submitit import SlurmExecutor

    stage_profile = profile.for_stage(batch.first.stage)
    executor = SlurmExecutor(run.submitit(batch.name), python=python_command(stage_profile))
    executor.update_parameters(**slurm_parameters(recipe_name, batch, profile, run, after_ids))
    with clean_environment():
        submitted = executor.submit_array([RankJob.of(run, job) for job in batch.jobs])
    return batch.ids(str(submitted[0].job_id).partition("_")[0])


def _whole(ids: Sequence[str]) -> list[str]:
    """The ids of whole arrays instead of those of their tasks, each once."""
    return list(dict.fromkeys(slurm_id.partition("_")[0] for slurm_id in ids))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back until a job that sbatch may have queued is written down."""
    if threading.current_thread() is not threading.main_thread():
        # Python interrupts its main thread only.
        yield
        return
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    # sbatch inherits this: the terminal sends Ctrl-C to it, too.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if came:
        raise KeyboardInterrupt


def _take_back(
    run: RunFolder, plan: Plan, ids: dict[str, str], batch: Batch | None, error: BaseException
) -> None:
    """Cancel what was submitted; where sbatch was the reason, raise that as an error for people."""
    from submitit.core.utils import UncompletedJobError

    count = len(ids)
    taken_back = f"; the {count} before it {'is' if count == 1 else 'are'} cancelled" if ids else ""
    try:
        cancel_jobs(list(ids.values()))
    except OperationalError as refused:
        numbers = " ".join(_whole(list(ids.values())))
        taken_back = f"; those before it could NOT be cancelled ({refused.message}): scancel {numbers}"
    mark_cancelled(run, plan)
    if batch is None or not isinstance(
        error, UncompletedJobError | RuntimeError | OSError | subprocess.SubprocessError
    ):
        return
    raise OperationalError(
        f"sbatch refused {batch.name}{taken_back}: {sbatch_words(str(error))}",
        remedy="`launch plan --cluster slurm` shows the script; sites differ, and --profile says how.",
    ) from error


def _sbatch_test_only(script: str) -> subprocess.CompletedProcess[str]:
    command = ["sbatch", "--test-only"]
    try:
        with clean_environment():
            return subprocess.run(
                command,
                input=script,
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
                env={**os.environ, "SLURM_TIME_FORMAT": "standard"},
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OperationalError(f"sbatch does not answer: {error}") from error


def _estimate(name: str, answer: str) -> Estimate:
    found = EXPECTED_START.search(answer)
    if found is None:
        return Estimate(name, None, None)
    return Estimate(name, datetime.fromisoformat(found[1]).astimezone(UTC).isoformat(), found[2])


def _refusal(stage: str, answer: str) -> str:
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    words = "; ".join(line for line in lines if "Warning" not in line) or "no reason given"
    remedy = next((remedy for word, remedy in REMEDIES if word in words.lower()), ANY_REMEDY)
    return f"{stage}: {words}\n    → {remedy.format(stage=stage)}"
