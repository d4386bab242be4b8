"""Tags of tokens: O, and for each label B- for an entity's first token and I- for the others."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rankfold.data.examples import Span

OUTSIDE = 0
"""The id of O. Label `i` of the data set has the ids 2i + 1 for B- and 2i + 2 for I-."""


@dataclass(frozen=True)
class TaggedText:
    """The tag of each token of a text, and what tags cannot say: reason → entities.

    Attributes:
        dropped: Entities that no tag stands for.
        repaired: Entities that begin or end inside a token, which tags widen to whole tokens.
    """

    tags: list[int]
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)


def tag_names(labels: Sequence[str]) -> list[str]:
    """Return the name of each tag by its id, such as O, B-person, I-person."""
    return ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]


def tag_entities(
    entities: Sequence[Span], starts: Sequence[int], ends: Sequence[int], labels: Sequence[str]
) -> TaggedText:
    """Tag the tokens of a text.

    An entity has the tokens whose characters overlap it. A token has one tag, so of entities that share a
    token only one is kept: the longest in characters, then the one that starts first, then the label that
    sorts first.

    Args:
        entities: The entities of the text.
        starts: First character of each token, ascending.
        ends: Character after each token, ascending.
        labels: The data set's labels, in the order of the tags.
    """
    text = TaggedText([OUTSIDE] * len(starts))
    for span in sorted(entities, key=lambda span: (span.start - span.end, span)):
        first, stop = bisect_right(ends, span.start), bisect_left(starts, span.end)
        if first >= stop:
            text.dropped["entity_without_a_token"] += 1
        elif any(text.tags[first:stop]):
            text.dropped["entity_overlaps_a_longer_one"] += 1
        else:
            begin = 2 * labels.index(span.label) + 1
            text.tags[first:stop] = [begin] + [begin + 1] * (stop - first - 1)
            if (starts[first], ends[stop - 1]) != (span.start, span.end):
                text.repaired["entity_border_inside_a_token"] += 1
    return text
