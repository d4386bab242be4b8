"""The Hugging Face cache as it lies on disk: which commit a name means here, and where its files are.

huggingface_hub answers the same questions, but takes most of a second to import and reads its settings
once; a plan must be quick, and a job may have another environment than this process. The layout, `refs`
with commits and `snapshots` with folders, is documented in huggingface_hub's guide "Manage your cache";
`trees`, the list of all files of a commit, is what its snapshot_download leaves there since 2.0.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from rankfold.errors import DataError, ModelError
from rankfold.recipe.schema import HUB_PREFIX, Model, Recipe

MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "tokenizer*")
"""What is fetched of a model: never pickled weights, and no code unless it is trusted."""

NOT_LOADED = ("*/*", "consolidated*.safetensors")
"""Files of a model's folders and the same weights in Mistral's own layout: transformers loads neither."""

DATA_FILES = (
    *("README.md", ".huggingface.yaml"),
    *("*.parquet", "*.arrow", "*.json", "*.jsonl", "*.csv"),
    *("*.gz", "*.zip", "*.zst", "*.xz", "*.bz2"),
)
"""What is fetched of a data set: data, and the card, which says which files belong to which split."""

DEFAULT_REVISION = "main"
HUB_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)
MAX_HUB_ID = 96
"""The hub's own limit; a longer name could also be too long for a file."""
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
TRUE_VALUES = ("1", "ON", "YES", "TRUE")

Kind = Literal["model", "dataset"]


@dataclass(frozen=True)
class Repository:
    """A model or a data set on the hub, as a recipe names it.

    Attributes:
        field: The recipe's field that names it.
        revision: Branch, tag or commit.
        wanted: Patterns of the files that are needed.
        unwanted: Patterns of files that are not, though a wanted pattern matches them.
    """

    kind: Kind
    name: str
    field: str
    revision: str = DEFAULT_REVISION
    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    def __str__(self) -> str:
        at = "" if self.revision == DEFAULT_REVISION else f" at {self.revision}"
        return f"{'model' if self.kind == 'model' else 'data set'} {self.name}{at}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Repository":
        values: dict[str, Any] = json.loads(text)
        for key in ("wanted", "unwanted"):
            values[key] = tuple(values[key])
        return cls(**values)

    def wants(self, path: str) -> bool:
        """Whether a file of the repository is needed; `path` is relative to its root."""
        return any(fnmatchcase(path, pattern) for pattern in self.wanted) and not any(
            fnmatchcase(path, pattern) for pattern in self.unwanted
        )


@dataclass(frozen=True)
class Snapshot:
    """All wanted files of a repository as they were at one commit."""

    repository: Repository
    commit: str
    folder: Path
    num_files: int
    num_bytes: int


def model_repository(model: Model, field: str = "model.name_or_path") -> Repository | None:
    """The hub model that a recipe names; None where it names a package, a folder or an earlier run."""
    name = model.name_or_path
    if not _is_hub_id(name):
        return None
    wanted = (*MODEL_FILES, "*.py") if model.trust_remote_code else MODEL_FILES
    revision = model.revision or DEFAULT_REVISION
    return Repository("model", name, field, revision, wanted, NOT_LOADED)


def data_repository(path: str, field: str = "data") -> Repository | None:
    """The data set that `hub:NAME` or `hub:NAME@REVISION` names; None for a file or a folder."""
    if not path.startswith(HUB_PREFIX):
        return None
    name, _, revision = path.removeprefix(HUB_PREFIX).partition("@")
    if not _is_hub_id(name):
        return None
    return Repository("dataset", name, f"{field}.path", revision or DEFAULT_REVISION, DATA_FILES)


def repositories(recipe: Recipe) -> tuple[Repository, ...]:
    """Every repository of the hub that a run of the recipe reads, each once."""
    named = [model_repository(model, field) for field, model in models_read(recipe)]
    for field in ("source", "train", "validation", "test"):
        source = getattr(recipe.data, field)
        named.append(source and data_repository(source.path, f"data.{field}"))
    for name, source in recipe.data.mixed_with.items():
        named.append(data_repository(source.path, f"data.mixed_with.{name}"))
    found = {(one.kind, one.name, one.revision): one for one in reversed(named) if one}
    return tuple(reversed(found.values()))


def models_read(recipe: Recipe) -> tuple[tuple[str, Model], ...]:
    """Every model that a run of the recipe reads, with the field that names it, those behind runs too.

    What an earlier run cannot say, since it is missing or damaged, is left to whoever looks at that run.
    """
    # It looks for packages' models, which in turn are found with what this module knows.
    from rankfold.earlier_runs import models_behind, models_of

    found: list[tuple[str, Model]] = []
    for field, model in models_of(recipe):
        with suppress(ModelError):
            found.extend((field, one) for one in models_behind(model))
    return tuple(found)


def hub_cache(environment: Mapping[str, str] | None = None) -> Path:
    """The cache folder that huggingface_hub uses in an environment; None means this process's."""
    values = os.environ if environment is None else environment
    named = values.get("HF_HUB_CACHE") or values.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(os.path.expandvars(named)).expanduser()
    base = Path(values.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.path.expandvars(values.get("HF_HOME") or base)).expanduser() / "hub"


def is_offline(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the user has turned the hub off."""
    values = os.environ if environment is None else environment
    # As huggingface_hub reads them: the second counts where the first is unset or empty.
    text = next((values[name] for name in OFFLINE_VARIABLES if values.get(name)), "")
    return text.upper() in TRUE_VALUES


def find_snapshot(repository: Repository, cache: Path) -> Snapshot | None:
    """Find what the cache holds of a repository; None unless all wanted files are there."""
    folder = cache / f"{repository.kind}s--{repository.name.replace('/', '--')}"
    commit = _commit(folder, repository.revision)
    snapshot = folder / "snapshots" / commit if commit else None
    if commit is None or snapshot is None or not snapshot.is_dir():
        return None
    listed = _listed_files(folder / "trees" / f"{commit}.json")
    if any(repository.wants(path) and not (snapshot / path).is_file() for path in listed):
        return None
    files = [file for file in snapshot.rglob("*") if repository.wants(str(file.relative_to(snapshot)))]
    files = [file for file in files if file.is_file()]
    if not files or (repository.kind == "model" and not holds_model(snapshot)):
        return None
    return Snapshot(repository, commit, snapshot, len(files), sum(file.stat().st_size for file in files))


def holds_model(folder: Path) -> bool:
    """Whether a folder has a configuration and weights that are safe to load, and every part of those."""
    return (
        (folder / "config.json").is_file()
        and any(folder.glob("*.safetensors"))
        and all((folder / part).is_file() for part in _parts(folder))
    )


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, which never means anything else later."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def missing(recipe: Recipe, cache: Path) -> tuple[Repository, ...]:
    """What a recipe needs of the hub and the cache does not hold."""
    return tuple(one for one in repositories(recipe) if find_snapshot(one, cache) is None)


def not_fetched(repository: Repository, cache: Path) -> DataError | ModelError:
    """The error of a repository that has to be fetched first."""
    error = ModelError if repository.kind == "model" else DataError
    return error(
        f"the {repository} is not in the cache {cache}, or not all of it",
        where=repository.field,
        remedy="Where there is a network run `launch fetch RECIPE` with the same HF_HOME.",
    )


def size_text(num_bytes: int) -> str:
    """A size as people read it, in powers of 1,000 as disks are sold."""
    size, units = float(num_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, _ = size / 1000, units.pop(0)
    return f"{size:.1f} {units[0]}" if units[0] != "B" else f"{num_bytes} B"


def _is_hub_id(name: str) -> bool:
    return len(name) <= MAX_HUB_ID and HUB_ID.fullmatch(name) is not None and not Path(name).is_dir()


def _commit(folder: Path, revision: str) -> str | None:
    if is_commit(revision):
        return revision
    reference = folder / "refs" / revision
    if ".." in Path(revision).parts or not reference.is_file():
        return None
    return reference.read_text(encoding="ascii").strip()


def _parts(folder: Path) -> frozenset[str]:
    """The files that the weights are divided into, as transformers' index of them says; none without one."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return frozenset()
    return frozenset(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())


def _listed_files(tree: Path) -> tuple[str, ...]:
    """Every file of the commit; empty where no list was kept or it is of a form not known here."""
    if not tree.is_file():
        return ()
    listing = json.loads(tree.read_text(encoding="utf-8"))
    return tuple(listing["files"]) if listing.get("format_version") == 1 else ()
