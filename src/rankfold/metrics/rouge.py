"""ROUGE of a text against its reference, with words that Chinese and Japanese have too.

ROUGE-1, -2 and -L (Lin, 2004) as the package rouge-score computes them without a stemmer. Its own
tokenizer drops every letter outside of a-z, so that two Chinese texts have nothing to compare, and it takes
three seconds to import. Here a word is a run of letters, with their signs, and digits of any script, and a
character of a script without spaces is a word of its own.
"""

import re
from collections import Counter
from collections.abc import Sequence

from rankfold.metrics.counts import ratio

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, kana and Chinese characters: scripts without spaces between words."""

_SIGNS = "\u0300-\u036f\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
"""Accents, vowel signs of Hebrew and Arabic, and India's scripts: `\\w` leaves their signs out of words."""

_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}](?:[^\W_{UNSPACED}]|[{_SIGNS}])*")


def rouge_words(text: str) -> list[str]:
    """Words in lower case; the same as rouge-score's where all letters are a-z."""
    return _WORD.findall(text.lower())


def rouge_scores(predicted: str, reference: str) -> dict[str, float]:
    """Return the F1 (0..1) of ROUGE-1, ROUGE-2 and ROUGE-L; 0 where either has no words."""
    ours, wanted = rouge_words(predicted), rouge_words(reference)
    return {
        "rouge1": _n_gram_f1(ours, wanted, 1),
        "rouge2": _n_gram_f1(ours, wanted, 2),
        "rougeL": _f1(_longest_common_subsequence(ours, wanted), len(ours), len(wanted)),
    }


def _n_gram_f1(predicted: Sequence[str], reference: Sequence[str], n: int) -> float:
    ours, wanted = _n_grams(predicted, n), _n_grams(reference, n)
    return _f1((ours & wanted).total(), ours.total(), wanted.total())


def _n_grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def _f1(common: int, num_predicted: int, num_reference: int) -> float:
    return ratio(2 * common, num_predicted + num_reference) if common else 0.0


def _longest_common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Return its length; a column of the usual table is the bits of one integer.

    Hyyrö, "Bit-parallel LCS-length computation revisited" (2004): a bit that is 0 is a step of the table.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(left)) - 1
    column = everything
    for word in right:
        matched = column & places.get(word, 0)
        column = ((column + matched) | (column - matched)) & everything
    return len(left) - column.bit_count()
