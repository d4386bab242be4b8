"""What exactly a run was given: commits on the hub, versions of packages, hashes of files."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from rankfold import atomic
from rankfold.earlier_runs import earlier_run, is_earlier_run, models_behind
from rankfold.errors import DataError, ModelError
from rankfold.hub_cache import Repository, data_repository, find_snapshot, model_repository, not_fetched
from rankfold.recipe.schema import HUB_PREFIX, PACKAGE_PREFIX, Model, Recipe, Source
from rankfold.run_folder import RunFolder

HASHED_BYTES = 1_000_000_000
"""A file of at most this size is hashed when the run is made: seconds on a login node."""

SIDES = ("source", "train", "validation", "test")
Kind = Literal["hub", "package", "folder", "file", "run"]


@dataclass(frozen=True)
class LockedFile:
    """One file as it was; its time of change stands in for the hash of a file that is too large for one."""

    path: str
    num_bytes: int
    sha256: str | None
    modified_ns: int | None

    @classmethod
    def of(cls, path: Path, *, hashed: bool = True) -> "LockedFile":
        status = path.stat()
        if not hashed or status.st_size > HASHED_BYTES:
            return cls(str(path), status.st_size, None, status.st_mtime_ns)
        with path.open("rb") as file:
            return cls(str(path), status.st_size, hashlib.file_digest(file, "sha256").hexdigest(), None)

    def __str__(self) -> str:
        if self.sha256 is not None:
            return f"{self.num_bytes:,} bytes, sha256 {self.sha256}"
        return f"{self.num_bytes:,} bytes, changed at {self.modified_ns} ns, not hashed"


@dataclass(frozen=True)
class Locked:
    """A model or a data set of a run.

    Attributes:
        field: The recipe's field that names it.
        name: What the recipe says.
        revision: The commit on the hub, the package's version, or the hash of what an earlier run trained.
        folder: Where it lies, on the machine that submitted the run.
        files: Of a file or a folder; a commit or a version needs none.
    """

    field: str
    kind: Kind
    name: str
    revision: str | None
    folder: str | None
    files: tuple[LockedFile, ...] = ()


def lock_recipe(recipe: Recipe, cache: Path) -> tuple[Recipe, tuple[Locked, ...]]:
    """Return the recipe with the commits that its hub names mean now, and what the run will read.

    Args:
        cache: The Hugging Face cache of the jobs; no network is used.

    Raises:
        UserError: Something is not there.
    """
    model, *behind = _lock_models("model", recipe.model, cache)
    entries = [model, *behind]
    train = recipe.train
    if recipe.teacher is not None and train.distillation is not None:
        teacher, *behind_teacher = _lock_models("train.distillation", recipe.teacher, cache)
        entries += [teacher, *behind_teacher]
        if teacher.kind == "hub":
            named = {"teacher": f"{recipe.teacher.name_or_path}@{teacher.revision}"}
            distillation = train.distillation.model_copy(update=named)
            train = train.model_copy(update={"distillation": distillation})
    commits: dict[str, Any] = {}
    for side in SIDES:
        source: Source | None = getattr(recipe.data, side)
        if source is None:
            continue
        locked = _lock_source(f"data.{side}", source, cache)
        entries.append(locked)
        commits[side] = _at_commit(source, locked)
    mixed = {}
    for name, source in recipe.data.mixed_with.items():
        locked = _lock_source(f"data.mixed_with.{name}", source, cache)
        entries.append(locked)
        mixed[name] = _at_commit(source, locked)
    commits["mixed_with"] = mixed
    revision = model.revision if model.kind == "hub" else recipe.model.revision
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"revision": revision}),
            "train": train,
            "data": recipe.data.model_copy(update=commits),
        }
    ), tuple(entries)


def write_lock(run: RunFolder, entries: Iterable[Locked]) -> None:
    """Write `lock.json`."""
    atomic.write_json(run.lock, {"format_version": 1, "locked": [asdict(entry) for entry in entries]})


def read_lock(run: RunFolder) -> tuple[Locked, ...]:
    """What the run was given; empty where the run was not made by `launch submit`."""
    if not run.lock.is_file():
        return ()
    values: list[dict[str, Any]] = json.loads(run.lock.read_text(encoding="utf-8"))["locked"]
    return tuple(
        Locked(**{**value, "files": tuple(LockedFile(**file) for file in value["files"])}) for value in values
    )


def check_unchanged(run: RunFolder) -> None:
    """Compare files and packages with what they were when the run was submitted.

    Raises:
        DataError: A data file is another one now; names both hashes.
        ModelError: The same of the model's folder or package.
    """
    for entry in read_lock(run):
        for was, now in _differences(entry):
            error = DataError if entry.field.startswith("data") else ModelError
            raise error(
                f"changed after the run was submitted: it was {was}, and is {now}",
                where=entry.field,
                remedy="Submit the recipe again to run it on what is there now.",
            )


def _differences(entry: Locked) -> Iterator[tuple[str, str]]:
    if entry.kind == "package":
        now = _version(entry.name)
        if now != entry.revision:
            yield f"{entry.name} {entry.revision}", f"{now or 'not installed'}"
    if entry.kind == "run" and (now := earlier_run(entry.name).model_sha256) != entry.revision:
        yield f"{entry.name}, trained as {entry.revision}", f"trained as {now}"
    for was in entry.files:
        path = Path(was.path)
        if not path.is_file():
            yield f"{path}, {was}", "gone"
        elif (found := LockedFile.of(path, hashed=was.sha256 is not None)) != was:
            yield f"{path}, {was}", str(found)


def _lock_models(field: str, model: Model, cache: Path) -> list[Locked]:
    """A model, and behind an earlier run's adapter the model that it was trained on."""
    return [_lock_model(field, one, cache) for one in models_behind(model)]


def _lock_model(field: str, model: Model, cache: Path) -> Locked:
    name = model.name_or_path
    if name.startswith(PACKAGE_PREFIX):
        return Locked(field, "package", name, _version(name), None)
    if is_earlier_run(name):
        earlier = earlier_run(name)
        # Whole models are large: what changed them would have changed the run's own hash too.
        files = _files(earlier.run.model.glob("*"), hashed=earlier.is_adapter)
        return Locked(field, "run", name, earlier.model_sha256, str(earlier.run.root), files)
    repository = model_repository(model, f"{field}.name_or_path")
    if repository is not None:
        return _lock_repository(field, name, repository, cache)
    folder = Path(name).expanduser()
    # prepare hashes the weights; here their sizes and times must do.
    return Locked(field, "folder", name, None, str(folder), _files(folder.glob("*"), hashed=False))


def _lock_source(field: str, source: Source, cache: Path) -> Locked:
    repository = data_repository(source.path, field)
    if repository is not None:
        return _lock_repository(field, source.path, repository, cache)
    path = Path(source.path.removeprefix(HUB_PREFIX)).expanduser()
    if path.is_dir():
        return Locked(field, "folder", source.path, None, str(path), _files(path.rglob("*"), hashed=True))
    if not path.is_file():
        raise DataError(f"there is no file {path}", where=f"{field}.path")
    return Locked(field, "file", source.path, None, str(path.parent), (LockedFile.of(path),))


def _at_commit(source: Source, locked: Locked) -> Source:
    """The source with the commit that its hub name means now; one that is not on the hub as it is."""
    if locked.kind != "hub":
        return source
    name = source.path.partition("@")[0]
    return source.model_copy(update={"path": f"{name}@{locked.revision}"})


def _lock_repository(field: str, name: str, repository: Repository, cache: Path) -> Locked:
    snapshot = find_snapshot(repository, cache)
    if snapshot is None:
        raise not_fetched(repository, cache)
    return Locked(field, "hub", name, snapshot.commit, str(snapshot.folder))


def _files(found: Iterable[Path], *, hashed: bool) -> tuple[LockedFile, ...]:
    return tuple(LockedFile.of(path, hashed=hashed) for path in sorted(found) if path.is_file())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name.removeprefix(PACKAGE_PREFIX))
    except metadata.PackageNotFoundError:
        return None
