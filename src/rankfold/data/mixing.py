"""Several training sets as one: how often the examples of each come in an epoch."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from rankfold.data.examples import Example

ExampleT = TypeVar("ExampleT", bound=Example)
T = TypeVar("T")

MAIN = "train"
"""What the training set is called beside those it is mixed with."""


@dataclass(frozen=True)
class Weighted:
    """The examples of a training set, as often as its weight says; iterable again and again.

    The whole part of the weight repeats all of them, in order; the fraction adds a choice. Ids get the name
    of the set and, from the second time on, a number in front: `faq:17`, `faq#2:17`. Names hold neither sign,
    so ids stay unique over all sets.

    Attributes:
        examples: Iterable again and again.
        name: The name of the set.
        weight: How often each example comes.
        seed: Of the choice.
    """

    examples: Iterable[Example]
    name: str
    weight: float
    seed: int

    def __iter__(self) -> Iterator[Example]:
        whole = int(self.weight)
        for copy in range(whole):
            yield from self._named(self.examples, copy)
        share = self.weight - whole
        if share:
            yield from self._named(choose(self.examples, share, self.seed), whole)

    def _named(self, examples: Iterable[ExampleT], copy: int) -> Iterator[ExampleT]:
        prefix = self.name if copy == 0 else f"{self.name}#{copy + 1}"
        for example in examples:
            yield replace(cast(Any, example), id=f"{prefix}:{example.id}")


def choose(items: Iterable[T], share: float, seed: int) -> Iterator[T]:
    """Yield a share of the items, in order: one by chance of every 1 / share neighbours.

    Of n items that is n * share, rounded up or down, though n need not be known: what is read a piece at a
    time is chosen from as what is read as a whole.
    """
    generator = random.Random(seed)  # noqa: S311 (no secret depends on it)
    chosen = 0
    wanted = generator.random() / share
    for index, item in enumerate(items):
        if index >= int(wanted):
            yield item
            chosen += 1
            wanted = (chosen + generator.random()) / share
