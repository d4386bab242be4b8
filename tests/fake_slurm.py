"""Slurm's commands as scripts on PATH, which answer what a test says."""

import os
from pathlib import Path

import pytest


class FakeSlurm:
    """Commands that answer as they are told; `calls` lists what they were called with."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        for name in ("squeue", "sacct", "scontrol", "scancel"):
            self.answer(name)

    def answer(self, name: str, text: str = "", *, error: str = "", exit_code: int = 0) -> None:
        """From now on a command prints this and ends so."""
        for stream, words in (("out", text), ("err", error)):
            (self.folder / f"{name}.{stream}").write_text(words)
        script = self.folder / name
        script.write_text(
            "#!/bin/sh\n"
            f'echo {name} "$@" >> "{self.folder}/calls"\n'
            f'cat "{self.folder}/{name}.out"; cat "{self.folder}/{name}.err" >&2; exit {exit_code}\n'
        )
        script.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.is_file() else []
