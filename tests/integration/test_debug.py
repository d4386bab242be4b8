"""`launch debug` with a real, if tiny, model."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import read

STOP_IN_MERGE = """
import sys
from launch.cli import main
from rankfold.stages import merge as stage

merge = stage.merge

def stop_then_merge(run):
    breakpoint()
    merge(run)

stage.merge = stop_then_merge
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_every_stage_runs_here_and_a_breakpoint_stops_it(
    repository: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    command = ["debug", str(repository / "recipes/quickstart_qa.yaml"), "--runs-dir", str(tmp_path)]
    overrides = [f"model.name_or_path={encoder_folder}", "model.config=null", "train.max_steps=1"]
    done = subprocess.run(
        [sys.executable, "-c", STOP_IN_MERGE, *command, *overrides],
        input="p 'stopped in ' + run.run_id\nc\n",
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = tmp_path.iterdir()
    assert f"stopped in {run.name}" in done.stdout
    assert run.name.startswith("debug-")
    assert len(read(run / "results/fine_tuned/predictions.json")) == 8
    assert "report.html" in done.stdout
