"""From the entities a file names to the entities a recipe wants."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rankfold.data.examples import EntityExample, Span
from rankfold.data.result import Notes, ReadResult
from rankfold.errors import DataError


@dataclass(frozen=True)
class NamedEntity:
    """An entity as a file has it: characters `start` to `end` (exclusive), and every name of its kind.

    The first name is the file's own label; more follow where a format has synonyms.
    """

    start: int
    end: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class NamedExample:
    """A text as a file has it; `where` is its `path:line`."""

    id: str
    where: str
    text: str
    entities: tuple[NamedEntity, ...]


def label_entities(
    examples: Iterable[NamedExample],
    wanted: Sequence[str],
    *,
    path: str,
    repaired: Counter[str],
    demand_labels: bool = True,
) -> ReadResult[EntityExample]:
    """Give each entity the first wanted label among its names, and drop those that have none.

    With nothing wanted, an entity's first name is its label. `repaired` is read after the last example:
    whoever yields the examples counts there.

    Raises:
        DataError: Offsets outside the text, an id that comes twice, no examples, or, unless
            `demand_labels` is off, a wanted label that no entity has.
    """
    notes = Notes()
    labelled: dict[str, EntityExample] = {}
    for named, example in iterate(examples, wanted, notes, repaired):
        if example.id in labelled:
            raise DataError(
                f"the id {example.id!r} comes twice",
                where=named.where,
                remedy="Make every `id` unique, or leave `id` out to use line numbers.",
            )
        labelled[example.id] = example
    if not labelled:
        raise empty(path)
    if demand_labels:
        check_labels(wanted, notes.names, path, "entity")
    return ReadResult.of(labelled.values(), wanted, notes)


def iterate(
    examples: Iterable[NamedExample], wanted: Sequence[str], notes: Notes, repaired: Counter[str]
) -> Iterator[tuple[NamedExample, EntityExample]]:
    """Yield each example as a file has it and as it is learned; errors as `label_entities`, but for ids.

    What the parser counts in `repaired` while it makes an example is noted as that example's.
    """
    before = Counter[str]()
    for named in examples:
        notes.repaired.add_all(repaired - before, named.where)
        before = repaired.copy()
        dropped = Counter[str]()
        spans = _spans(named, wanted, dropped)
        notes.dropped.add_all(dropped, named.where)
        notes.names.update((name, None) for entity in named.entities for name in entity.names)
        notes.labels.update((entity.names[0], None) for entity in named.entities)
        yield named, EntityExample(named.id, named.text, spans)
    notes.repaired.add_all(repaired - before)


def empty(path: str) -> DataError:
    """Return the error for a data set without a single example that can be used."""
    return DataError(
        "no examples in this data set",
        where=path,
        remedy="Check that it is the right file and that `format` in the recipe fits it.",
    )


def _spans(example: NamedExample, wanted: Sequence[str], dropped: Counter[str]) -> tuple[Span, ...]:
    spans: set[Span] = set()
    for entity in example.entities:
        _check_offsets(entity, example)
        label = _choose(entity.names, wanted)
        if label is None:
            dropped["label_not_wanted"] += 1
            continue
        span = Span(entity.start, entity.end, label)
        dropped["duplicate_entity"] += span in spans
        spans.add(span)
    return tuple(sorted(spans))


def _choose(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    if not wanted:
        return names[0]
    return next((label for label in wanted if label in names), None)


def _check_offsets(entity: NamedEntity, example: NamedExample) -> None:
    if 0 <= entity.start < entity.end <= len(example.text):
        return
    raise DataError(
        f"an entity from character {entity.start} to {entity.end} does not fit a text of "
        f"{len(example.text)} characters",
        where=example.where,
        remedy="Offsets count characters (not bytes) from 0; the end is exclusive.",
    )


def check_labels(wanted: Sequence[str], there: Iterable[str], path: str, what: str) -> None:
    """Refuse a wanted label that nothing has: no `what`, an entity or an example; DataError."""
    names = dict.fromkeys(there)
    missing = [label for label in wanted if label not in names]
    if missing:
        raise DataError(
            f"no {what} has the label {', '.join(missing)}; the labels here are: "
            f"{', '.join(names) or 'none'}",
            where=path,
            remedy="Choose `data.labels` in the recipe from the labels that are here.",
        )
