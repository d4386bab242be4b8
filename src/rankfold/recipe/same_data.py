"""Whether two sources name the same data, however they spell it; nothing is read, no hub is asked."""

import os

from rankfold.hub_cache import data_repository
from rankfold.recipe.schema import HUB_PREFIX, Source


def is_same_data(one: Source, split: str, other: Source, other_split: str) -> bool:
    """Whether a split of one source is that of another; of files, which have no splits, whether they are one.

    A link is what it leads to, and a data set on the hub without a revision is that of the default branch. A
    commit is not looked up: it differs from a branch, though the branch may be at it today.
    """
    return _named(one) == _named(other) and (not one.is_on_hub or split == other_split)


def _named(source: Source) -> tuple[object, ...]:
    if not source.is_on_hub:
        return "file", _resolved(source.path)
    repository = data_repository(source.path)
    if repository is None:
        return "folder", _resolved(source.path.removeprefix(HUB_PREFIX))
    return "hub", repository.name, repository.revision


def _resolved(path: str) -> str:
    # Path.resolve would raise on links that lead in a circle; what is wrong with a path, its reader says.
    return path if "\0" in path else os.path.realpath(path)
