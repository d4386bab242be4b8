"""From the entities a file names to the entities a recipe wants."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rankfold.data.examples import EntityExample, Span
from rankfold.data.result import ReadResult
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
    labelled: dict[str, EntityExample] = {}
    names: dict[str, None] = {}
    found: dict[str, None] = {}
    dropped: Counter[str] = Counter()
    for example in examples:
        if example.id in labelled:
            raise DataError(
                f"the id {example.id!r} comes twice",
                where=example.where,
                remedy="Make every `id` unique, or leave `id` out to use line numbers.",
            )
        spans = _spans(example, wanted, dropped)
        labelled[example.id] = EntityExample(example.id, example.text, spans)
        names.update((name, None) for entity in example.entities for name in entity.names)
        found.update((entity.names[0], None) for entity in example.entities)
    if not labelled:
        raise empty(path)
    if demand_labels:
        _check_every_label_is_there(wanted, list(names), path)
    labels = tuple(wanted) or tuple(found)
    return ReadResult(tuple(labelled.values()), labels, dict(+dropped), dict(+repaired))


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


def _check_every_label_is_there(wanted: Sequence[str], there: Sequence[str], path: str) -> None:
    missing = [label for label in wanted if label not in there]
    if missing:
        raise DataError(
            f"no entity has the label {', '.join(missing)}; the labels here are: "
            f"{', '.join(there) or 'none'}",
            where=path,
            remedy="Choose `data.labels` in the recipe from the labels that are here.",
        )
