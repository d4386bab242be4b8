"""Reading work units back: every one exactly once, whole, and from this evaluation, or a diagnosis."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rankfold.errors import ShardError
from rankfold.nbest.units import Fingerprint, Manifest, Unit, manifest_path

_MANIFEST = TypeAdapter(Manifest)
_MISSING = "missing: "


def is_complete(folder: Path, unit: Unit, fingerprint: Fingerprint) -> bool:
    """Whether the unit lies there whole and from this run; if not, it must be computed (again)."""
    path = manifest_path(folder, unit)
    try:
        manifest = _read_manifest(path)
        _read_payload(path, manifest)
    except _UnusableError:
        return False
    return manifest.unit == unit and Fingerprint.of(manifest.fingerprint) == fingerprint


class UnitReader:
    """All units of an evaluation, read one at a time, so that memory holds one.

    Units are disjoint ranges in data set order, so reading them in their order is the k-way merge of all
    shards, without a heap: at any moment only one unit can hold the next row.
    """

    def __init__(
        self, source: Path | Sequence[Path], units: Sequence[Unit], fingerprint: Fingerprint
    ) -> None:
        """Check from manifests and file sizes that every unit is there exactly once.

        Args:
            source: A folder, of which every `*.json` is a manifest whatever its name; or the manifests.
            units: The units of the whole evaluation, in order.
            fingerprint: What every unit must have been computed from.

        Raises:
            ShardError: Units are missing, truncated, from another run, unknown or conflicting, or a
                manifest is broken; all that was found, corrupt payloads included, in one message.
                Identical duplicates are dropped.
        """
        self._source, self.units, self._fingerprint = source, units, fingerprint
        self._accepted, problems = self._accept(_check_size)
        if problems:
            raise self._diagnosis(*problems)

    def payloads(self, units: Iterable[Unit]) -> Iterator[bytes]:
        """The payload of each of `units`, in their order.

        Raises:
            ShardError: A payload is not what was written; the message names all such units.
        """
        for unit in units:
            path, manifest = self._accepted[unit]
            try:
                yield _read_payload(path, manifest)
            except _UnusableError as error:
                raise self._diagnosis(f"{path.name}: {error}") from error

    def _diagnosis(self, *seen: str) -> ShardError:
        """Read every unit, so that one message names all that is wrong; `seen` if that has gone since."""
        _, problems = self._accept(_read_payload)
        return _coverage_error(self._source, problems or seen)

    def _accept(
        self, check: Callable[[Path, Manifest], object]
    ) -> tuple[dict[Unit, tuple[Path, Manifest]], list[str]]:
        """The manifest of every unit that passes `check`, and the problems of all others."""
        expected = frozenset(self.units)
        accepted: dict[Unit, tuple[str, Path, Manifest]] = {}
        unusable: set[Unit | None] = set()
        problems: list[str] = []
        for name, path in _manifests(self._source):
            try:
                manifest = _read_expected(path, expected, self._fingerprint)
                check(path, manifest)
            except _UnusableError as error:
                problems.append(f"{name}: {error}")
                unusable.add(error.unit)
                continue
            first_name, _, first = accepted.setdefault(manifest.unit, (name, path, manifest))
            if manifest != first:
                unit = _named([manifest.unit])
                problems.append(f"{name}: duplicate conflicting: {unit} differs from {first_name}")
        missing = [unit for unit in self.units if unit not in accepted and unit not in unusable]
        files = {unit: (path, manifest) for unit, (_, path, manifest) in accepted.items()}
        return files, [*_missing(missing), *problems]


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
    _check_size(path, manifest)
    name = manifest.payload
    payload = (path.parent / name).read_bytes()
    sha256 = hashlib.sha256(payload).hexdigest()
    if sha256 != manifest.sha256:
        reason = f"corrupt: {name} has sha256 {sha256}, written was {manifest.sha256}"
        raise _UnusableError(reason, manifest.unit)
    return payload


def _check_size(path: Path, manifest: Manifest) -> None:
    name, unit = manifest.payload, manifest.unit
    try:
        num_bytes = (path.parent / name).stat().st_size
    except FileNotFoundError:
        raise _UnusableError(f"payload missing: there is no {name}", unit) from None
    if num_bytes < manifest.num_bytes:
        raise _UnusableError(f"truncated: {name} has {num_bytes} of {manifest.num_bytes} bytes", unit)


def _read_expected(path: Path, expected: frozenset[Unit], fingerprint: Fingerprint) -> Manifest:
    manifest = _read_manifest(path)
    differences = fingerprint.differences(Fingerprint.of(manifest.fingerprint))
    if differences:
        raise _UnusableError(f"from another run: {'; '.join(differences)}", manifest.unit)
    if manifest.unit not in expected:
        raise _UnusableError(f"unknown: this evaluation has no {_named([manifest.unit])}", manifest.unit)
    return manifest


def _missing(units: list[Unit]) -> list[str]:
    """One problem for each stretch of neighbouring units."""
    stretches: list[list[Unit]] = []
    for unit in units:
        if stretches and stretches[-1][-1].stop == unit.start:
            stretches[-1].append(unit)
        else:
            stretches.append([unit])
    return [f"{_MISSING}{_named(stretch)}" for stretch in stretches]


def _named(units: Sequence[Unit]) -> str:
    """Neighbouring units in words, with their items."""
    first, last = units[0], units[-1]
    numbers = f"unit {first.index}" if len(units) == 1 else f"units {first.index} to {last.index}"
    return f"{numbers} (items {first.start} to {last.stop - 1})"


def _coverage_error(source: Path | Sequence[Path], problems: Sequence[str]) -> ShardError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    again = "un `launch resume RUN`: only what is missing is computed."
    only_missing = all(problem.startswith(_MISSING) for problem in problems)
    return ShardError(
        "\n  - ".join([f"{count} in the work units", *problems]),
        where=str(source) if isinstance(source, Path) else "",
        remedy=f"R{again}" if only_missing else f"Delete the manifests named above, then r{again}",
    )
