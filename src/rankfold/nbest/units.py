"""Work units on disk: a payload and a manifest each, so that nothing is lost, doubled or mixed up.

A unit is a range of items (windows of a data set, texts to generate from), finer than a shard, so an
evaluation that was cut short resumes at any number of shards: only missing units are computed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rankfold import atomic
from rankfold.errors import ShardError


@dataclass(frozen=True, order=True)
class Unit:
    """Items `start` (inclusive) to `stop` (exclusive) of a data set."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True)
class Fingerprint:
    """What a result depends on, by name: model, tokenizer, data, max_length, … Build it with `of`."""

    fields: tuple[tuple[str, str | int], ...]

    @classmethod
    def of(cls, fields: Mapping[str, str | int]) -> "Fingerprint":
        """A fingerprint of these fields, whatever their order."""
        return cls(tuple(sorted(fields.items())))

    @property
    def digest(self) -> str:
        """SHA-256 of all fields, in hex."""
        return hashlib.sha256(json.dumps(self.fields, ensure_ascii=False).encode()).hexdigest()

    def differences(self, other: "Fingerprint") -> list[str]:
        """One phrase for each field whose value in `other` is not the one here."""
        mine, others = dict(self.fields), dict(other.fields)
        return [
            f"{name} is {_value(others, name)}, expected {_value(mine, name)}"
            for name in sorted(mine.keys() | others.keys())
            if _value(mine, name) != _value(others, name)
        ]


@dataclass(frozen=True)
class Manifest:
    """What a unit's `.json` file says about its payload; written after the payload."""

    unit: Unit
    payload: str  # name of the file beside the manifest
    num_bytes: int
    sha256: str
    num_rows: int
    fingerprint: dict[str, str | int]


_MANIFEST = TypeAdapter(Manifest)


def plan_units(num_items: int, unit_size: int) -> list[Unit]:
    """Divide `num_items` items into units of `unit_size`, the last one shorter where it must be."""
    if num_items < 0 or unit_size < 1:
        raise ValueError(f"cannot divide {num_items} items into units of {unit_size}")
    starts = range(0, num_items, unit_size)
    return [Unit(index, start, min(start + unit_size, num_items)) for index, start in enumerate(starts)]


def units_of_shard(units: Sequence[Unit], shard: int, num_shards: int) -> list[Unit]:
    """The units of shard `shard`: round robin, as long examples often stand together."""
    if not 0 <= shard < num_shards:
        raise ValueError(f"shard {shard} is not one of {num_shards}: 0 to {num_shards - 1}")
    return list(units[shard::num_shards])


def write_unit(folder: Path, unit: Unit, payload: bytes, fingerprint: Fingerprint, num_rows: int) -> None:
    """Write a unit's payload, then its manifest; a unit without a manifest does not exist yet.

    Raises:
        OSError: The folder cannot be written or the disk is full.
    """
    sha256 = hashlib.sha256(payload).hexdigest()
    # The hash in the name lets units of several folders be gathered into one without overwriting.
    name = f"unit-{unit.index:05d}.{sha256[:12]}.bin"
    manifest = Manifest(unit, name, len(payload), sha256, num_rows, dict(fingerprint.fields))
    atomic.write_bytes(folder / name, payload)
    atomic.write_json(_manifest_path(folder, unit), asdict(manifest))


def is_complete(folder: Path, unit: Unit, fingerprint: Fingerprint) -> bool:
    """Whether the unit lies there whole and from this run; if not, it must be computed (again)."""
    path = _manifest_path(folder, unit)
    try:
        manifest = _read_manifest(path)
        _read_payload(path, manifest)
    except _UnusableError:
        return False
    return manifest.unit == unit and Fingerprint.of(manifest.fingerprint) == fingerprint


def read_units(
    source: Path | Sequence[Path], units: Sequence[Unit], fingerprint: Fingerprint
) -> list[tuple[Unit, bytes]]:
    """Read the payload of every unit, in the order of `units`, each exactly once.

    Args:
        source: A folder, of which every `*.json` is a manifest whatever its name; or the manifests.
        units: The units of the whole evaluation.
        fingerprint: What every unit must have been computed from.

    Raises:
        ShardError: Units are missing, truncated, corrupt, from another run, unknown or conflicting, or
            a manifest is broken; all that was found, in one message. Identical duplicates are dropped.
    """
    expected = frozenset(units)
    payloads: dict[Unit, bytes] = {}
    accepted: dict[Unit, tuple[str, Manifest]] = {}
    unusable: set[Unit | None] = set()
    problems: list[str] = []
    for name, path in _manifests(source):
        try:
            manifest, payload = _read_unit(path, expected, fingerprint)
        except _UnusableError as error:
            problems.append(f"{name}: {error}")
            unusable.add(error.unit)
            continue
        payloads.setdefault(manifest.unit, payload)
        first_name, first = accepted.setdefault(manifest.unit, (name, manifest))
        if manifest != first:
            unit = _named([manifest.unit])
            problems.append(f"{name}: duplicate conflicting: {unit} differs from {first_name}")
    missing = _missing([unit for unit in units if unit not in payloads and unit not in unusable])
    if missing or problems:
        raise _coverage_error(source, missing, problems)
    return [(unit, payloads[unit]) for unit in units]


class _UnusableError(Exception):
    """Why a manifest or its payload cannot be used, and which unit that leaves uncovered, if known."""

    def __init__(self, reason: str, unit: Unit | None = None) -> None:
        super().__init__(reason)
        self.unit = unit


def _manifests(source: Path | Sequence[Path]) -> list[tuple[str, Path]]:
    """Manifests with the shortest name that tells them apart."""
    if isinstance(source, Path):
        return [(path.name, path) for path in sorted(source.glob("*.json"))]
    return [(str(path), path) for path in sorted(source)]


def _manifest_path(folder: Path, unit: Unit) -> Path:
    return folder / f"unit-{unit.index:05d}.json"


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = _MANIFEST.validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        raise _UnusableError("broken manifest: there is no such file") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        reason = f"{field}: {first['msg']}" if field else first["msg"]
        raise _UnusableError(f"broken manifest: {reason}") from error
    if Path(manifest.payload).name != manifest.payload:
        raise _UnusableError(f"broken manifest: payload {manifest.payload!r} is not a plain file name")
    return manifest


def _read_payload(path: Path, manifest: Manifest) -> bytes:
    name, unit = manifest.payload, manifest.unit
    try:
        payload = (path.parent / name).read_bytes()
    except FileNotFoundError:
        raise _UnusableError(f"payload missing: there is no {name}", unit) from None
    if len(payload) < manifest.num_bytes:
        raise _UnusableError(f"truncated: {name} has {len(payload)} of {manifest.num_bytes} bytes", unit)
    sha256 = hashlib.sha256(payload).hexdigest()
    if sha256 != manifest.sha256:
        raise _UnusableError(f"corrupt: {name} has sha256 {sha256}, written was {manifest.sha256}", unit)
    return payload


def _read_unit(path: Path, expected: frozenset[Unit], fingerprint: Fingerprint) -> tuple[Manifest, bytes]:
    manifest = _read_manifest(path)
    differences = fingerprint.differences(Fingerprint.of(manifest.fingerprint))
    if differences:
        raise _UnusableError(f"from another run: {'; '.join(differences)}", manifest.unit)
    if manifest.unit not in expected:
        raise _UnusableError(f"unknown: this evaluation has no {_named([manifest.unit])}", manifest.unit)
    return manifest, _read_payload(path, manifest)


def _missing(units: list[Unit]) -> list[str]:
    """One problem for each stretch of neighbouring units."""
    stretches: list[list[Unit]] = []
    for unit in units:
        if stretches and stretches[-1][-1].stop == unit.start:
            stretches[-1].append(unit)
        else:
            stretches.append([unit])
    return [f"missing: {_named(stretch)}" for stretch in stretches]


def _named(units: Sequence[Unit]) -> str:
    """Neighbouring units in words, with their items."""
    first, last = units[0], units[-1]
    numbers = f"unit {first.index}" if len(units) == 1 else f"units {first.index} to {last.index}"
    return f"{numbers} (items {first.start} to {last.stop - 1})"


def _coverage_error(source: Path | Sequence[Path], missing: list[str], problems: list[str]) -> ShardError:
    num_problems = len(missing) + len(problems)
    count = "1 problem" if num_problems == 1 else f"{num_problems} problems"
    again = "un the evaluation again: only what is missing is computed."
    return ShardError(
        "\n  - ".join([f"{count} in the work units", *missing, *problems]),
        where=str(source) if isinstance(source, Path) else "",
        remedy=f"Delete the manifests named above, then r{again}" if problems else f"R{again}",
    )


def _value(fields: Mapping[str, str | int], name: str) -> str:
    return repr(fields[name]) if name in fields else "absent"
