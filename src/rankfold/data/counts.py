"""What prepare says of the data: how much of everything there is, and what was left out or put right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rankfold.data.result import Tally
from rankfold.data.sides import Splits

if TYPE_CHECKING:
    from rankfold.data.examples import Example
    from rankfold.data.features import Features
    from rankfold.data.pieces import Tokenise

SOURCE = "source"
"""The side of what was dropped before one file was divided."""


@dataclass
class Counts:
    """What a side, or one of several training sets, came to."""

    num_examples: int = 0
    num_features: int = 0
    num_tokens: int = 0
    num_truncated: int = 0
    dropped: Tally = field(default_factory=Tally)
    repaired: Tally = field(default_factory=Tally)

    @classmethod
    def of(cls, splits: Splits, side: str) -> Counts:
        """What reading and cleaning have dropped and repaired, before anything was tokenised."""
        first = splits.first.get(side, {})
        dropped, repaired = splits.dropped.get(side, {}), splits.repaired.get(side, {})
        return cls(dropped=Tally.of(dropped, first), repaired=Tally.of(repaired, first))

    def add(
        self, examples: Sequence[Example], features: Features, *, named_by: Tokenise | None = None
    ) -> None:
        """Count examples and the features made of them.

        With `named_by`, which makes features of an example again, the first examples of each loss are named.
        """
        self.num_examples += len(examples)
        self.num_features += len(features)
        self.num_tokens += features.num_tokens
        self.num_truncated += features.num_truncated
        self.dropped.add_all(features.dropped)
        self.repaired.add_all(features.repaired)
        if named_by is not None:
            _name_first(self.dropped, features.dropped, examples, lambda one: named_by([one]).dropped)
            _name_first(self.repaired, features.repaired, examples, lambda one: named_by([one]).repaired)

    @property
    def first(self) -> dict[str, list[str]]:
        """Reason → the first examples that were dropped or repaired for it, as far as they are known."""
        return {**self.dropped.first, **self.repaired.first}

    def join(self, other: Counts) -> None:
        """Add what another one counted."""
        self.num_examples += other.num_examples
        self.num_features += other.num_features
        self.num_tokens += other.num_tokens
        self.num_truncated += other.num_truncated
        self.dropped.join(other.dropped)
        self.repaired.join(other.repaired)

    def to_json(self) -> dict[str, Any]:
        """As the summary has it, but for repairs."""
        numbers = {name: value for name, value in vars(self).items() if name.startswith("num_")}
        return {**numbers, "dropped": dict(self.dropped.counts)}


def _name_first(
    tally: Tally,
    lost: Mapping[str, int],
    examples: Iterable[Example],
    losses_of: Callable[[Example], Mapping[str, int]],
) -> None:
    """Find the first examples behind a piece's losses, of which features only say how many there are."""
    unnamed = +Counter({reason: number for reason, number in lost.items() if tally.wants_places(reason)})
    for example in examples:
        if not unnamed:
            return
        for reason, number in losses_of(example).items():
            if number and reason in unnamed:
                tally.place(reason, f"id {example.id}")
                unnamed[reason] -= number if tally.wants_places(reason) else unnamed[reason]
        unnamed = +unnamed


def total(sets: Mapping[str, Counts]) -> Counts:
    """The counts of all training sets together."""
    whole = Counts()
    for one in sets.values():
        whole.join(one)
    return whole


def summarise(splits: Splits, sides: Mapping[str, Counts], sets: Mapping[str, Counts]) -> dict[str, Any]:
    """The part of the summary that says what there is of each side and training set.

    `repaired` maps a side to what was put right in it; `sources` is there where training sets are mixed.
    """
    repaired = {SOURCE: dict(splits.repaired.get(SOURCE, {}))}
    repaired |= {side: dict(counts.repaired.counts) for side, counts in sides.items()}
    summary: dict[str, Any] = {
        "dropped_before_split": dict(splits.dropped.get(SOURCE, {})),
        "repaired": {side: reasons for side, reasons in repaired.items() if reasons},
        **{side: counts.to_json() for side, counts in sides.items()},
    }
    weights = {one.name: one.weight for one in splits.train_sets}
    if len(sets) > 1 or set(weights.values()) != {1.0}:
        summary["sources"] = {
            name: {
                "weight": weights[name],
                **counts.to_json(),
                "repaired": dict(counts.repaired.counts),
            }
            for name, counts in sets.items()
        }
    return summary


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """The summary as prepare prints it."""
    lines, dropped = [], {SOURCE: summary["dropped_before_split"]}
    for side in ("train", "validation", "test"):
        if side in summary:
            counts = summary[side]
            dropped[side] = counts["dropped"]
            lines.append(f"{side}: {_amounts(counts)}; {counts['num_truncated']:,} truncated at max_length")
            if side == "train":
                lines += [
                    f"  {name}, weight {one['weight']:g}: {_amounts(one)}"
                    for name, one in summary.get("sources", {}).items()
                ]
    for kind, sides in (("dropped from", dropped), ("repaired in", summary["repaired"])):
        for side, reasons in sides.items():
            lines += [f"{kind} {side}: {count:,} × {reason}" for reason, count in reasons.items()]
    return lines


def _amounts(counts: Mapping[str, Any]) -> str:
    return (
        f"{counts['num_examples']:,} examples, {counts['num_features']:,} features, "
        f"{counts['num_tokens']:,} tokens"
    )
