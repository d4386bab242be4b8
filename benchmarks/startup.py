"""How long the command line takes to start, against bare Python in the same run.

    python benchmarks/startup.py [--rounds 15]

The commands take turns, so that whatever else the machine does hits all of them alike. Exit code 1 if a
ratio of medians is above its limit.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
RECIPE = REPOSITORY / "recipes" / "qwen_ner.yaml"
LAUNCH = "from launch.cli import main; raise SystemExit(main())"


@dataclass(frozen=True)
class Command:
    """A command and how many times as long as bare Python it may take; None for no limit."""

    name: str
    arguments: tuple[str, ...]
    limit: float | None = None


COMMANDS = (
    Command("python -c pass", ("-c", "pass")),
    Command("launch --help", ("-c", LAUNCH, "--help"), 10),
    Command("launch plan qwen_ner.yaml", ("-c", LAUNCH, "plan", str(RECIPE)), 40),
    Command("… --cluster slurm", ("-c", LAUNCH, "plan", str(RECIPE), "--cluster", "slurm"), 40),
)


def main() -> int:
    """Measure, print one table, return 1 if a command is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for command in COMMANDS:
        seconds_of(command)  # fills the file cache and writes the byte code
    taken: dict[str, list[float]] = {command.name: [] for command in COMMANDS}
    for _ in range(rounds):
        for command in COMMANDS:
            taken[command.name].append(seconds_of(command))
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, {rounds} rounds"
    )
    print(f"{'command':<28} {'median':>8} {'minimum':>8} {'× median':>9} {'× minimum':>9} {'limit':>6}")
    too_slow = [command.name for command in COMMANDS if not within_limit(command, taken)]
    if too_slow:
        print(f"too slow: {', '.join(too_slow)}", file=sys.stderr)
    return 1 if too_slow else 0


def seconds_of(command: Command) -> float:
    """Wall-clock seconds of one run from start to end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command.arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def within_limit(command: Command, taken: dict[str, list[float]]) -> bool:
    """Print a command's line; say whether its ratio of medians is within the limit."""
    times, bare = taken[command.name], taken[COMMANDS[0].name]
    median, minimum = statistics.median(times), min(times)
    ratio = median / statistics.median(bare)
    print(
        f"{command.name:<28} {median * 1000:>5.0f} ms {minimum * 1000:>5.0f} ms "
        f"{ratio:>9.1f} {minimum / min(bare):>9.1f} {command.limit or '–':>6}"
    )
    return command.limit is None or ratio <= command.limit


if __name__ == "__main__":
    sys.exit(main())
