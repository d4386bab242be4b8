"""What differs between clusters: `slurm/profiles/NAME.yaml`, or the user's own."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rankfold.errors import UserError

PACKAGED = Path(__file__).resolve().parents[2] / "slurm" / "profiles"
SLURMS_OWN_MAX_ARRAY_SIZE = 1001
"""Slurm's default for MaxArraySize: task ids go up to 1000."""


@dataclass(frozen=True)
class ClusterProfile:
    """How one cluster wants to be asked.

    Attributes:
        gpu_request: `gpus-per-node` or `gres`, the option that asks for GPUs.
        gpu_memory_gb: Memory of one GPU, for the estimate of `launch plan`.
        max_array_size: Slurm's MaxArraySize; None: SLURMS_OWN_MAX_ARRAY_SIZE.
        signal_delay_s: How long before the time limit the ranks are warned.
        environment: Variables of the job, taken as they are written: nothing in them is expanded.
        setup: Shell lines that run on the first node before the ranks start.
        container: Command put before the Python of the ranks.
        scratch: Folder on each node that becomes TMPDIR; the job's shell expands variables in it.
        sbatch_options: Further options of sbatch by their long names; True: without a value, False: left out.
        stages: What single stages override, by stage and by field.
    """

    name: str = "default"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclusive: bool = False
    gpu_request: str = "gpus-per-node"
    gpu_type: str | None = None
    gpu_memory_gb: float | None = None
    max_array_size: int | None = None
    signal_delay_s: int = 120
    environment: dict[str, str] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    container: str | None = None
    scratch: str | None = None
    sbatch_options: dict[str, str | int | bool] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    def for_stage(self, stage: str) -> ClusterProfile:
        """The profile of one stage's jobs; its sbatch options are laid over the general ones."""
        changed = dict(self.stages.get(stage, {}))
        options = {**self.sbatch_options, **changed.pop("sbatch_options", {})}
        return replace(self, **changed, sbatch_options=options, stages={})

    def warning_s(self, time_limit_min: int) -> int:
        """When the ranks are warned, in seconds before the limit: half of the time at least is for work."""
        return min(self.signal_delay_s, 60 * time_limit_min // 2)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "setup": list(self.setup)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ClusterProfile:
        return cls(**{**value, "setup": tuple(value["setup"])})


def user_folder() -> Path:
    """Where the user's own profiles are."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return config / "launch" / "profiles"


def profile_folders() -> tuple[Path, ...]:
    """Where profiles are looked for; the user's own come first."""
    return (user_folder(), Path("slurm") / "profiles", PACKAGED)


def load_profile(name: str | None = None) -> ClusterProfile:
    """Read a profile by name, or by path where the name ends in `.yaml`; None is the default one.

    Raises:
        UserError: There is no such profile, or it says something that is not allowed.
    """
    from launch.profiles.checks import read_profile

    if name is not None and name.endswith((".yaml", ".yml")):
        return read_profile(Path(name))
    for folder in profile_folders():
        file = folder / f"{name or 'default'}.yaml"
        if file.is_file():
            return read_profile(file)
    if name is None:
        return ClusterProfile()
    raise _unknown(name)


def _unknown(name: str) -> UserError:
    import difflib

    names = sorted({file.stem for folder in profile_folders() for file in folder.glob("*.yaml")})
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return UserError(
        f"there is no cluster profile {name!r}{hint} There are: {', '.join(names) or 'none'}",
        where="--profile",
        remedy=f"Name one of these, or let `launch doctor --write {name}` write "
        f"{user_folder() / f'{name}.yaml'}.",
    )
