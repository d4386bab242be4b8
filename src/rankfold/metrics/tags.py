"""Scores of tag sequences (BIO, BIOES and their kin), the same as the package seqeval gives.

Tags are read in one of two ways. Leniently, as conlleval does and as seqeval does unless told otherwise:
a tag that does not continue the entity before it starts one, so every sequence can be read. Strictly, by a
scheme: what the scheme does not allow is no entity. seqeval's own differences are kept, but for one: the
letters of BMES and BILOU are those of BIOES by other names (M is I, L is E, U is S) in both ways, where
seqeval reads them strictly only, warns of them leniently and then joins what should be two entities.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from rankfold.errors import DataError
from rankfold.metrics.counts import (
    LabelCounts,
    label_metrics,
    macro_average,
    weighted_average,
)

SchemeName = Literal["IOB2", "IOE2", "IOBES", "BILOU", "BMES"]


@dataclass(frozen=True)
class _Scheme:
    """How tags make entities: letters that may start one, may be followed, may follow, may end one."""

    letters: str
    starts: str
    followed: str
    following: str
    ends: str


_IOBES = _Scheme("BIES", starts="BS", followed="BI", following="IE", ends="ES")
_SCHEMES: Mapping[str | None, _Scheme] = MappingProxyType(
    {
        None: _Scheme("BIES", starts="BIES", followed="BI", following="IE", ends="BIES"),
        "IOB2": _Scheme("BI", starts="B", followed="BI", following="I", ends="BI"),
        "IOE2": _Scheme("IE", starts="IE", followed="I", following="IE", ends="E"),
        "IOBES": _IOBES,
        "BILOU": _IOBES,
        "BMES": _IOBES,
    }
)
_OTHER_NAMES = str.maketrans("MLU", "IES")


class TaggedEntity(NamedTuple):
    """An entity of tokens `start` (inclusive) to `end` (exclusive)."""

    start: int
    end: int
    label: str


class _Tag(NamedTuple):
    letter: str
    label: str


def read_tags(tags: Sequence[str], scheme: SchemeName | None = None) -> list[TaggedEntity]:
    """Return the entities of one sequence of tags, from left to right; leniently without a scheme.

    A tag without a label, such as "B", has the label "_", as in seqeval.

    Raises:
        DataError: A tag is none, or none of the scheme.
    """
    rules = _SCHEMES[scheme]
    read = [_read_tag(tag, rules, scheme) for tag in tags]
    entities, start = [], 0
    while start < len(read):
        end = start + 1
        if read[start].letter in rules.starts:
            while end < len(read) and _continues(read[end - 1], read[end], rules):
                end += 1
            if read[end - 1].letter in rules.ends:
                entities.append(TaggedEntity(start, end, read[start].label))
        start = end
    return entities


def count_tags(
    gold: Sequence[str], predicted: Sequence[str], scheme: SchemeName | None = None
) -> LabelCounts:
    """Count the entities of one sequence; right means the same tokens and the same label.

    Raises:
        DataError: The sequences differ in length, or a tag is none of the scheme.
    """
    if len(gold) != len(predicted):
        raise DataError(
            f"{len(gold)} gold tags but {len(predicted)} predicted ones; each token needs one of each",
            remedy="Give both sequences one tag a token.",
        )
    gold_entities, predicted_entities = set(read_tags(gold, scheme)), set(read_tags(predicted, scheme))
    return LabelCounts(
        gold=Counter(entity.label for entity in gold_entities),
        predicted=Counter(entity.label for entity in predicted_entities),
        correct=Counter(entity.label for entity in gold_entities & predicted_entities),
    )


def tag_metrics(counts: LabelCounts, labels: Iterable[str] = ()) -> dict[str, Any]:
    """Return micro, macro, weighted and per-label precision, recall and F1 (0..1), and counts.

    Args:
        counts: The sum of the counts of every sequence.
        labels: Labels to list first and even where they never occur.
    """
    return {
        **counts.total.scores.named("micro_"),
        **macro_average(counts).named("macro_"),
        **weighted_average(counts).named("weighted_"),
        **vars(counts.total),
        "per_label": label_metrics(counts, labels),
    }


def _read_tag(tag: str, rules: _Scheme, scheme: SchemeName | None) -> _Tag:
    letter, label = tag[:1].translate(_OTHER_NAMES), tag[2:] or "_"
    if tag == "O" or (letter and letter in rules.letters and tag[1:2] in ("", "-")):
        return _Tag(letter, label)
    allowed = " or ".join(f"{letter}-LABEL" for letter in rules.letters)
    raise DataError(
        f"{tag!r} is no tag of {scheme or 'BIOES, BMES or BILOU'}; allowed are O, {allowed}",
        remedy="Write tags as O or as a letter, a hyphen and a label, or choose the scheme they are of.",
    )


def _continues(before: _Tag, tag: _Tag, rules: _Scheme) -> bool:
    return before.letter in rules.followed and tag.letter in rules.following and before.label == tag.label
