"""SQuAD v1.1 and v2.0, to the last bit of the official scripts.

Rajpurkar et al. 2016 (v1.1) and 2018 (v2.0); the scripts are evaluate-v1.1.py and evaluate-v2.0.py.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping

from rankfold.data.examples import QuestionExample
from rankfold.metrics.answers import (
    AnswerScore,
    AnswerScores,
    best_score,
    gold_answers,
    mean_percentages,
    score_each,
)

# ASCII punctuation only: the scripts keep “curly quotes” and Chinese full stops, and so do we.
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lower the text, drop ASCII punctuation, then English articles, then surplus white space.

    The order matters: "a." loses its full stop first and is then an article.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def score_answer(prediction: str, gold: str, *, version_2_with_negative: bool) -> AnswerScore:
    """Compare a prediction with one gold answer: equality and bag-of-words F1 after normalisation.

    Where both are empty after normalisation ("the" and "a the"), F1 is 0 in v1.1 and 1 in v2.0,
    while exact match is 1 in both.
    """
    normal_prediction, normal_gold = normalize_answer(prediction), normalize_answer(gold)
    exact_match = int(normal_prediction == normal_gold)
    prediction_tokens, gold_tokens = normal_prediction.split(), normal_gold.split()
    if version_2_with_negative and not (prediction_tokens and gold_tokens):
        return AnswerScore(exact_match, float(prediction_tokens == gold_tokens))
    num_same = (Counter(prediction_tokens) & Counter(gold_tokens)).total()
    if num_same == 0:
        return AnswerScore(exact_match, 0.0)
    # Not 2 × same / (both lengths): that is the same number, rounded differently in the last bit.
    precision = num_same / len(prediction_tokens)
    recall = num_same / len(gold_tokens)
    return AnswerScore(exact_match, (2 * precision * recall) / (precision + recall))


def squad_scores(
    predictions: Mapping[str, str],
    references: Iterable[QuestionExample],
    *,
    version_2_with_negative: bool,
) -> AnswerScores:
    """Score predicted answers (example id → text) against the gold answers of every example.

    The metrics are exact_match, f1 and total; with `version_2_with_negative` also HasAns_exact,
    HasAns_f1, HasAns_total, NoAns_exact, NoAns_f1 and NoAns_total, which the official script leaves
    out, and which are zero here, where there is no such question.

    Raises:
        DataError: Two examples have the same id, or a v1.1 question has no gold answer.
        OperationalError: An example has no prediction.
    """

    def score(prediction: str, example: QuestionExample) -> AnswerScore:
        golds = _golds_or_none(example) if version_2_with_negative else gold_answers(example)
        return best_score(
            prediction,
            golds,
            lambda text, gold: score_answer(text, gold, version_2_with_negative=version_2_with_negative),
        )

    references = list(references)
    per_example = score_each(predictions, references, score)
    metrics = _named("", "exact_match", per_example.values())
    if version_2_with_negative:
        answerable = [per_example[example.id] for example in references if example.answers]
        unanswerable = [per_example[example.id] for example in references if not example.answers]
        metrics |= _named("HasAns_", "exact", answerable) | _named("NoAns_", "exact", unanswerable)
    return AnswerScores(per_example, metrics)


def _golds_or_none(example: QuestionExample) -> list[str]:
    """Gold answers with words in them; only "" is right for a question that has none."""
    golds = [answer.text for answer in example.answers]
    return [gold for gold in golds if normalize_answer(gold)] or [""]


def _named(prefix: str, exact_name: str, scores: Iterable[AnswerScore]) -> dict[str, float]:
    exact_match, f1, total = mean_percentages(scores)
    return {f"{prefix}{exact_name}": exact_match, f"{prefix}f1": f1, f"{prefix}total": total}
