"""Work units on disk: a payload and a manifest each, so that nothing is lost, doubled or mixed up.

A unit is a range of items (windows of a data set, texts to generate from), finer than a shard, so an
evaluation that was cut short resumes at any number of shards: only missing units are computed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rankfold import atomic


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
    atomic.write_json(manifest_path(folder, unit), asdict(manifest))


def manifest_path(folder: Path, unit: Unit) -> Path:
    """Where `write_unit` puts a unit's manifest."""
    return folder / f"unit-{unit.index:05d}.json"


def _value(fields: Mapping[str, str | int], name: str) -> str:
    return repr(fields[name]) if name in fields else "absent"
