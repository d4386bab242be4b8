"""CMRC 2018: exact match and F1 for answers in Chinese, where words have no spaces between them.

Cui et al. 2019, "A Span-Extraction Dataset for Chinese Machine Reading Comprehension": every Chinese
character is a token, a Latin word is a token, and the overlap is the longest common run of tokens.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from rankfold.data.examples import QuestionExample
from rankfold.metrics.answers import (
    AnswerScore,
    AnswerScores,
    best_score,
    gold_answers,
    mean_percentages,
    score_each,
)

# The punctuation that CMRC's script ignores, and no more: commas and full stops of ASCII count.
# "…" is missing on purpose: the script lists it doubled, and so never removes the single character.
_PUNCTUATION = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")

# One Chinese character; or a word, which "±", "×" and "％" are part of, and so are a full stop, an
# apostrophe or a thousands' comma inside it ("3.5", "o'brien", "1,000"); or a single symbol.
_WORD = r"""[^\s\u4e00-\u9fa5!"#$%&'(),.;<>?@\[\]{}\u2013\u2014]+"""
_TOKEN = re.compile(rf"[\u4e00-\u9fa5]|{_WORD}(?:(?:[.']|(?<=\d),(?=\d)){_WORD})*|\.{{3}}|\S")


def remove_punctuation(text: str) -> str:
    """Lower and strip the text, then drop CMRC's punctuation; inner white space stays."""
    return text.lower().strip().translate(_PUNCTUATION)


def segment(text: str) -> list[str]:
    """Split a text without punctuation into Chinese characters, Latin words and symbols.

    CMRC's script has NLTK split the Latin part; here it is one rule, without NLTK's treatment of
    English contractions and abbreviations, which hardly occur in Chinese answers.
    """
    return _TOKEN.findall(text)


def longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest contiguous run of tokens that both have."""
    longest = 0
    lengths = [0] * (len(second) + 1)  # lengths[j]: common run ending at this token and second[j - 1]
    for token in first:
        for j in range(len(second), 0, -1):
            lengths[j] = lengths[j - 1] + 1 if token == second[j - 1] else 0
        longest = max(longest, *lengths)
    return longest


def score_answer(prediction: str, gold: str) -> AnswerScore:
    """Compare a prediction with one gold answer: equality and longest-common-run F1."""
    bare_prediction, bare_gold = remove_punctuation(prediction), remove_punctuation(gold)
    exact_match = int(bare_prediction == bare_gold)
    prediction_tokens, gold_tokens = segment(bare_prediction), segment(bare_gold)
    num_same = longest_common_run(gold_tokens, prediction_tokens)
    if num_same == 0:
        return AnswerScore(exact_match, 0.0)
    precision = num_same / len(prediction_tokens)
    recall = num_same / len(gold_tokens)
    return AnswerScore(exact_match, (2 * precision * recall) / (precision + recall))


def cmrc_scores(predictions: Mapping[str, str], references: Iterable[QuestionExample]) -> AnswerScores:
    """Score predicted answers (example id → text); the metrics are exact_match, f1 and total.

    Raises:
        DataError: Two examples have the same id, or a question has no gold answer.
        OperationalError: An example has no prediction.
    """
    per_example = score_each(
        predictions,
        references,
        lambda prediction, example: best_score(prediction, gold_answers(example), score_answer),
    )
    exact_match, f1, total = mean_percentages(per_example.values())
    return AnswerScores(per_example, {"exact_match": exact_match, "f1": f1, "total": total})
