"""Which examples a report shows, and in which order."""

from collections.abc import Mapping
from dataclasses import dataclass

from rankfold.report.facts import EntityResult, ExampleResult, RunFacts, TextResult, VariantFacts
from rankfold.report.marks import marks_of

MAX_EXAMPLES = 100
"""Examples in one report; details.jsonl has all of them."""


@dataclass(frozen=True)
class Verdict:
    """An example in numbers: marks by kind, and the predicted entities that are not in the text."""

    right: int
    missed: int
    wrong: int
    invented: int

    @property
    def num_mistakes(self) -> int:
        return self.missed + self.wrong + self.invented


def verdict_of(result: ExampleResult) -> Verdict:
    """Count what is right and what is not in an example."""
    kinds = [mark.kind for mark in marks_of(result)]
    return Verdict(
        right=kinds.count("right"),
        missed=kinds.count("missed"),
        wrong=kinds.count("wrong"),
        invented=len(result.invented) if isinstance(result, EntityResult) else 0,
    )


def score_of(result: ExampleResult) -> float:
    """How good an example is, 0..1: its F1, or its task's own score; 1 where nothing can be wrong."""
    if isinstance(result, TextResult):
        return 1.0 if result.score is None else result.score
    return result.f1


def worst_first(variant: VariantFacts) -> tuple[ExampleResult, ...]:
    """At most MAX_EXAMPLES: lowest score, then most mistakes, then the data set's order."""
    return tuple(
        sorted(variant.examples, key=lambda result: (score_of(result), -verdict_of(result).num_mistakes))
    )[:MAX_EXAMPLES]


def parse_failures(variant: VariantFacts) -> tuple[EntityResult, ...]:
    """The examples whose generated text could not be read as entities, in the data set's order."""
    return tuple(
        result for result in variant.examples if isinstance(result, EntityResult) and result.parse_failure
    )


def scores_before(facts: RunFacts) -> Mapping[str, float]:
    """Score of every example under the base model, by id; empty unless both models were evaluated."""
    if facts.base is None or facts.fine_tuned is None:
        return {}
    return {result.id: score_of(result) for result in facts.base.examples}
