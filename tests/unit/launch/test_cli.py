"""The command line itself: words, exit codes, pipes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launch import cli
from launch.arguments import parse_arguments
from launch.cli import build_parser, main
from launch.states import JobState
from rankfold import atomic
from rankfold.errors import OperationalError, UserError


def test_overrides_may_stand_anywhere_after_the_recipe() -> None:
    words = ["submit", "r.yaml", "a=1", "--cluster", "local", "b.c=2", "--follow", "d=[x]"]
    chosen = parse_arguments(build_parser(), words)
    assert chosen.overrides == ["a=1", "b.c=2", "d=[x]"]
    assert (chosen.cluster, chosen.follow) == ("local", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["submit", "r.yaml", "--folow"], "unknown: --folow; did you mean --follow?"),
        (["plan", "r.yaml", "seed"], "unknown: seed; an override is key.path=value"),
        (["status", "x", "a=1"], "unknown: a=1"),
        (["logs", "x", "--rank", "-1"], "--rank"),
        (["submit", "r.yaml", "--json", "--follow"], "not allowed with"),
        (["sumbit"], "invalid choice"),
        ([], "required: COMMAND"),
    ],
)
def test_words_that_are_not_understood_end_with_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"  launch {command} " in capsys.readouterr().out.partition("examples:")[2]


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (UserError("no", where="r.yaml:3", remedy="Do."), 2, "error: r.yaml:3: no\n  → Do.\n"),
        (OperationalError("broken"), 1, "error: broken\n"),
        (KeyboardInterrupt(), 1, "\ninterrupted\n"),
    ],
)
def test_exit_codes_and_messages(
    raised: BaseException,
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(chosen: Any) -> int:
        raise raised

    monkeypatch.setattr(cli.COMMANDS["status"], "run", command)
    assert main(["status"]) == code
    assert capsys.readouterr().err == told


def test_a_mistake_in_the_recipe_ends_with_two_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("nam: x\n")
    assert main(["plan", str(recipe)]) == 2
    error = capsys.readouterr().err
    assert f"{recipe}:1" in error or "r.yaml:1" in error
    assert "Traceback" not in error


def test_a_reader_that_goes_away_is_no_reason_to_complain(make_run: Any) -> None:
    run = make_run()
    atomic.write_text(run.log("prepare", 0), "x" * 79 + "\n" * 100_000)
    command = [sys.executable, "-m", "launch", "logs", str(run.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_the_folder_of_runs_may_come_from_the_environment(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    monkeypatch.setenv("LAUNCH_RUNS_DIR", str(run.root.parent))
    assert main(["status", "--json"]) == 0
    [status] = json.loads(capsys.readouterr().out)
    assert (status["run_id"], status["state"]) == (run.run_id, "pending")
    assert main(["status", "latest", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"][0]["job"] == "prepare"


def test_cancelling_a_run_that_never_started_marks_it(
    make_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    assert main(["cancel", str(run.root)]) == 0
    assert capsys.readouterr().out.startswith(f"{run.run_id} is cancelled\n  pending: prepare, ")
    assert main(["status", str(run.root)]) == 0
    assert "cancelled" in capsys.readouterr().out


def test_a_run_without_results_has_nothing_to_report(
    make_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    JobState("prepare", "prepare", "pending", 1).begin().write(run)
    assert main(["report", str(run.root)]) == 2
    assert "nothing to report yet" in capsys.readouterr().err


def test_a_report_is_printed_as_it_is_where_no_terminal_reads_it(
    make_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    atomic.write_text(run.report_markdown, "# 报告\n")
    atomic.write_text(run.report_html, "<html>")
    assert main(["report", str(run.root)]) == 0
    assert capsys.readouterr().out == f"# 报告\nreport: {run.report_html}\n"
    assert main(["report", str(run.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["markdown"] == "# 报告\n"


def test_help_is_the_same_through_python_m(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launch", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "launch submit recipes/quickstart.yaml --follow" in answer.stdout
