"""slurm/devcluster: a real Slurm on one machine, again and again, without a trace."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from clusters import DEVCLUSTER, Cluster, devcluster, wait_until
from conftest import skip_unless_ci

Devcluster = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("--no-accounting", "--nodes", "1")


def processes_of(folder: Path, daemon: str = "") -> list[int]:
    """Process ids of what a cluster runs, by the mark that each of its daemons carries."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = entry.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if any(v.startswith(f"DEVCLUSTER_DAEMON={folder}/{daemon}".encode()) for v in variables):
            found.append(int(entry.parent.name))
    return sorted(found)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of clusters of this test's own; short, for sockets. What it leaves is a failure."""
    with TemporaryDirectory(prefix="clusters-") as parent:
        Path(parent).chmod(0o755)  # munge wants every folder above its socket to be passable
        home = Path(parent) / "home"
        yield home
        left = [folder.name for folder in home.glob("*")]
        for name in left:
            devcluster("down", name, environment={**os.environ, "DEVCLUSTER_HOME": str(home)})
        assert not left
        assert not processes_of(home)


@pytest.fixture
def on(home: Path, cluster_without_accounting: Cluster) -> Devcluster:
    """Run devcluster in this test's own home; needs what the other clusters need."""

    def run(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DEVCLUSTER_HOME": str(home)}
        if path is not None:
            environment["PATH"] = str(path)
        return devcluster(*arguments, environment=environment)

    return run


def test_up_and_down_may_be_repeated_and_leave_nothing(on: Devcluster, home: Path) -> None:
    assert on("status", "a").returncode == 3
    assert on("up", "a", *QUICK).returncode == 0
    assert on("status", "a").returncode == 0
    before = processes_of(home)
    assert on("up", "a").returncode == 0
    assert on("up", "a", *QUICK).returncode == 0
    assert processes_of(home) == before
    assert on("down", "a").returncode == 0
    assert not home.exists()
    assert not processes_of(home)
    assert on("down", "a").returncode == 0
    assert on("status", "a").returncode == 3
    assert not home.exists()


def test_a_cluster_that_is_up_is_not_given_other_settings(on: Devcluster) -> None:
    assert on("up", "a", *QUICK).returncode == 0
    refused = on("up", "a", "--nodes", "3")
    assert refused.returncode == 2
    assert "a has nodes 1, not 3\n  → first: " in refused.stderr
    on("down", "a")


def test_clusters_side_by_side_do_not_meet(on: Devcluster, home: Path) -> None:
    for name in ("a", "b"):
        assert on("up", name, *QUICK).returncode == 0
    configurations = {name: home / name / "etc" / "slurm.conf" for name in ("a", "b")}
    submit = ["sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true"]
    subprocess.run(submit, env={**os.environ, "SLURM_CONF": str(configurations["a"])}, check=True)
    queued = {
        name: subprocess.run(
            ["squeue", "--noheader"], env={**os.environ, "SLURM_CONF": str(file)}, stdout=subprocess.PIPE
        ).stdout.count(b"\n")
        for name, file in configurations.items()
    }
    assert queued == {"a": 1, "b": 0}
    on("down", "a")
    assert on("status", "b").returncode == 0
    on("down", "b")


def test_what_was_killed_is_started_again_and_what_is_left_is_taken_down(on: Devcluster, home: Path) -> None:
    assert on("up", "a", *QUICK).returncode == 0
    for daemon in ("slurmctld", "node1"):
        os.kill(processes_of(home, f"a/{daemon}")[0], signal.SIGKILL)
        wait_until(lambda daemon=daemon: processes_of(home, f"a/{daemon}"), lambda left: not left, 5)  # type: ignore[misc]
        broken = on("status", "a")
        assert broken.returncode == 1
        assert f"  {daemon:<10} down\n" in broken.stdout
        assert on("up", "a").returncode == 0
        assert on("status", "a").returncode == 0
    os.kill(processes_of(home, "a/munged")[0], signal.SIGKILL)
    assert on("down", "a").returncode == 0
    assert not processes_of(home)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_start_that_is_interrupted_leaves_nothing(
    number: signal.Signals, code: int, on: Devcluster, home: Path
) -> None:
    with subprocess.Popen(
        [DEVCLUSTER, "up", "a", *QUICK],
        env={**os.environ, "DEVCLUSTER_HOME": str(home)},
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until(lambda: processes_of(home), bool, 10, pause_s=0.01)
        process.send_signal(number)
        assert process.wait(20) == code
    assert not home.exists()
    assert not processes_of(home)


def test_a_cluster_goes_down_with_the_process_that_it_was_started_for(on: Devcluster, home: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as owner:
        assert on("up", "a", *QUICK, "--with-pid", str(owner.pid)).returncode == 0
        assert on("status", "a").returncode == 0
        owner.kill()
    wait_until(home.exists, lambda exists: not exists, 20)
    assert not processes_of(home)


@pytest.fixture
def path_without(tmp_path: Path) -> Callable[..., Path]:
    """Make a PATH of everything that is installed, but for some programs."""

    def make(*absent: str) -> Path:
        folder = tmp_path / "sbin"
        folder.mkdir()
        for entry in (*os.environ["PATH"].split(os.pathsep), "/usr/sbin", "/sbin"):
            for program in Path(entry).glob("*"):
                if program.name not in absent and not (folder / program.name).is_symlink():
                    (folder / program.name).symlink_to(program)
        return folder

    return make


def test_missing_packages_are_named_with_the_command_that_installs_them(
    on: Devcluster, home: Path, path_without: Callable[..., Path]
) -> None:
    if shutil.which("apt-get") is None:
        skip_unless_ci("no apt-get here: another hint is given")
    path = path_without("slurmctld", "mariadbd")
    refused = on("up", path=path)
    assert refused.returncode == 69
    assert "error: not found: slurmctld mariadbd\n" in refused.stderr
    install = "install: apt-get install -y --no-install-recommends slurm-wlm munge"
    assert f"  → {install} slurmdbd mariadb-server\n" in refused.stderr
    without = on("up", "--no-accounting", path=path).stderr
    assert "error: not found: slurmctld\n" in without
    assert f"  → {install}\n" in without
    assert not home.exists()


def test_who_is_not_root_is_told_kindly(on: Devcluster, path_without: Callable[..., Path]) -> None:
    path = path_without("id")
    (path / "id").write_text("#!/bin/sh\necho 1000\n")
    (path / "id").chmod(0o755)
    refused = on("up", path=path)
    assert refused.returncode == 69
    assert "only root" in refused.stderr
    assert "sudo" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up", "a", "--nodes", "0"], "--nodes must be at least 1"),
        (["up", "a", "--gpus", "many"], "--gpus needs a whole number, not 'many'"),
        (["up", "../a"], "not '../a'"),
        (["up", "a", "--node", "2"], "unknown option --node"),
        (["down", "a", "--nodes", "2"], "down takes no options"),
        (["env", "absent"], "there is no cluster absent"),
    ],
)
def test_a_mistake_is_named(arguments: list[str], message: str, on: Devcluster) -> None:
    refused = on(*arguments)
    assert refused.returncode in (2, 3)
    assert message in refused.stderr


def test_a_folder_that_is_not_a_cluster_is_left_alone(on: Devcluster, home: Path) -> None:
    home.mkdir()
    precious = home / "a" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("precious")
    assert on("up", "a", *QUICK).returncode == 2
    on("down", "a")
    assert precious.read_text() == "precious"
    shutil.rmtree(precious.parent)


def test_a_job_runs_on_two_nodes_with_names_that_resolve_and_gpus(cluster: Cluster) -> None:
    see = "echo $(hostname) $(getent hosts node1 node2 | cut -d' ' -f1) gpus=$CUDA_VISIBLE_DEVICES"
    seen = cluster.run("srun", "--nodes=2", "--gpus-per-node=2", "bash", "-c", see).stdout
    assert sorted(seen.splitlines()) == [f"node{n} 127.0.0.1 127.0.0.1 gpus=0,1" for n in (1, 2)]
    assert "4|512000|gpu:2" in cluster.run("sinfo", "--noheader", "--format=%c|%m|%G").stdout


def test_srun_works_where_the_name_of_this_host_is_unknown(cluster: Cluster) -> None:
    elsewhere = "mount --bind /dev/null /etc/hosts && hostname nowhere && timeout 20 srun hostname"
    assert cluster.run("unshare", "--uts", "--mount", "bash", "-c", elsewhere).stdout == "node1\n"


def test_a_preempted_job_is_requeued_and_runs_again(cluster: Cluster) -> None:
    whole = ("--nodes=2", "--exclusive")
    # In `low` it would have 10 s of grace, whose end Slurm notices with up to 30 s of delay.
    lower = cluster.sbatch("sleep 1000", "--partition=main", *whole)
    cluster.wait_for_job(lower, "RUNNING")
    higher = cluster.sbatch("true", "--partition=high", *whole)
    cluster.wait_for_job(higher, "COMPLETED")
    cluster.wait_for_job(lower, "RUNNING")
    assert " Restarts=1 " in cluster.run("scontrol", "show", "job", lower).stdout
    assert "PREEMPTED" in cluster.run("sacct", "--duplicates", "-X", "--jobs", lower).stdout


def test_a_requeued_job_runs_again(cluster: Cluster) -> None:
    job = cluster.sbatch("test $SLURM_RESTART_COUNT || scontrol requeue $SLURM_JOB_ID; sleep 1000")
    wait_until(
        lambda: cluster.run("scontrol", "show", "job", job).stdout,
        lambda shown: "JobState=RUNNING" in shown and " Restarts=1 " in shown,
        timeout_s=30,
    )


def test_nothing_listens_beyond_this_machine_and_secrets_are_secret(cluster: Cluster) -> None:
    pids = {str(pid) for pid in processes_of(cluster.folder)}
    sockets = {str(file.readlink()) for pid in pids for file in Path(f"/proc/{pid}/fd").glob("*")}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
    assert len(listening) == 4  # slurmctld, slurmdbd and two slurmd
    assert {address.split(":")[0] for address in listening} == {"0100007F"}
    for secret in ("etc/munge.key", "etc/slurmdbd.conf", "state", "log", "mysql"):
        assert (cluster.folder / secret).stat().st_mode & 0o077 == 0


def test_another_user_of_this_machine_can_submit(cluster: Cluster) -> None:
    as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    seen = cluster.run(*as_nobody, "srun", "--chdir=/", "id", "--user", "--name")
    assert seen.stdout == "nobody\n"


@pytest.mark.slow  # Slurm looks every 30 s
def test_a_time_limit_that_is_moved_up_ends_a_job(cluster: Cluster) -> None:
    job = cluster.sbatch("sleep 1000")
    cluster.wait_for_job(job, "RUNNING")
    cluster.let_time_run_out(job)
    cluster.wait_for_job(job, "TIMEOUT")


def test_without_accounting_sacct_is_disabled(cluster_without_accounting: Cluster) -> None:
    told = cluster_without_accounting.run("sacct", exit_code=1)
    assert "Slurm accounting storage is disabled" in told.stderr
