"""Every metric a report shows, and every way to count that it explains."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Attributes:
        better: Which way is up, or that there is none.
        main: Whether it stands in the score table, or below it among the other ways to count.
    """

    title: str
    decimals: int
    better: Literal["higher", "lower", "neither"]
    main: bool = True


METRICS = {
    "entity_f1": Metric("Entity F1", 3, "higher"),
    "entity_precision": Metric("Precision", 3, "higher"),
    "entity_recall": Metric("Recall", 3, "higher"),
    "entity_macro_f1": Metric("Macro F1", 3, "higher"),
    "entity_macro_precision": Metric("Macro precision", 3, "higher"),
    "entity_macro_recall": Metric("Macro recall", 3, "higher"),
    "entity_f1_aligned_only": Metric("F1 without unaligned", 3, "higher"),
    "unaligned_rate": Metric("Unaligned rate", 3, "lower"),
    "parse_failure_rate": Metric("Parse failure rate", 3, "lower"),
    "num_gold": Metric("Gold entities", 0, "neither"),
    "num_predicted": Metric("Predicted entities", 0, "neither"),
    "num_correct": Metric("Correct entities", 0, "higher"),
    "num_examples": Metric("Examples", 0, "neither"),
    "exact_match": Metric("Exact match", 2, "higher"),
    "f1": Metric("F1", 2, "higher"),
    "cmrc_exact_match": Metric("CMRC exact match", 2, "higher"),
    "cmrc_f1": Metric("CMRC F1", 2, "higher"),
    "HasAns_exact": Metric("Exact match, answerable", 2, "higher"),
    "HasAns_f1": Metric("F1, answerable", 2, "higher"),
    "NoAns_exact": Metric("Exact match, unanswerable", 2, "higher"),
    "NoAns_f1": Metric("F1, unanswerable", 2, "higher"),
    "total": Metric("Questions", 0, "neither"),
    "HasAns_total": Metric("Questions, answerable", 0, "neither"),
    "NoAns_total": Metric("Questions, unanswerable", 0, "neither"),
    "best_exact": Metric("Best exact match", 2, "higher", main=False),
    "best_exact_thresh": Metric("… at threshold", 4, "neither", main=False),
    "best_f1": Metric("Best F1", 2, "higher", main=False),
    "best_f1_thresh": Metric("… at threshold", 4, "neither", main=False),
}
"""In the order of the score table; scores of entities are in 0..1, those of answers in 0..100."""

GENERATED_ONLY = frozenset({"entity_f1_aligned_only", "unaligned_rate", "parse_failure_rate"})
"""These say something only where a language model writes the entities; elsewhere they are left out."""

ENTITY_HEADLINE = ("entity_f1", "entity_precision", "entity_recall")

HEADLINE_METRICS = {
    "generative_ner": ENTITY_HEADLINE,
    "token_classification": ENTITY_HEADLINE,
    "extractive_qa": ("exact_match", "f1", "cmrc_exact_match", "cmrc_f1"),
}
"""The scores at the top of a report; the first names the task's quality in one number."""


@dataclass(frozen=True)
class Way:
    """A way to count entities beside the strict one: `{prefix}precision`, `{prefix}recall`, `{prefix}f1`."""

    title: str
    prefix: str
    explanation: str


NERVALUATE = "nervaluate_"
"""Begins the keys of nervaluate's scores, which metrics.json has in an object of their own."""

WAYS = (
    Way("Lenient", "lenient_", "Same label and at least one character in common, one to one."),
    Way("Lenient, macro", "lenient_macro_", "Lenient F1 of each label, and their mean."),
    Way(
        "Surface, macro",
        "surface_macro_",
        "As CLUENER counts: the different strings of a label in a text, wherever they stand; F1 of each "
        "label, and their mean.",
    ),
    Way(
        "nervaluate strict",
        f"{NERVALUATE}strict_",
        "Same start, end and label. nervaluate pairs entities one after the other, as SemEval 2013 "
        "(task 9.1) did, and may so find fewer than the score table.",
    ),
    Way("nervaluate exact", f"{NERVALUATE}exact_", "Same start and end, whatever the label."),
    Way(
        "nervaluate partial",
        f"{NERVALUATE}partial_",
        "Same start and end, whatever the label; an overlap is worth half.",
    ),
    Way("nervaluate type", f"{NERVALUATE}ent_type_", "Same label and an overlap."),
)
