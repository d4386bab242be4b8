"""What differs between clusters: `slurm/profiles/NAME.yaml`, or the user's own."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rankfold.errors import UserError

PACKAGED = Path(__file__).resolve().parent.parent / "slurm" / "profiles"
GPU_REQUESTS = ("gpus-per-node", "gres")
SET_BY_THE_PLAN = (
    *("array", "chdir", "dependency", "error", "job-name", "kill-on-invalid-dep", "mem", "nodes"),
    *("ntasks", "ntasks-per-node", "open-mode", "output", "parsable", "time", "wrap"),
)
"""sbatch options that a profile may not touch: the plan or the reading of its answer depends on them."""


@dataclass(frozen=True)
class ClusterProfile:
    """How one cluster wants to be asked."""

    name: str = "default"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpu_request: str = "gpus-per-node"
    gpu_type: str | None = None
    setup: tuple[str, ...] = ()
    sbatch_options: dict[str, str | int | bool] = field(default_factory=dict)


def profile_folders() -> tuple[Path, ...]:
    """Where profiles are looked for; the user's own come first."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return (config / "launch" / "profiles", Path("slurm") / "profiles", PACKAGED)


def load_profile(name: str | None = None) -> ClusterProfile:
    """Read a profile by name, or by path where the name ends in `.yaml`; None is the default one.

    Raises:
        UserError: There is no such profile, or it says something that is not allowed.
    """
    if name is not None and name.endswith((".yaml", ".yml")):
        return _read(Path(name))
    for folder in profile_folders():
        file = folder / f"{name or 'default'}.yaml"
        if file.is_file():
            return _read(file)
    if name is None:
        return ClusterProfile()
    raise UserError(
        f"there is no cluster profile {name!r}; there are: {', '.join(_names()) or 'none'}",
        where="--profile",
        remedy=f"Write {profile_folders()[0] / f'{name}.yaml'}, or name one of these.",
    )


def _names() -> list[str]:
    return sorted({file.stem for folder in profile_folders() for file in folder.glob("*.yaml")})


def _read(file: Path) -> ClusterProfile:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise UserError(f"there is no file {file}", where="--profile") from None
    except yaml.YAMLError as error:
        raise UserError(f"not valid YAML: {error}", where=str(file)) from error
    if not isinstance(content, dict):
        raise UserError("a profile is a mapping of keys to values", where=str(file))
    mistakes = [mistake for key, value in content.items() for mistake in _mistakes(str(key), value)]
    if mistakes:
        raise UserError("\n".join(mistakes), where=str(file))
    content["setup"] = tuple(content.get("setup") or ())
    content["sbatch_options"] = content.get("sbatch_options") or {}
    return ClusterProfile(**{"name": file.stem, **content})


def _mistakes(key: str, value: Any) -> list[str]:
    allowed = [field.name for field in fields(ClusterProfile) if field.name != "name"]
    if key not in allowed:
        near = difflib.get_close_matches(key, allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return [f"unknown key {key!r}{hint} Allowed: {', '.join(allowed)}"]
    if key == "gpu_request" and value not in GPU_REQUESTS:
        return [f"gpu_request is {value!r}; allowed: {', '.join(GPU_REQUESTS)}"]
    if key == "setup":
        good = value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value))
        return [] if good else [f"setup is {value!r}; it must be a list of shell lines"]
    if key == "sbatch_options":
        return _option_mistakes(value)
    return [] if value is None or isinstance(value, str) else [f"{key} is {value!r}; it must be text"]


def _option_mistakes(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, dict):
        return [f"sbatch_options is {value!r}; it must map option names to values"]
    mistakes = []
    for option, setting in value.items():
        if str(option).lstrip("-").replace("_", "-") in SET_BY_THE_PLAN:
            mistakes.append(f"sbatch_options.{option} is set by the plan and cannot be overridden")
        elif not isinstance(setting, str | int | bool):
            mistakes.append(f"sbatch_options.{option} is {setting!r}; it must be text, a number or true")
    return mistakes
