"""The task from pairs of texts to scores, with a tiny encoder."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from commands import read
from datasets import Dataset
from merged import evaluated, predicted
from models import encoder_model, encoder_tokenizer, recipe
from ranks import on_ranks
from torch.nn.functional import cross_entropy, normalize
from unit.tasks import embedding_ranks

from rankfold.data.examples import TextPairExample
from rankfold.errors import DataError, NumericalError
from rankfold.modeling.embeddings import pooling_weights, text_vectors
from rankfold.nbest.units import Unit
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Merged
from rankfold.tasks.embedding import Embedding

TASK = Embedding()
TOKENIZER = encoder_tokenizer()
MODEL = encoder_model(TOKENIZER)
ANNA, RIVER, PAUL, TOWN, *_ = embedding_ranks.TEXTS
ALONE = TextPairExample("alone", "Who lives in Berlin?")


def settled(**sections: Any) -> Recipe:
    evaluation = {"per_device_eval_batch_size": 2, "num_bootstrap_resamples": 10}
    return recipe("embedding", **{"evaluation": evaluation, **sections})


def batch_of(examples: Sequence[TextPairExample], using: Recipe | None = None) -> dict[str, Any]:
    columns = TASK.training_features(examples, TOKENIZER, using or settled(), ()).columns
    rows = [{name: values[row] for name, values in columns.items()} for row in range(len(examples))]
    return TASK.collate(rows, TOKENIZER)


def loss_of(*examples: TextPairExample, using: Recipe | None = None) -> float:
    return TASK.loss(MODEL, batch_of(examples, using))[0].item()


def vector(text: str) -> torch.Tensor:
    """The mean of a text's tokens, of length 1, without any batch."""
    with torch.inference_mode():
        tokens = MODEL(**TOKENIZER(text, return_tensors="pt")).last_hidden_state[0]
    return normalize(tokens.mean(dim=0), dim=0)


def merged(
    examples: Sequence[TextPairExample],
    using: Recipe | None = None,
    *,
    unit_size: int = 4,
    model: Any = MODEL,
) -> Merged:
    return evaluated(TASK, model, TOKENIZER, examples, using or settled(), unit_size=unit_size)


def rows(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def test_the_loss_finds_each_positive_among_all_second_texts_and_negatives() -> None:
    candidates = torch.stack([vector(str(text)) for text in (ANNA.positive, RIVER.positive, *ANNA.negatives)])
    anchors = torch.stack([vector(ANNA.text), vector(RIVER.text)])
    expected = cross_entropy(anchors @ candidates.T / 0.05, torch.arange(2))
    assert loss_of(ANNA, RIVER) == pytest.approx(float(expected), rel=1e-4)


def test_a_lower_temperature_makes_the_same_similarities_tell_more() -> None:
    sharp, soft = (settled(train={"contrastive_temperature": value}) for value in (0.01, 100.0))
    assert loss_of(ANNA, RIVER, using=soft) == pytest.approx(np.log(3), abs=0.01)
    assert abs(loss_of(ANNA, RIVER, using=sharp) - np.log(3)) > 0.1


def test_a_score_is_what_the_cosine_is_to_be() -> None:
    cosine = float(vector(TOWN.text) @ vector("The Black Forest"))
    assert loss_of(TOWN) == pytest.approx((cosine - 0.25) ** 2, rel=1e-3)
    # Beside a scored pair, a pair without one has no more negatives than alone.
    assert loss_of(TOWN, ANNA) == pytest.approx((loss_of(TOWN) + loss_of(ANNA)) / 2, rel=1e-3)


def test_equal_texts_are_no_negatives_of_each_other() -> None:
    alone = TextPairExample("1", "Who lives in Ulm?", "Anna Keller lives in Ulm.")
    same_positive = TextPairExample("2", "Anna lives where?", "Anna Keller lives in Ulm.")
    same_anchor = TextPairExample("3", "Who lives in Ulm?", "Paul")
    anchor_is_there = TextPairExample("4", "Paul", "Who lives in Ulm?")
    own_positive_as_negative = TextPairExample("5", "Where?", "Vienna", ("Vienna",))
    assert loss_of(alone, same_positive) == pytest.approx(0, abs=1e-6)
    assert loss_of(alone, same_anchor) == pytest.approx(0, abs=1e-6)
    assert loss_of(alone, anchor_is_there) > 0  # of the other anchor, Anna is a negative
    assert loss_of(own_positive_as_negative) == pytest.approx(0, abs=1e-6)
    assert loss_of(alone, RIVER) > 0


@pytest.mark.parametrize("shares", [(3, 3), (1, 5)])
def test_two_ranks_learn_what_one_learns_from_all_their_examples(
    shares: tuple[int, int], one_rank: dict[str, Any], encoder_folder: Path, tmp_path: Path
) -> None:
    on_ranks(2, embedding_ranks.step, tmp_path, shares, encoder_folder, tmp_path)
    two = read(tmp_path / f"{shares[0]}-{shares[1]}.json")
    assert two["loss"] == pytest.approx(one_rank["loss"], rel=1e-4)
    assert two["gradients"].keys() == one_rank["gradients"].keys()
    for name, numbers in one_rank["gradients"].items():
        assert two["gradients"][name] == pytest.approx(numbers, rel=1e-3, abs=1e-4), name


@pytest.fixture(scope="module")
def one_rank(encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("one")
    embedding_ranks.step((6,), encoder_folder, folder)
    found: dict[str, Any] = read(folder / "6.json")
    # The gradients say something only if they are not all zero.
    assert found["gradients"]["embeddings.word_embeddings.weight"][1] > 0.01
    return found


def test_the_model_runs_once_for_all_texts_of_a_batch() -> None:
    calls = []

    def model(**inputs: torch.Tensor) -> Any:
        calls.append(inputs["input_ids"].shape)
        return MODEL(**inputs)

    batch = batch_of([ANNA, RIVER, PAUL])
    TASK.loss(model, batch)  # type: ignore[arg-type]
    assert [shape[0] for shape in calls] == [9]
    assert TASK.num_items(batch) == 3


@pytest.mark.parametrize("side", ["left", "right"])
def test_pooling_looks_at_real_tokens_only_whichever_side_the_padding_is_on(side: str) -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    tokens = torch.tensor([[9.0, 9, 1, 2, 6], [1, 2, 3, 4, 5]]).unsqueeze(2)
    if side == "right":
        mask, tokens = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]), tokens.clone()
        tokens[0, :, 0] = torch.tensor([1.0, 2, 6, 9, 9])

    def pooled(pooling: Any) -> list[float]:
        found: list[float] = (
            (pooling_weights(mask, pooling).unsqueeze(2) * tokens).sum(dim=1).flatten().tolist()
        )
        return found

    assert pooled("mean") == pytest.approx([3, 3])
    assert pooled("cls") == [1, 1]
    assert pooled("last") == [6, 5]


def test_virtual_tokens_in_front_are_no_part_of_a_text() -> None:
    tokens = torch.randn(2, 5, 4)
    weights = pooling_weights(torch.ones(2, 3, dtype=torch.int64), "mean")
    assert torch.allclose(text_vectors(tokens, weights), text_vectors(tokens[:, 2:], weights))


def test_vectors_are_those_of_each_text_by_itself_and_predictions_cosines_or_vectors() -> None:
    results = merged([ANNA, ALONE, TOWN])
    predictions = json.loads(f"{{{','.join(results.predictions.decode().splitlines())}}}")
    assert predictions["a"] == pytest.approx(float(vector(ANNA.text) @ vector(str(ANNA.positive))), abs=1e-5)
    assert predictions["alone"] == pytest.approx(vector(ALONE.text).tolist(), abs=1e-5)
    anna, alone, town = rows(results.details)
    assert (anna["text"], anna["gold"], len(anna["vectors"])) == (ANNA.text, ANNA.positive, 2)
    assert (alone["score"], alone["gold"]) == (None, "")
    assert (town["gold"], town["gold_score"]) == ("0.250", 0.25)
    assert town["score"] == pytest.approx(1 - abs(predictions["d"] - 0.25) / 2)


def test_n_best_lists_hold_the_examples_own_texts_the_closest_first() -> None:
    anna, alone, _ = rows(merged([ANNA, ALONE, PAUL]).nbest)
    assert sorted(one["text"] for one in anna["nbest"]) == sorted([str(ANNA.positive), *ANNA.negatives])
    assert [one["text"] for one in anna["nbest"] if one["positive"]] == [ANNA.positive]
    scores = [one["score"] for one in anna["nbest"]]
    assert scores == sorted(scores, reverse=True)
    assert alone == {"id": "alone", "nbest": []}


@pytest.mark.parametrize("unit_size", [1, 3, 100])
def test_ranges_of_examples_merge_to_the_same_bytes(unit_size: int) -> None:
    examples = [*embedding_ranks.TEXTS, ALONE]
    parts = evaluated(
        TASK,
        MODEL,
        TOKENIZER,
        examples,
        settled(),
        unit_size=unit_size,
        num_shards=2,
        each_alone=True,
    )
    assert parts == merged(examples, unit_size=unit_size)


class Words:
    """A model whose vector of a text is that of its first word."""

    device = torch.device("cpu")

    def __call__(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> Any:
        one_hot = torch.nn.functional.one_hot(input_ids[:, 1:2], len(TOKENIZER)).float()
        return SimpleNamespace(last_hidden_state=one_hot.expand(-1, input_ids.shape[1], -1))


def test_metrics_come_from_the_details_alone_and_know_equal_texts() -> None:
    examples = [
        TextPairExample("1", "anna", "Anna Keller"),
        TextPairExample("2", "anna", "Ulm"),  # not to be found by its first word, but Anna Keller is
        TextPairExample("3", "river", "river flows"),
        TextPairExample("4", "paul", "river flows"),
        TextPairExample("5", "anna", "Anna", score=1.0),
        TextPairExample("6", "anna", "Paul", score=0.0),
        TextPairExample("7", "anna"),
    ]
    metrics = TASK.metrics(rows(merged(examples, model=Words()).details), settled(), ())
    assert (metrics["num_examples"], metrics["num_queries"], metrics["num_documents"]) == (7, 3, 3)
    # Anna finds one of two; the river its own; Paul has all documents equally far, his the third of them.
    assert metrics["recall_at_1"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert metrics["mrr_at_10"] == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert metrics["spearman_cosine"] == metrics["pearson_cosine"] == pytest.approx(1)
    assert metrics["confidence_intervals"].keys() >= {"ndcg_at_10", "recall_at_1"}


def test_scores_that_are_all_the_same_measure_no_correlation() -> None:
    pairs = [TextPairExample("1", "anna", "Anna", score=0.5), TextPairExample("2", "anna", "Paul", score=0.5)]
    metrics = TASK.metrics(rows(merged(pairs, model=Words()).details), settled(), ())
    assert metrics == {"spearman_cosine": None, "pearson_cosine": None, "num_examples": 2}
    told_apart = [pairs[0], TextPairExample("2", "anna", "Paul", score=0.25)]
    metrics = TASK.metrics(rows(merged(told_apart, model=Words()).details), settled(), ())
    assert metrics["spearman_cosine"] == pytest.approx(1)


def test_a_text_without_finite_numbers_is_named() -> None:
    class Broken:
        device = torch.device("cpu")

        def __call__(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> Any:
            return SimpleNamespace(last_hidden_state=torch.full((*input_ids.shape, 4), torch.nan))

    features = Dataset.from_dict(TASK.evaluation_features([ANNA], TOKENIZER, settled(), ()).columns)
    with pytest.raises(NumericalError, match=r"text [12], shard 5"):
        predicted(TASK, Broken(), TOKENIZER, features, Unit(0, 1, 3), settled(), "shard 5")


def test_long_texts_are_cut_and_counted() -> None:
    using = settled(data={"max_length": 8})
    long = TextPairExample("long", "the river flows to the sea. " * 5, "Ulm")
    for features in (
        TASK.training_features([long, TOWN], TOKENIZER, using, ()),
        TASK.evaluation_features([long, TOWN], TOKENIZER, using, ()),
    ):
        assert features.num_truncated == 1
    lengths = TASK.training_features([long], TOKENIZER, using, ()).columns["lengths"]
    assert lengths[0][0] == 8
    assert (
        TOKENIZER.sep_token_id
        == TASK.evaluation_features([long], TOKENIZER, using, ()).columns["input_ids"][0][-1]
    )


def test_training_texts_without_a_partner_are_dropped_and_may_be_all_there_are() -> None:
    assert TASK.training_features([ANNA, ALONE], TOKENIZER, settled(), ()).dropped == {"no positive": 1}
    nothing = TASK.training_features([ALONE], TOKENIZER, settled(), ())
    assert (len(nothing), nothing.dropped) == (0, {"no positive": 1})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a", "positive": "b", "score": 4.5}, "score is 4.5; .* from -1 to 1"),
        ({"text": "a", "score": 0.5}, "there is a score, but no second text"),
        ({"positive": "b"}, "there is no text"),
    ],
)
def test_a_row_that_is_no_pair_is_refused_where_it_stands(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        TASK.example_of({"id": "1", **row}, "pairs.jsonl:7")
    assert raised.value.where == "pairs.jsonl:7"


def test_records_depend_on_the_pooling_alone() -> None:
    base = TASK.record_settings(settled())
    assert TASK.record_settings(settled(model={"pooling": "last"})) != base
    assert TASK.record_settings(settled(train={"contrastive_temperature": 1.0})) == base


def test_data_with_scores_alone_is_judged_by_how_a_model_agrees_with_them() -> None:
    scored = [TextPairExample(str(number), "a", "b", score=number / 9) for number in range(9)]
    for examples in (scored, [ALONE, *scored]):
        assert TASK.metric_for_best_model(examples) == "spearman_cosine"
    # The task's own is of pairs without a score.
    for others in ([ANNA], [*scored, ANNA], [ALONE], []):
        assert TASK.metric_for_best_model(others) == TASK.facts.metric_for_best_model
    measured = TASK.metrics(rows(merged(scored).details), settled(), ())
    assert "spearman_cosine" in measured
    assert TASK.facts.metric_for_best_model not in measured
