"""One way in for every format: a recipe's source becomes examples."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rankfold.data import ccfbdci, conll, hub, spans, squad
from rankfold.data.examples import Example
from rankfold.data.files import read_lines
from rankfold.data.labelling import NamedExample, label_entities
from rankfold.data.result import ReadResult
from rankfold.recipe.schema import Source


def read_examples(
    source: Source,
    labels: Sequence[str] = (),
    *,
    hub_split: str | None = None,
    demand_labels: bool = True,
) -> ReadResult[Example]:
    """Read a data set.

    Args:
        source: Where it is, and its format.
        labels: Entity labels wanted; none wants all. Questions have no labels.
        hub_split: For a `hub:` source, the split to read; empty for its `train_split`.
        demand_labels: Whether a wanted label that no entity has is an error. Off for a test set,
            which need not hold every label.

    Raises:
        DataError: The data set is missing, broken or empty; says where and what to do.
    """
    if source.is_on_hub:
        return hub.read_hub(source, hub_split or source.train_split)
    path = Path(source.path)
    if source.format == "squad":
        return squad.read(path)
    repaired: Counter[str] = Counter()
    examples = _named_examples(source.format, path, repaired)
    return label_entities(examples, labels, path=source.path, repaired=repaired, demand_labels=demand_labels)


def count_examples(source: Source) -> int | None:
    """Return how many examples a file has before any is dropped; None for the hub.

    Raises:
        DataError: The file is missing or unreadable.
    """
    if source.is_on_hub:
        return None
    path = Path(source.path)
    if source.format == "squad":
        return squad.count(path)
    if source.format == "conll":
        return sum(1 for _ in conll.read_sentences(path))
    return sum(1 for _, line in read_lines(path) if line.strip())


def _named_examples(format_name: str, path: Path, repaired: Counter[str]) -> Iterator[NamedExample]:
    if format_name == "ccfbdci":
        return ccfbdci.parse(path, repaired)
    if format_name == "conll":
        return conll.parse(path, repaired)
    return spans.parse(path)
