"""BLEU, chrF and ROUGE against sacrebleu and rouge-score, which others compare theirs with."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from rankfold.metrics.rouge import rouge_scores, rouge_words
from rankfold.metrics.written_text import (
    bleu_tokenization,
    example_scores,
    same_text,
    written_text_metrics,
)

ENGLISH = [
    ("The cat sat on the mat.", "A cat sat on the mat ."),
    ("He paints bridges in Vienna, doesn't he?", "He paints bridges in Vienna."),
    ("", "Nothing was written."),
    ("Who lives in Ulm?", "Who lives in Ulm?"),
]
CHINESE = [
    ("我喜欢吃苹果。", "我爱吃苹果。"),
    ("今天天气很好", "今天的天气很好"),
    ("LSTM模型的研究", "基于LSTM的研究"),
]
JAPANESE = [("私はりんごを食べます。", "私はりんごが好きです。")]


def columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [predicted for predicted, _ in pairs], [reference for _, reference in pairs]


@pytest.mark.parametrize(
    ("pairs", "tokenize"), [(ENGLISH, "13a"), (CHINESE, "zh"), (JAPANESE, "char")], ids=["en", "zh", "ja"]
)
def test_bleu_and_chrf_are_sacrebleu_s_with_words_that_the_references_have(
    pairs: list[tuple[str, str]], tokenize: str
) -> None:
    predicted, references = columns(pairs)
    found = written_text_metrics(predicted, references)
    bleu, chrf = BLEU(tokenize=tokenize), CHRF()
    assert found["bleu"] == pytest.approx(bleu.corpus_score(predicted, [references]).score, rel=1e-12)
    assert found["chrf"] == pytest.approx(chrf.corpus_score(predicted, [references]).score, rel=1e-12)
    assert 0 < found["chrf"] < 100
    assert f"tok:{tokenize}" in found["sacrebleu"]["bleu"]
    assert found["sacrebleu"]["chrf"].startswith("nrefs:1|case:mixed")


def test_bleu_of_chinese_would_be_nothing_without_its_own_words() -> None:
    predicted, references = columns(CHINESE)
    assert BLEU(tokenize="13a").corpus_score(predicted, [references]).score < 1
    assert written_text_metrics(predicted, references)["bleu"] > 20


@pytest.mark.parametrize(
    ("texts", "tokenize"),
    [
        (["The Chinese word 你好 is a greeting."], "13a"),
        (
            [
                "他说「ありがとう」。我听不懂他说的是什么意思，你能告诉我吗？他好像很高兴，所以我也笑了笑，然后就走了。"
            ],
            "zh",
        ),
        (["ฉันชอบกินแอปเปิ้ล"], "char"),
        (["한국어는 띄어 쓴다."], "13a"),
        ([""], "13a"),
        ([], "13a"),
    ],
)
def test_most_letters_decide_how_references_are_divided(texts: list[str], tokenize: str) -> None:
    assert bleu_tokenization(texts) == tokenize


WORDS = st.lists(st.sampled_from(["cat", "mat", "the", "Sat", "on", "a1", "-", "."]), max_size=12).map(
    " ".join
)


@given(predicted=WORDS, reference=WORDS)
def test_rouge_of_words_of_a_to_z_is_rouge_score_s(predicted: str, reference: str) -> None:
    names = ["rouge1", "rouge2", "rougeL"]
    oracle = RougeScorer(names).score(reference, predicted)
    found = rouge_scores(predicted, reference)
    assert [found[name] for name in names] == pytest.approx([oracle[name].fmeasure for name in names])


class OurWords:
    def tokenize(self, text: str) -> list[str]:
        return rouge_words(text)


@given(predicted=st.text("我你他爱吃a b", max_size=20), reference=st.text("我你他爱吃a b", max_size=20))
def test_rouge_of_chinese_is_rouge_score_s_with_characters_as_words(predicted: str, reference: str) -> None:
    names = ["rouge1", "rouge2", "rougeL"]
    oracle = RougeScorer(names, tokenizer=OurWords()).score(reference, predicted)
    found = rouge_scores(predicted, reference)
    assert [found[name] for name in names] == pytest.approx([oracle[name].fmeasure for name in names])


def test_a_character_of_a_script_without_spaces_is_a_word_and_a_run_of_other_letters_is_one() -> None:
    assert rouge_words("基于LSTM_2的研究, Élan café!") == [*"基于", "lstm", "2", *"的研究", "élan", "café"]


def test_accents_and_vowel_signs_are_part_of_a_word() -> None:
    assert rouge_words("मेरी किताब। தமிழ் كِتَاب cafe\u0301s") == ["मेरी", "किताब", "தமிழ்", "كِتَاب", "cafe\u0301s"]


def test_the_scores_of_a_whole_set_are_not_means_of_its_examples_but_rouge_is() -> None:
    predicted, references = columns(ENGLISH)
    found = written_text_metrics(predicted, references)
    each = [example_scores(*pair) for pair in ENGLISH]
    assert found["rougeL"] == pytest.approx(100 * sum(one["rougeL"] for one in each) / len(each))
    assert found["chrf"] != pytest.approx(100 * sum(one["score"] for one in each) / len(each))
    assert found["exact_match_rate"] == 0.25


def test_an_example_s_score_is_its_chrf_from_zero_to_one() -> None:
    predicted, reference = ENGLISH[0]
    expected = CHRF().sentence_score(predicted, [reference]).score / 100
    assert example_scores(predicted, reference)["score"] == pytest.approx(expected)
    assert [example_scores(*pair)["score"] for pair in (("", "words"), ("Ulm ", "Ulm"), ("", ""))] == [
        0,
        1,
        1,
    ]


def test_white_space_around_a_text_makes_no_difference_and_within_it_does() -> None:
    assert same_text(" Ulm\n", "Ulm")
    assert not same_text("Ul m", "Ulm")
    assert not same_text("ulm", "Ulm")


def test_intervals_resample_the_counts_of_the_corpus() -> None:
    predicted, references = columns(ENGLISH * 5)
    found = written_text_metrics(predicted, references, resamples=50, seed=3)
    intervals = found["confidence_intervals"]
    assert intervals.keys() == {"chrf", "bleu", "rouge1", "rouge2", "rougeL", "exact_match_rate"}
    for name, (low, high) in intervals.items():
        assert low < found[name] < high, name
    # The resamples by hand: texts drawn, and scored as a corpus.
    import numpy as np

    generator, scores = np.random.Generator(np.random.PCG64(3)), []
    for _ in range(50):
        drawn = generator.integers(len(predicted), size=len(predicted))
        texts = [predicted[place] for place in drawn], [[references[place] for place in drawn]]
        scores.append(BLEU().corpus_score(*texts).score)
    assert intervals["bleu"] == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])))


def test_rouge_that_is_known_is_not_computed_again() -> None:
    predicted, references = columns(ENGLISH)
    known = [{"rouge1": 0.5, "rouge2": 0.25, "rougeL": 0.5}] * len(ENGLISH)
    found = written_text_metrics(predicted, references, known)
    assert (found["rouge1"], found["rouge2"], found["rougeL"]) == (50, 25, 50)


def test_without_texts_nothing_is_measured() -> None:
    found = written_text_metrics([], [], resamples=3)
    assert found.pop("sacrebleu").keys() == {"chrf", "bleu"}
    assert found == dict.fromkeys(("chrf", "bleu", "rouge1", "rouge2", "rougeL", "exact_match_rate"))


@given(st.lists(st.sampled_from([*ENGLISH, *CHINESE]), min_size=1, max_size=8))
def test_the_order_of_the_examples_changes_nothing(pairs: list[tuple[str, str]]) -> None:
    shuffled = random.Random(1).sample(pairs, len(pairs))
    assert written_text_metrics(*columns(shuffled)) == written_text_metrics(*columns(pairs))
