"""The ways to count entities that a report explains."""

from dataclasses import dataclass

GENERATED_ONLY = frozenset({"entity_f1_aligned_only", "unaligned_rate", "parse_failure_rate"})
"""These say something only where a language model writes the entities; elsewhere they are left out."""


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
