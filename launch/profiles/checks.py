"""Reading a profile: every mistake in it at once, each with its line."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from launch.plan import STAGES
from launch.profiles.options import option_objection, variable_objection, written_secret
from launch.profiles.profile import ClusterProfile
from rankfold.errors import UserError
from rankfold.recipe.entries import Entry, Location, Place, Problem, listed, shown
from rankfold.recipe.yaml_reader import read_yaml

GPU_REQUESTS = ("gpus-per-node", "gres")
MAX_SIGNAL_DELAY_S = 65_535
"""The most that `sbatch --signal` takes."""

Problems = Iterator[Problem]
Check = Callable[[Entry, Location], Problems]


def read_profile(file: Path) -> ClusterProfile:
    """Read one file; the profile has the file's name.

    Raises:
        UserError: The file cannot be read, or says something that is not allowed.
    """
    problems: list[Problem] = []
    entry = read_yaml(_text(file), lambda line: Place(str(file), line), problems)
    if entry is not None and entry.value is not None:
        problems += _mapping(entry, (), _FIELDS)
        problems += _options(entry)
    if entry is None or problems:
        raise _refused(problems)
    return ClusterProfile(**{"name": file.stem, **_values(entry.plain() or {})})


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no file {file}", where="--profile") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", where="--profile") from error
    except UnicodeDecodeError as error:
        raise UserError("is not UTF-8; save it as UTF-8", where=str(file)) from error


def _values(given: dict[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in given.items() if value is not None}
    if "environment" in values:
        values["environment"] = {name: str(text) for name, text in values["environment"].items()}
    if "setup" in values:
        values["setup"] = tuple(values["setup"])
    if "stages" in values:
        values["stages"] = {stage: _overrides(over) for stage, over in values["stages"].items() if over}
    return values


def _overrides(given: dict[str, Any]) -> dict[str, Any]:
    """What a stage overrides; a key left empty takes the general value away."""
    nothing = ClusterProfile().to_json()
    return {key: nothing[key] if value is None else value for key, value in given.items()}


def _refused(problems: list[Problem]) -> UserError:
    lines = [str(problem) for problem in sorted(problems, key=lambda problem: problem.place.line)]
    if len(lines) == 1:
        return UserError(lines[0], remedy="docs/profiles.md says what each key means.")
    return UserError(
        f"the profile has {len(lines)} mistakes:\n  " + "\n  ".join(lines),
        remedy="docs/profiles.md says what each key means.",
    )


# Parts of a mapping.


def _mapping(entry: Entry, location: Location, checks: Mapping[str, Check]) -> Problems:
    """Problems of a mapping with known keys; a key left empty is as good as none."""
    if entry.value is None:
        return
    if not isinstance(entry.value, dict):
        message = f"must be a mapping of keys to values; found {shown(entry.plain())}"
        yield Problem(entry.place, location, message)
        return
    for key, value in entry.value.items():
        if key not in checks:
            yield Problem(value.place, (*location, key), _unknown_key(key, checks))
        elif value.value is not None:
            yield from checks[key](value, (*location, key))


def _unknown_key(key: str, checks: Mapping[str, Check]) -> str:
    near = difflib.get_close_matches(key, checks, n=1)
    return f"unknown key; did you mean {near[0]}?" if near else f"unknown key; allowed: {', '.join(checks)}"


def _each(entry: Entry, location: Location, check: Callable[[str, Any], str | None]) -> Problems:
    """Problems of a mapping whose keys are the user's own."""
    if not isinstance(entry.value, dict):
        message = f"must be a mapping of names to values; found {shown(entry.plain())}"
        yield Problem(entry.place, location, message)
        return
    for key, value in entry.value.items():
        objection = check(key, value.plain())
        if objection:
            yield Problem(value.place, (*location, key), objection)


def _environment(entry: Entry, location: Location) -> Problems:
    yield from _each(entry, location, lambda name, value: variable_objection(name) or _setting(value))


def _setup(entry: Entry, location: Location) -> Problems:
    if not isinstance(entry.value, list):
        found = shown(entry.plain())
        yield Problem(entry.place, location, f"must be a list of shell lines; found {found}")
        return
    for position, line in enumerate(entry.value):
        objection = _line(line.value)
        secret = written_secret(line.value) if isinstance(line.value, str) else None
        if secret:
            objection = (
                f"spells out {secret}, a secret, which no file should hold: export it in the shell you "
                "submit from, and the jobs inherit it"
            )
        if objection:
            yield Problem(line.place, (*location, position), objection)


def _option_values(entry: Entry, location: Location) -> Problems:
    yield from _each(entry, location, lambda _, value: _setting(value, switch=True))


def _options(profile: Entry) -> Problems:
    """Options of sbatch that a profile may not set, at the top and under stages."""
    request = profile.part("gpu_request")
    gpu_request = str(request.value) if request else GPU_REQUESTS[0]
    places: list[Location] = [(), *(("stages", stage) for stage in STAGES)]
    for location in ((*place, "sbatch_options") for place in places):
        options = profile.nearest(location) if profile.holds(location) else None
        if options is None or not isinstance(options.value, dict):
            continue
        for option, setting in options.value.items():
            objection = option_objection(option, setting.value, gpu_request=gpu_request)
            if objection:
                yield Problem(setting.place, (*location, option), objection)


def _stages(entry: Entry, location: Location) -> Problems:
    yield from _mapping(entry, location, dict.fromkeys(STAGES, _stage))


def _stage(entry: Entry, location: Location) -> Problems:
    yield from _mapping(entry, location, {key: _FIELDS[key] for key in STAGE_KEYS})


# Single values: what is wrong with one, or None.


def _value(objection: Callable[[Any], str | None]) -> Check:
    def check(entry: Entry, location: Location) -> Problems:
        message = objection(entry.plain())
        if message:
            yield Problem(entry.place, location, message)

    return check


def _line(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'must be text; put it in quotes: "{value}"'
    if not isinstance(value, str):
        return f"must be text; found {shown(value)}"
    if not value.strip():
        return "is empty; leave it out"
    if not value.isprintable():
        return f"must be one line without control characters; found {shown(value)}"
    return None


def _setting(value: Any, *, switch: bool = False) -> str | None:
    """A value that may be a whole number too, and true or false where it is a switch."""
    if isinstance(value, bool):
        return None if switch else f'must be text; put it in quotes: "{str(value).lower()}"'
    if isinstance(value, int) or (value == "" and not switch):
        return None
    return _line(value)


def _choice(allowed: tuple[str, ...]) -> Callable[[Any], str | None]:
    def objection(value: Any) -> str | None:
        if value in allowed:
            return None
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"must be {listed(allowed)}; found {shown(value)}{hint}"

    return objection


def _switch(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false; found {shown(value)}"


def _whole(most: int | None = None) -> Callable[[Any], str | None]:
    def objection(value: Any) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= (most or value):
            return None
        limit = f"from 1 to {most}" if most else "of at least 1"
        return f"must be a whole number {limit}; found {shown(value)}"

    return objection


def _positive(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return None
    return f"must be a number above 0; found {shown(value)}"


def _command(value: Any) -> str | None:
    objection = _line(value)
    if objection:
        return objection
    try:
        shlex.split(value)
    except ValueError as error:
        return f"is no shell command: {error}; found {shown(value)}"
    return None


def _folder(value: Any) -> str | None:
    if _line(value):
        return _line(value)
    if re.fullmatch(r"(/|\$\{?[A-Za-z_])[^\"`\\(]*", value):
        return None
    example = "such as /tmp/$SLURM_JOB_ID"
    return f"must be an absolute folder, or start with a variable, {example}; found {shown(value)}"


_FIELDS: dict[str, Check] = {
    "partition": _value(_line),
    "account": _value(_line),
    "qos": _value(_line),
    "constraint": _value(_line),
    "reservation": _value(_line),
    "exclusive": _value(_switch),
    "gpu_request": _value(_choice(GPU_REQUESTS)),
    "gpu_type": _value(_line),
    "gpu_memory_gb": _value(_positive),
    "max_array_size": _value(_whole()),
    "signal_delay_s": _value(_whole(MAX_SIGNAL_DELAY_S)),
    "environment": _environment,
    "setup": _setup,
    "container": _value(_command),
    "scratch": _value(_folder),
    "sbatch_options": _option_values,
    "stages": _stages,
}

STAGE_KEYS = (
    *("partition", "account", "qos", "constraint", "reservation", "exclusive"),
    "sbatch_options",
)
"""What a single stage may override."""
