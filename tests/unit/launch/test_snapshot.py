"""What is kept of the code and the environment, and the run id that follows from it."""

import json
import subprocess
from pathlib import Path

import pytest

from launch import snapshot
from launch.machine import gpu_names
from launch.new_run import run_digest
from launch.snapshot import Code, read_code, write_code, write_environment
from rankfold.run_folder import RunFolder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with one commit, one change, and files that git does not know."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    root = tmp_path / "my 代码"
    root.mkdir()
    (root / "train.py").write_text("print(1)\n")
    (root / ".gitignore").write_text("*.log\n")
    git(root, "init", "--quiet", "--initial-branch=work")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one")
    (root / "train.py").write_text("print(2)\n")
    (root / "新 文件.py").write_text("print(3)\n")
    (root / "noise.log").write_text("x")
    (root / ".env.local").write_text("TOKEN=1")
    (root / "large.bin").write_bytes(bytes(snapshot.MAX_FILE_BYTES + 1))
    return root


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_uncommitted_changes_and_new_files_are_kept_and_secrets_are_not(
    checkout: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    write_code(run, read_code(checkout))
    revision = git(checkout, "rev-parse", "HEAD")
    assert json.loads(run.git.read_text()) == {"revision": revision, "branch": "work", "dirty": True}
    assert "+print(2)" in run.git_diff.read_text()
    listed = {file["path"]: file["reason"] for file in json.loads(run.untracked_list.read_text())}
    assert listed == {
        "新 文件.py": None,
        ".env.local": "its name looks like a secret",
        "large.bin": "larger than 1000000 bytes",
    }
    assert [file.name for file in run.untracked.rglob("*")] == ["新 文件.py"]


def test_the_patch_gives_back_what_ran(checkout: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    write_code(run, read_code(checkout))
    git(checkout, "checkout", "--quiet", "--", "train.py")
    git(checkout, "apply", str(run.git_diff))
    assert (checkout / "train.py").read_text() == "print(2)\n"


def test_what_looks_like_a_secret_is_taken_out_of_patch_and_new_files_and_it_is_said(
    checkout: Path, tmp_path: Path
) -> None:
    secret = "hf_" + "abcdefghijklmnopqrstuvwx"
    (checkout / "train.py").write_text(f"login('{secret}')\nprint(2)\n")
    (checkout / "新 文件.py").write_text(f"TOKEN = '{secret}'\nprint(3)\n")
    binary = b"\0" + f"TOKEN={secret}".encode()
    (checkout / "picture.bin").write_bytes(binary)
    (checkout / "latin.txt").write_bytes(b"caf\xe9\r\n")
    run = RunFolder(tmp_path / "run")
    write_code(run, read_code(checkout))
    patch = run.git_diff.read_text()
    assert "+login('[redacted]')\n+print(2)\n" in patch
    assert secret not in patch
    assert json.loads(run.git.read_text())["redacted_lines"] == 1
    assert (run.untracked / "新 文件.py").read_text() == "TOKEN = '[redacted]'\nprint(3)\n"
    assert (run.untracked / "picture.bin").read_bytes() == binary
    assert (run.untracked / "latin.txt").read_bytes() == b"caf\xe9\r\n"
    listed = {file["path"]: file for file in json.loads(run.untracked_list.read_text())}
    assert listed["新 文件.py"]["copied"]
    assert listed["新 文件.py"]["reason"] == "copied without what looks like a secret, in 1 lines"


def test_the_total_of_copied_files_is_limited(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MAX_TOTAL_BYTES", 5)
    run = RunFolder(tmp_path / "run")
    write_code(run, read_code(checkout))
    assert "more than 5 bytes in all" in run.untracked_list.read_text()
    assert not run.untracked.exists()


def test_a_folder_without_git_and_a_checkout_without_commits_have_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    run = RunFolder(tmp_path / "run")
    write_code(run, read_code(tmp_path))
    assert json.loads(run.git.read_text()) == {"revision": None}
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    code = read_code(tmp_path)
    assert (code.revision, code.branch, code.dirty) == (None, "main", True)


def test_the_digest_changes_with_recipe_revision_and_change() -> None:
    codes = [
        Code(None),
        Code(None, revision="a"),
        Code(None, revision="a", diff=b"b"),
        Code(None, diff=b"ab"),
    ]
    digests = {run_digest("1", code) for code in codes} | {run_digest("2", codes[0])}
    assert len(digests) == 5
    assert run_digest("1", codes[0]) == run_digest("1", Code(Path("elsewhere")))


def test_the_environment_lists_every_package_with_its_version(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    write_environment(run)
    environment = json.loads(run.environment.read_text())
    assert environment["packages"]["submitit"]
    assert environment["gpus"] == gpu_names()
    assert {"python", "platform", "cpu_count"} <= environment.keys()
