"""Running `launch` as a user does: another process, the exit code, what it printed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def launch(*arguments: str, runs: Path, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command, offline, with its runs in `runs`; another exit code fails with what it printed."""
    environment = {**os.environ, "LAUNCH_RUNS_DIR": str(runs), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "launch", *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done


def submit(recipe: Path, *overrides: str, runs: Path) -> Path:
    """Submit a recipe on this machine, wait for its end, return its run folder."""
    launch("submit", str(recipe), *overrides, "--cluster", "local", "--follow", runs=runs)
    (run,) = [folder for folder in runs.iterdir() if (folder / "run.json").is_file()]
    return run


def read(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
