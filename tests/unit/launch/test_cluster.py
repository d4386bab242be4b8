"""`launch cluster`, with a script in the place of slurm/devcluster that answers as it does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.cli import main
from launch.slurm import devcluster

STATUS = """\
echo "$2 is up in /var/lib/devcluster/$2"
echo '  munged     12'
echo '  slurmctld  34'
echo '  node1      56'
echo 'PARTITION AVAIL'
echo 'main*     up'
"""
ENV = "printf 'export SLURM_CONF=%q\\n' '/var/my clusters/dev/etc/slurm.conf'"
Script = Callable[..., Path]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Write what each command of the script does; its arguments are kept in the file that is returned."""
    file = tmp_path / "devcluster"
    monkeypatch.setattr(devcluster, "SCRIPT", file)

    def write(*, up: str = "", down: str = "", status: str = STATUS, env: str = ENV) -> Path:
        said = tmp_path / "said"
        cases = {"up": up, "down": down, "status": status, "env": env}
        branches = "".join(f"{name})\n{body or 'true'}\n;;\n" for name, body in cases.items())
        log = f"for word; do printf '%s\\n' \"$word\"; done >>'{said}'\n"
        file.write_text(f"#!/usr/bin/env bash\n{log}case $1 in\n{branches}esac\n")
        file.chmod(0o755)
        return said

    return write


def test_up_hands_its_options_on_and_says_what_to_type_next(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    said = script()
    line = "PartitionName=short Nodes=ALL MaxTime=5"
    options = ["--nodes", "1", "--memory-mb", "4000", "--no-accounting", "--slurm-conf", line]
    assert main(["cluster", "up", "small", *options]) == 0
    words = said.read_text().splitlines()
    assert words[: words.index("status")] == [
        *("up", "small", "--nodes", "1", "--memory-mb", "4000"),
        *("--slurm-conf", line, "--no-accounting"),
    ]
    printed = capsys.readouterr().out
    assert "small is up in /var/lib/devcluster/small" in printed
    assert 'next: eval "$(launch cluster env small)"' in printed
    assert "launch cluster down small" in printed


def test_the_default_cluster_needs_no_name(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    said = script()
    assert main(["cluster", "up"]) == 0
    assert said.read_text().splitlines()[:2] == ["up", "dev"]
    assert 'eval "$(launch cluster env)"' in capsys.readouterr().out


def test_status_is_json_for_scripts(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script(status=STATUS.replace("56", "down") + "exit 1")
    assert main(["cluster", "status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "name": "dev",
        "state": "up in part",
        "slurm_conf": "/var/my clusters/dev/etc/slurm.conf",
        "daemons": {"munged": 12, "slurmctld": 34, "node1": None},
    }


def test_a_cluster_that_is_down_has_the_exit_code_of_a_stopped_service(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    script(status="echo dev is down; exit 3")
    assert main(["cluster", "status"]) == 3
    assert capsys.readouterr().out == "dev is down\n"
    assert main(["cluster", "status", "--json"]) == 3
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["slurm_conf"], shown["daemons"]) == ("down", None, {})


def test_being_down_after_down_is_success(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script(status="echo dev is down; exit 3")
    assert main(["cluster", "down"]) == 0
    assert capsys.readouterr().out == "dev is down\n"


def test_what_env_prints_can_be_evaluated(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script()
    assert main(["cluster", "env"]) == 0
    code = capsys.readouterr().out + 'printf %s "$SLURM_CONF"'
    seen = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout
    assert seen == "/var/my clusters/dev/etc/slurm.conf"
    assert main(["cluster", "env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"SLURM_CONF": seen}


@pytest.mark.parametrize(
    ("wrong", "code", "told"),
    [
        (
            "echo 'devcluster: error: not found: slurmd' >&2; echo '  → install: apt-get it' >&2; exit 69",
            2,
            "error: not found: slurmd\n  → install: apt-get it\n",
        ),
        (
            "echo 'fatal: no' >&2; echo 'devcluster: error: slurmctld has ended' >&2; exit 1",
            1,
            "error: slurmctld has ended\nfatal: no\n",
        ),
    ],
)
def test_what_goes_wrong_is_told_with_what_to_do(
    wrong: str, code: int, told: str, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    script(up=wrong)
    assert main(["cluster", "up"]) == code
    assert capsys.readouterr().err == told


def test_options_of_up_are_refused_elsewhere(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script()
    with pytest.raises(SystemExit) as caught:
        main(["cluster", "down", "--nodes", "2"])
    assert caught.value.code == 2
    assert "--nodes is for `up` only" in capsys.readouterr().err


def test_without_the_script_it_says_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devcluster, "SCRIPT", tmp_path / "absent")
    assert main(["cluster", "up"]) == 2
    assert "checkout" in capsys.readouterr().err


def test_the_script_is_where_the_package_looks_for_it() -> None:
    assert os.access(devcluster.SCRIPT, os.X_OK)


def test_an_interrupted_start_waits_until_the_script_has_cleaned_up(script: Script, tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    script(up=f"trap 'sleep 0.6; touch {cleaned}; exit 130' INT; touch {tmp_path}/ready; read -t 20 <> <(:)")
    code = "from pathlib import Path; from launch.slurm import devcluster\n"
    code += f"devcluster.SCRIPT = Path({str(devcluster.SCRIPT)!r})\n"
    code += "from launch.cli import main; raise SystemExit(main(['cluster', 'up']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 20
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 1
    assert cleaned.exists()
