"""Scores of texts that a model wrote against what they should have been: BLEU, chrF, ROUGE, the same text.

BLEU and chrF are sacrebleu's. Both are computed from counts that add up over the examples, so that the
bootstrap resamples counts: a mean of the examples' own scores would be another score.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankfold.metrics.bootstrap import percentile_interval, resampled_sums
from rankfold.metrics.counts import mean
from rankfold.metrics.rouge import UNSPACED, rouge_scores

ROUGE = ("rouge1", "rouge2", "rougeL")

_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3040-\u30ff]")
_UNSPACED = re.compile(f"[{UNSPACED}]")


def same_text(predicted: str, reference: str) -> bool:
    """Whether two texts are equal but for white space around them."""
    return predicted.strip() == reference.strip()


def example_scores(predicted: str, reference: str) -> dict[str, float]:
    """Return the scores (0..1) of one text: its chrF as `score`, and what `rouge_scores` returns."""
    from sacrebleu.metrics.chrf import CHRF  # takes a quarter of a second, which a task need not

    chrf = float(CHRF().sentence_score(predicted, [reference]).score) / 100
    # Two empty texts have no characters in common, though nothing is wrong.
    score = 1.0 if same_text(predicted, reference) else chrf
    return {"score": score, **rouge_scores(predicted, reference)}


def bleu_tokenization(references: Iterable[str]) -> str:
    """Return how sacrebleu is to divide such texts into words: `zh`, `char`, or the usual `13a`.

    `zh` where most letters are Chinese and hardly any Japanese, `char` where most letters are of another
    script without spaces: to 13a a whole sentence of those is one word.
    """
    num_letters = num_unspaced = num_chinese = num_kana = 0
    for text in references:
        num_letters += sum(map(str.isalpha, text))
        num_unspaced += len(_UNSPACED.findall(text))
        num_chinese += len(_CHINESE.findall(text))
        num_kana += len(_KANA.findall(text))
    # A Chinese text may quote a Japanese word; half of a Japanese one is kana.
    if 2 * num_chinese > num_letters and 4 * num_kana < num_chinese:
        return "zh"
    return "char" if 2 * num_unspaced > num_letters else "13a"


def written_text_metrics(
    predicted: Sequence[str],
    references: Sequence[str],
    rouge: Sequence[Mapping[str, float]] | None = None,
    *,
    resamples: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Score texts, each against one reference.

    Args:
        predicted: What was written.
        references: What should have been.
        rouge: `rouge_scores` of each, where they are known.
        resamples: Resamples behind the intervals; 0 leaves those out.
        seed: Seed of the draws.

    Returns:
        chrf, bleu, rouge1, rouge2, rougeL (0..100) and exact_match_rate (0..1), all None where there are no
        texts, so that nothing is measured; `sacrebleu`, the signatures by which others repeat BLEU and chrF;
        `confidence_intervals`.
    """
    pairs = list(zip(predicted, references, strict=True))
    known = [rouge_scores(*pair) for pair in pairs] if rouge is None else rouge
    means = {name: [100 * row[name] for row in known] for name in ROUGE}
    means["exact_match_rate"] = [float(same_text(*pair)) for pair in pairs]
    corpus = _corpus_scores(predicted, references)
    found: dict[str, Any] = {
        **{name: score.of(score.counts.sum(axis=0)) if pairs else None for name, score in corpus.items()},
        **{name: mean(math.fsum(values), len(pairs)) for name, values in means.items()},
        "sacrebleu": {name: score.signature for name, score in corpus.items()},
    }
    if resamples and pairs:
        found["confidence_intervals"] = {
            **{name: _interval(score, resamples, seed) for name, score in corpus.items()},
            **{name: _interval_of_mean(values, resamples, seed) for name, values in means.items()},
        }
    return found


@dataclass(frozen=True)
class _CorpusScore:
    """One of sacrebleu's metrics, and what it counts in each text: int64 (num_texts, num_counts)."""

    metric: Any
    counts: NDArray[np.int64]

    def of(self, sums: NDArray[Any]) -> float:
        """The score (0..100) of texts whose counts have these sums, shape (num_counts,)."""
        # What sacrebleu itself calls for its significance tests; its public functions want the texts again.
        return float(self.metric._compute_score_from_stats([int(number) for number in sums]).score)

    @property
    def signature(self) -> str:
        return str(self.metric.get_signature())


def _corpus_scores(predicted: Sequence[str], references: Sequence[str]) -> dict[str, _CorpusScore]:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    # Forced: whether texts look tokenised is for who wrote the references to say.
    metrics: dict[str, Any] = {
        "chrf": CHRF(),
        "bleu": BLEU(tokenize=bleu_tokenization(references), force=True),
    }
    scores = {}
    for name, metric in metrics.items():
        # With no texts at all, a text that has nothing gives the counts their number, and is left out again.
        counts = metric._extract_corpus_statistics([*predicted, ""], [[*references, ""]])
        scores[name] = _CorpusScore(metric, np.array(counts, np.int64)[:-1])
    return scores


def _interval(score: _CorpusScore, resamples: int, seed: int) -> tuple[float, float]:
    sums = resampled_sums(list(score.counts.T), resamples=resamples, seed=seed)
    scores = np.array([score.of(column) for column in sums.T])
    return percentile_interval(scores, np.ones_like(scores))


def _interval_of_mean(values: Sequence[float], resamples: int, seed: int) -> tuple[float, float]:
    sums = resampled_sums([np.array(values, np.float64)], resamples=resamples, seed=seed)[0]
    return percentile_interval(sums, np.full_like(sums, len(values)))
