"""The code and the environment that will run, copied into the run's folder."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from launch.machine import gpu_names
from rankfold import atomic
from rankfold.redact import redact
from rankfold.run_folder import RunFolder

MAX_FILE_BYTES = 1_000_000
MAX_TOTAL_BYTES = 20_000_000
GIT_LOOKS_AT = 8000
"""Bytes in which git looks for a zero to tell what is no text (its buffer_is_binary)."""
SECRET_NAMES = (".env*", "*.pem", "*.key", "*.p12", "id_*", ".netrc", "*credential*", "*secret*", "*token")
"""Files that are likely to hold a secret: listed, never copied."""


@dataclass(frozen=True)
class Code:
    """A git checkout as it is now; without git everything is empty."""

    root: Path | None
    revision: str | None = None
    branch: str | None = None
    diff: bytes = b""
    untracked: tuple[str, ...] = ()

    @property
    def dirty(self) -> bool:
        return bool(self.diff or self.untracked)


def read_code(start: Path) -> Code:
    """Look at the git checkout that holds `start`."""
    top = _git(start, "rev-parse", "--show-toplevel")
    if top is None:
        return Code(None)
    root = Path(os.fsdecode(top.removesuffix(b"\n")))
    revision = _text(_git(root, "rev-parse", "--verify", "--quiet", "HEAD"))
    diff = b""
    if revision is not None:
        options = ("--binary", "--no-ext-diff", "--no-textconv", "--no-color")
        diff = _git(root, "diff", "HEAD", *options) or b""
    names = _git(root, "ls-files", "--others", "--exclude-standard", "-z") or b""
    return Code(
        root=root,
        revision=revision,
        branch=_text(_git(root, "symbolic-ref", "--quiet", "--short", "HEAD")),
        diff=diff,
        untracked=tuple(os.fsdecode(name) for name in names.split(b"\0") if name),
    )


def write_code(run: RunFolder, code: Code) -> None:
    """Write revision, uncommitted changes and the small files that git does not know yet.

    What looks like a secret is taken out of both, and where it was is said.
    """
    if code.root is None:
        atomic.write_json(run.git, {"revision": None})
        return
    diff, redacted = _redacted(code.diff)
    facts = {"revision": code.revision, "branch": code.branch, "dirty": code.dirty}
    atomic.write_json(run.git, facts | ({"redacted_lines": redacted} if redacted else {}))
    if code.diff:
        atomic.write_bytes(run.git_diff, diff)
    if code.untracked:
        atomic.write_json(run.untracked_list, _copy_untracked(code.root, code.untracked, run.untracked))


def write_environment(run: RunFolder) -> None:
    """Write versions of Python and of every installed package, and what the machine is."""
    from importlib import metadata

    packages = {str(package.name): package.version for package in metadata.distributions()}
    atomic.write_json(
        run.environment,
        {
            "python": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
            "cpu_count": os.cpu_count(),
            "gpus": gpu_names(),
            "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
        },
    )


def _copy_untracked(root: Path, names: tuple[str, ...], target: Path) -> list[dict[str, object]]:
    """Copy what is small and no secret; say of each file whether it was copied, or why not all of it."""
    listed: list[dict[str, object]] = []
    total = 0
    for name in names:
        source = root / name
        if not source.is_file() or source.is_symlink():
            listed.append({"path": name, "copied": False, "reason": "not a plain file"})
            continue
        size = source.stat().st_size
        reason = _why_not(Path(name).name, size, total)
        if not reason:
            total += size
            content, redacted = _redacted(source.read_bytes())
            atomic.write_bytes(target / name, content)
            if redacted:
                reason = f"copied without what looks like a secret, in {redacted} lines"
        listed.append({"path": name, "bytes": size, "copied": (target / name).is_file(), "reason": reason})
    return listed


def _redacted(content: bytes) -> tuple[bytes, int]:
    """Text without what looks like a secret, and how many lines had one; what is no text stays as it is."""
    if b"\0" in content[:GIT_LOOKS_AT]:
        return content, 0
    # Every byte survives the way to text and back, whatever the encoding.
    text, count = redact(content.decode("utf-8", "surrogateescape"))
    return text.encode("utf-8", "surrogateescape"), count


def _why_not(name: str, size: int, total: int) -> str | None:
    if any(fnmatch(name.lower(), pattern) for pattern in SECRET_NAMES):
        return "its name looks like a secret"
    if size > MAX_FILE_BYTES:
        return f"larger than {MAX_FILE_BYTES} bytes"
    return f"more than {MAX_TOTAL_BYTES} bytes in all" if total + size > MAX_TOTAL_BYTES else None


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Standard output of a git command, None where git is missing or refuses."""
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(folder), *arguments]
    answer = subprocess.run(command, capture_output=True, check=False)
    return answer.stdout if answer.returncode == 0 else None


def _text(output: bytes | None) -> str | None:
    return None if output is None else output.decode(errors="replace").strip()
