"""Which options of sbatch, and which variables, a profile may set: text in, the objection out."""

from __future__ import annotations

import re
from typing import Any

_RESOURCES = "the recipe says it, under resources"
_KEY = "write it as a key of the profile, at the top or under stages"
_PLAN = "it is set for every job of a run"

SET_BY_THE_PLAN = {
    "array": _PLAN,
    "chdir": "jobs run in the folder you submit from",
    "clusters": "run `launch` on the cluster itself: ids of jobs elsewhere cannot be followed",
    "cpus-per-gpu": f"{_RESOURCES} (cpus_per_gpu)",
    "cpus-per-task": f"{_RESOURCES} (cpus_per_task)",
    "dependency": _PLAN,
    "error": "the run's folder keeps the output",
    "export": "jobs need the environment that you submit from; environment: adds to it",
    "export-file": "jobs need the environment that you submit from; environment: adds to it",
    "gpus": f"{_RESOURCES} (gpus_per_node); gpu_request and gpu_type say how it is asked for",
    "gpus-per-node": f"{_RESOURCES} (gpus_per_node); gpu_request and gpu_type say how it is asked for",
    "gpus-per-socket": f"{_RESOURCES} (gpus_per_node); gpu_request and gpu_type say how it is asked for",
    "gpus-per-task": "ranks on a node must see each other's GPUs, and this isolates them",
    "input": "jobs read nothing from standard input",
    "job-name": _PLAN,
    "kill-on-invalid-dep": "a job whose forerunner failed would wait for ever",
    "mem": f"{_RESOURCES} (memory_gb)",
    "nodes": f"{_RESOURCES} (nodes)",
    "ntasks": f"{_RESOURCES} (tasks_per_node)",
    "ntasks-per-gpu": "every GPU has one rank",
    "ntasks-per-node": f"{_RESOURCES} (tasks_per_node)",
    "open-mode": "what an earlier attempt printed must stay",
    "output": "the run's folder keeps the output",
    "parsable": "the job's id is read from what sbatch prints",
    "quiet": "the job's id is read from what sbatch prints",
    "signal": "the ranks listen to one signal; signal_delay_s says how long before the end it comes",
    "test-only": "nothing would be submitted; `launch plan` shows what would be",
    "time": f"{_RESOURCES} (time_limit_min)",
    "time-min": "a job whose limit shrinks cannot be planned",
    "wait": "`launch submit --follow` waits",
    "wrap": _PLAN,
    **dict.fromkeys(("account", "constraint", "partition", "qos", "reservation"), _KEY),
}
"""Options of sbatch that a profile may not touch, each with the reason or the right place."""

LONG_NAMES = {
    "a": "array", "A": "account", "b": "begin", "c": "cpus-per-task", "C": "constraint", "d": "dependency",
    "D": "chdir", "e": "error", "G": "gpus", "i": "input", "J": "job-name", "L": "licenses", "M": "clusters",
    "m": "distribution", "n": "ntasks", "N": "nodes", "o": "output", "p": "partition", "q": "qos",
    "Q": "quiet", "S": "core-spec", "s": "oversubscribe", "t": "time", "w": "nodelist", "W": "wait",
    "x": "exclude",
}  # fmt: skip

_SECRET = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
_NAMES_A_FILE = re.compile(r"_(PATH|FILE|DIR)$", re.IGNORECASE)
_OF_THE_JOB = re.compile(
    r"(RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT|CUDA_VISIBLE_DEVICES"
    r"|LAUNCH_ATTEMPT|(SLURM|SBATCH|SRUN)_\w+)$"
)
_ASSIGNMENT = re.compile(r"(?:^|[\s;&|])([A-Za-z_]\w*)=[\"']?(?![\"']|\$|`|$|\s|;)")


def plain_name(option: str) -> str:
    """An option as sbatch spells it, without dashes before it: `--mail_type` is `mail-type`."""
    return option.lstrip("-").replace("_", "-")


def option_objection(option: str, value: Any, *, gpu_request: str) -> str | None:
    """What is wrong with one entry of sbatch_options; None if it may stand."""
    name = plain_name(option)
    if name in LONG_NAMES:
        return f"must have its long name, {LONG_NAMES[name]}"
    if not re.fullmatch(r"[a-z][a-z0-9-]+", name):
        return "is no option of sbatch: long names are small letters, digits and dashes"
    if name in SET_BY_THE_PLAN:
        return f"may not be set here: {SET_BY_THE_PLAN[name]}"
    if name == "exclusive" and isinstance(value, bool):
        return f"may not be set here: {_KEY}"
    if name == "gres" and (gpu_request == "gres" or "gpu" in str(value)):
        return f"may not be set here: GPUs are asked for by the plan, {_RESOURCES} (gpus_per_node)"
    return None


def variable_objection(name: str) -> str | None:
    """What is wrong with the name of an environment variable; None if a profile may set it."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return "is no name of a variable: letters, digits and _ only, and no digit first"
    if looks_secret(name):
        return (
            "looks like a secret, which no file should hold: export it in the shell you submit from, "
            "and the jobs inherit it"
        )
    if _OF_THE_JOB.match(name):
        return "is set by the job itself"
    if name == "TMPDIR":
        return "is set by scratch:"
    return None


def looks_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret itself, rather than where one is."""
    return bool(_SECRET.search(name)) and not _NAMES_A_FILE.search(name)


def written_secret(line: str) -> str | None:
    """The name of a secret that a shell line spells out; `export HF_TOKEN=$(cat …)` does not."""
    names = (match[1] for match in _ASSIGNMENT.finditer(line))
    return next((name for name in names if looks_secret(name)), None)
