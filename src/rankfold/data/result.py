"""What reading a data set gives, whatever its format."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rankfold.data.examples import Example

ExampleT_co = TypeVar("ExampleT_co", bound=Example, covariant=True)

NUM_FIRST = 3
"""Examples named of each reason: enough to find them, few enough to read."""


@dataclass
class Tally:
    """What was left out, or put right: reason → count, and reason → where the first ones are."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, counts: Mapping[str, int], first: Mapping[str, Sequence[str]]) -> "Tally":
        """What was counted before."""
        return cls(Counter(counts), {reason: list(first.get(reason, ())) for reason in counts})

    def add(self, reason: str, where: str = "", number: int = 1) -> None:
        """Count what happened `number` times; `where` names the example, empty where nobody knows it."""
        if not number:
            return
        self.counts[reason] += number
        self.place(reason, where)

    def place(self, reason: str, where: str) -> None:
        """Name an example of what was counted, if it is among the first."""
        places = self.first.setdefault(reason, [])
        if where and len(places) < NUM_FIRST and where not in places:
            places.append(where)

    def wants_places(self, reason: str) -> bool:
        """Whether fewer examples of it are named than may be."""
        return len(self.first.get(reason, ())) < NUM_FIRST

    def add_all(self, counts: Mapping[str, int], where: str = "") -> None:
        """Count what was counted before."""
        for reason, number in counts.items():
            self.add(reason, where, number)

    def join(self, other: "Tally") -> None:
        """Add what another one counted."""
        for reason, number in other.counts.items():
            self.add(reason, "", number)
            places = self.first[reason]
            places.extend(other.first.get(reason, ())[: NUM_FIRST - len(places)])


@dataclass
class Notes:
    """What is noted while a data set is read, an example after the other.

    Attributes:
        labels: Those found, wanted or not, in order of first appearance.
        names: Whatever a label could have been wanted by: the labels and their synonyms.
        groups: Example's id → what it is kept together by; empty unless asked for.
    """

    dropped: Tally = field(default_factory=Tally)
    repaired: Tally = field(default_factory=Tally)
    labels: dict[str, None] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadResult(Generic[ExampleT_co]):
    """The examples of a data set in file order, and what was done to get them.

    Attributes:
        examples: At least one.
        labels: The wanted labels, or those found, in order of first appearance; none for questions.
        dropped: What was left out: reason → count.
        repaired: What was put right on the way: what → count.
        first: Of either, as far as it is known: reason → where the first ones are.
        groups: Example's id → what it is kept together by; empty unless asked for.
        found: All labels that are there, wanted or not, and their synonyms.
    """

    examples: tuple[ExampleT_co, ...]
    labels: tuple[str, ...]
    dropped: Mapping[str, int]
    repaired: Mapping[str, int]
    first: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    found: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, examples: Iterable[ExampleT_co], labels: Sequence[str], notes: Notes
    ) -> "ReadResult[ExampleT_co]":
        """What was read, with all that was noted on the way; `labels` are those wanted."""
        return cls(
            tuple(examples),
            tuple(labels) or tuple(notes.labels),
            dict(+notes.dropped.counts),
            dict(+notes.repaired.counts),
            {**notes.dropped.first, **notes.repaired.first},
            notes.groups,
            tuple(notes.names),
        )
