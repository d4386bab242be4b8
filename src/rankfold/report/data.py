"""What prepare made of the data, as the short report shows it."""

from collections.abc import Iterator, Mapping

from rankfold.report.facts import DataFacts, RunFacts, SplitFacts
from rankfold.report.formats import format_count
from rankfold.report.terminal import inline, table

_HEAD = ("data", "examples", "features", "tokens", "truncated", "dropped")


def data_lines(facts: RunFacts) -> list[str]:
    """How much there is of each side and source, and why anything was dropped or repaired."""
    data = facts.data
    if data is None:
        return []
    notes = [inline(note) for note in _notes(data)]
    return ["## Data", "", *table([_HEAD, *_rows(data)]), *([""] if notes else []), *notes]


def _rows(data: DataFacts) -> Iterator[tuple[str, ...]]:
    for split in data.splits:
        yield _row(split.name, split)
        if split.name == "train":
            for source in data.sources:
                name = f"of it {source.counts.name}, weight {source.weight:g}"
                yield _row(name, source.counts)


def _row(name: str, split: SplitFacts) -> tuple[str, ...]:
    numbers = (split.num_examples, split.num_features, split.num_tokens, split.num_truncated)
    return (inline(name), *map(format_count, (*numbers, sum(split.dropped.values()))))


def _notes(data: DataFacts) -> Iterator[str]:
    dropped = {split.name: split.dropped for split in data.splits}
    for kind, sides in (
        ("dropped from", {"source": data.dropped_before_split, **dropped}),
        ("repaired in", data.repaired),
    ):
        yield from (f"- {kind} {side}: {_reasons(reasons)}" for side, reasons in sides.items() if reasons)
    if data.packing:
        packing = data.packing
        yield (
            f"- {format_count(packing.num_examples)} training examples packed into "
            f"{format_count(packing.num_rows)} rows, {100 * packing.fill_share:.1f} % full"
        )


def _reasons(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{format_count(count)} × {reason}" for reason, count in reasons.items())
