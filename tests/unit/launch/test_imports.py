"""The login-node side stays light, and knows the stages in one place only."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "accelerate", "deepspeed", "datasets", "numpy", "peft", "evaluate")
REPORT = "import json, sys; print('\\n' + json.dumps(sorted(m for m in sys.modules if '.' not in m)))"


def modules_after(code: str, cwd: Path) -> set[str]:
    output = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], capture_output=True, text=True, check=True, cwd=cwd
    ).stdout
    return set(json.loads(output.splitlines()[-1]))


def main(arguments: list[str]) -> str:
    return (
        "from launch.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as exit: assert exit.code == 0"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["submit", "--help"]])
def test_help_imports_nothing_heavy_and_no_third_party_package(arguments: list[str], tmp_path: Path) -> None:
    loaded = modules_after(main(arguments), tmp_path)
    assert not loaded & {*HEAVY, "submitit", "rich", "pydantic", "yaml"}


@pytest.mark.parametrize("cluster", ["local", "slurm"])
def test_a_plan_imports_nothing_heavy(cluster: str, repository: Path, tmp_path: Path) -> None:
    recipe = str(repository / "recipes" / "quickstart.yaml")
    loaded = modules_after(main(["plan", recipe, "--cluster", cluster]), tmp_path)
    assert not loaded & {*HEAVY, "rich"}
    assert list(tmp_path.iterdir()) == []


def test_no_module_of_launch_imports_anything_heavy(repository: Path) -> None:
    names = [f"launch.{file.stem}" for file in (repository / "launch").glob("[a-z]*.py")]
    loaded = modules_after("\n".join(f"import {name}" for name in names), repository)
    assert not loaded & set(HEAVY)


def test_only_the_job_and_the_debugger_know_the_stages(repository: Path) -> None:
    knowing = set()
    for file in (repository / "launch").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                continue
            if any(name.startswith("rankfold.stages") for name in names):
                knowing.add(file.name)
    assert knowing <= {"job.py", "debug.py", "merge.py", "resume.py"}
    assert "job.py" in knowing
