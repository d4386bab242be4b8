"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from launch.arguments import build_parser, parse_arguments
from rankfold.errors import EXIT_OPERATIONAL, RankfoldError

if TYPE_CHECKING:
    from pathlib import Path

    from rankfold.run_folder import RunFolder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 for an operational failure, 2 for a mistake of the user."""
    chosen = parse_arguments(build_parser(), sys.argv[1:] if arguments is None else arguments)
    try:
        code = COMMANDS[chosen.command](chosen)
        sys.stdout.flush()
    except RankfoldError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return EXIT_OPERATIONAL
    except BrokenPipeError:
        # The reader, such as `head`, has gone; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OPERATIONAL
    return code


def _plan(chosen: Namespace) -> int:
    from launch.plan_text import plan_json, plan_lines
    from launch.planning import plan_recipe
    from launch.runs import runs_folder

    planned = plan_recipe(chosen.recipe, chosen.overrides, cluster=chosen.cluster, profile=chosen.profile)
    folder = runs_folder(chosen.runs_dir)
    if chosen.json:
        _print_json(plan_json(planned, runs_folder=folder))
        return 0
    lines = plan_lines(
        planned,
        runs_folder=folder,
        everything=chosen.all,
        scripts=chosen.scripts,
        color=_color(),
    )
    for line in lines:
        print(line)
    return 0


def _submit(chosen: Namespace) -> int:
    from launch.planning import plan_recipe
    from launch.runs import runs_folder
    from launch.submit import submit

    planned = plan_recipe(chosen.recipe, chosen.overrides, cluster=chosen.cluster, profile=chosen.profile)
    submitted = submit(planned, runs_folder(chosen.runs_dir), again=chosen.again)
    run = submitted.run
    if chosen.json:
        _print_json(
            {
                "run_id": run.run_id,
                "folder": str(run.root),
                "cluster": submitted.cluster,
                "job_ids": submitted.job_ids,
                "driver_pid": submitted.driver_pid,
            }
        )
        return 0
    where = (
        f"Slurm jobs {', '.join(submitted.job_ids.values())}"
        if submitted.cluster == "slurm"
        else f"this machine, process {submitted.driver_pid}"
    )
    print(f"{run.run_id}: {where}\nfolder: {run.root}", flush=True)
    for note in planned.plan.notes:
        print(f"note: {note}", flush=True)
    if chosen.follow:
        return follow_run(run)
    name = _name_for_commands(run, chosen.runs_dir)
    print(f"next: launch status {name}\n      launch logs -f {name}\n      launch cancel {name}")
    return 0


def follow_run(run: RunFolder) -> int:
    from launch.follow import follow

    folder = shlex.quote(str(run.root))
    try:
        return follow(run)
    except KeyboardInterrupt:
        print(
            f"\n{run.run_id} goes on without this terminal."
            f"\n  launch status {folder}\n  launch cancel {folder}",
            file=sys.stderr,
        )
        return EXIT_OPERATIONAL


def _status(chosen: Namespace) -> int:
    from launch.runs import all_runs, find_run, runs_folder
    from launch.status import read_all, read_status
    from launch.status_text import run_lines, runs_lines

    folder = runs_folder(chosen.runs_dir)
    if chosen.run is None:
        statuses = read_all(all_runs(folder))
        if chosen.json:
            _print_json([status.to_json() for status in statuses])
        elif not statuses:
            print(f"no runs in {folder}; start one with: launch submit RECIPE")
        else:
            _print_lines(runs_lines(statuses, color=_color()))
        return 0
    run = find_run(chosen.run, folder)
    status = read_status(run)
    if chosen.json:
        _print_json(status.to_json())
    else:
        _print_lines(run_lines(run, status, color=_color()))
    return 0


def _logs(chosen: Namespace) -> int:
    from launch.logs import log_lines
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    _print_lines(
        log_lines(run, stage=chosen.stage, rank=chosen.rank, lines=chosen.lines, follow=chosen.follow)
    )
    return 0


def _cancel(chosen: Namespace) -> int:
    from launch.cancel import cancel_run
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    was_running = cancel_run(run)
    print(f"{run.run_id} {'is cancelled' if was_running else 'had ended already'}")
    return 0


def _report(chosen: Namespace) -> int:
    from launch.report import report_lines, report_markdown
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    if chosen.json:
        markdown = report_markdown(run)
        _print_json({"run_id": run.run_id, "html": str(run.report_html), "markdown": markdown})
    else:
        _print_lines(report_lines(run))
    return 0


def _merge(chosen: Namespace) -> int:
    from launch.merge import merge_again
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    tuning_share = chosen.tuning_share if chosen.tune_threshold else None
    _print_lines(merge_again(run, chosen.overrides, tuning_share))
    print(f"report: {run.report_html}")
    return 0


def _debug(chosen: Namespace) -> int:
    from launch.debug import debug
    from launch.report import report_lines
    from launch.runs import runs_folder

    run = debug(chosen.recipe, chosen.overrides, runs_folder(chosen.runs_dir))
    _print_lines(report_lines(run))
    return 0


def _name_for_commands(run: RunFolder, runs_dir: Path | None) -> str:
    """What to write for RUN in the next command: the id, or the folder where the id is not found."""
    return run.run_id if runs_dir is None else shlex.quote(str(run.root))


COMMANDS = {
    "plan": _plan,
    "submit": _submit,
    "status": _status,
    "logs": _logs,
    "cancel": _cancel,
    "report": _report,
    "merge": _merge,
    "debug": _debug,
}


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _color() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
