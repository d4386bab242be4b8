"""`launch doctor`: whether runs will work on this cluster."""

from __future__ import annotations

from argparse import ArgumentTypeError, BooleanOptionalAction, Namespace
from typing import TYPE_CHECKING

from launch.arguments import add_json, command, count
from launch.output import print_json, print_lines, uses_color

if TYPE_CHECKING:
    from launch.arguments import Commands
    from launch.profiles.profile import ClusterProfile


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "doctor",
        "find out whether runs will work on this cluster, and write a profile for it",
        """
launch doctor
launch doctor --partition gpu --nodes 4
launch doctor --partition gpu --write mylab
launch doctor --profile mylab --json
""",
    )
    parser.add_argument("--partition", metavar="NAME", help="partition to look at (default: the profile's)")
    parser.add_argument(
        "--profile", metavar="NAME", help="cluster profile to try: a name, or a path ending in .yaml"
    )
    parser.add_argument("--write", metavar="NAME", help="write what was found as the profile NAME")
    parser.add_argument("--force", action="store_true", help="let --write overwrite a profile")
    parser.add_argument(
        "--probe",
        action=BooleanOptionalAction,
        default=True,
        help="run a job of some seconds that tests nodes: files, Python, clocks, network",
    )
    parser.add_argument(
        "--nodes", type=_at_least_one, default=2, metavar="N", help="nodes of that job (default: 2)"
    )
    parser.add_argument(
        "--gpus", type=count, default=0, metavar="N", help="GPUs it asks for on each node (default: 0)"
    )
    parser.add_argument(
        "--wait", type=count, default=120, metavar="SECONDS", help="longest wait for its start (default: 120)"
    )
    add_json(parser)


def run(chosen: Namespace) -> int:
    from launch.doctor.findings import ProbeWish, diagnose
    from launch.doctor.text import diagnosis_lines
    from launch.profiles.text import profile_file, write_profile
    from launch.runs import runs_folder

    file = profile_file(chosen.write, force=chosen.force) if chosen.write else None
    profile = _profile(chosen)
    wish = ProbeWish(chosen.nodes, chosen.gpus, chosen.wait) if chosen.probe else None
    diagnosis = diagnose(profile, runs_folder(chosen.runs_dir), wish)
    if file is not None:
        write_profile(file, profile, diagnosis)
    if chosen.json:
        print_json({**diagnosis.to_json(), "written": str(file) if file else None})
    else:
        print_lines(diagnosis_lines(diagnosis, color=uses_color()))
        if file is not None:
            print(f"Written: {file}. Use it with --profile {chosen.write}.")
    return 0 if diagnosis.works else 1


def _profile(chosen: Namespace) -> ClusterProfile:
    from dataclasses import replace

    from launch.profiles.profile import load_profile

    profile = load_profile(chosen.profile)
    if chosen.partition is None:
        return profile
    # The partition on the command line is the one to look at, whatever the profile sends training to.
    train = {key: value for key, value in profile.stages.get("train", {}).items() if key != "partition"}
    stages = {stage: over for stage, over in {**profile.stages, "train": train}.items() if over}
    return replace(profile, partition=chosen.partition, stages=stages)


def _at_least_one(text: str) -> int:
    number = count(text)
    if number < 1:
        raise ArgumentTypeError("a job has at least one node")
    return number
