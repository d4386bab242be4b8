"""`launch merge`: merge again under other settings."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_run, command, share
from launch.output import print_lines

if TYPE_CHECKING:
    from launch.arguments import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "merge",
        "merge a run's records again under other settings, without the model",
        """
launch merge latest evaluation.max_answer_length=15
launch merge latest evaluation.n_best_size=5 evaluation.null_score_diff_threshold=-1.5
launch merge latest --tune-threshold
""",
    )
    parser.usage = f"{parser.prog} [options] RUN [evaluation.key=value ...]"
    parser.set_defaults(takes_overrides=True)
    add_run(parser)
    parser.add_argument(
        "--tune-threshold",
        action="store_true",
        help="SQuAD v2: choose null_score_diff_threshold on a part of the test set, and score the rest",
    )
    parser.add_argument(
        "--tuning-share",
        type=share,
        default=0.5,
        metavar="SHARE",
        help="share of the test set's contexts to choose the threshold on (default: 0.5)",
    )


def run(chosen: Namespace) -> int:
    from launch.merge import merge_again
    from launch.runs import find_run, runs_folder

    run = find_run(chosen.run, runs_folder(chosen.runs_dir))
    tuning_share = chosen.tuning_share if chosen.tune_threshold else None
    print_lines(merge_again(run, chosen.overrides, tuning_share))
    print(f"report: {run.report_html}")
    return 0
