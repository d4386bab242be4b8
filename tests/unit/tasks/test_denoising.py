"""Span corruption with a tiny T5: nothing is lost, and scores are those of a direct computation."""

import json
import math
from pathlib import Path
from typing import Any

import models
import pytest
import torch
from documents import DOCUMENTS, details, recipe_of, rows_of
from merged import evaluated
from tiny_t5 import t5_model, t5_tokenizer

from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.examples import DocumentExample
from rankfold.data.sides import Splits
from rankfold.errors import DataError, ModelError, RecipeError
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import PreparedFolder
from rankfold.stages.predict import _Answering
from rankfold.stages.prepare import Preparation
from rankfold.tasks.denoising import Denoising

TASK = Denoising()
TOKENIZER = t5_tokenizer()
MODEL = t5_model(TOKENIZER)
RECIPE = recipe_of("denoising", noise_density=0.3, mean_noise_span_length=2.0)
SENTINELS = TOKENIZER.convert_tokens_to_ids([f"<extra_id_{number}>" for number in range(20)])


def restored(inputs: list[int], targets: list[int]) -> list[int]:
    """Put what stands behind each sentinel of the target into its place in the input."""
    pieces: dict[int, list[int]] = {}
    for token in targets[:-1]:
        if token in SENTINELS:
            pieces[token] = []
        else:
            pieces[list(pieces)[-1]].append(token)
    assert inputs[-1] == targets[-1] == TOKENIZER.eos_token_id
    return [token for one in inputs[:-1] for token in pieces.get(one, [one])]


def evaluation_rows(recipe: Recipe = RECIPE) -> list[dict[str, Any]]:
    return rows_of(TASK.evaluation_features(DOCUMENTS, TOKENIZER, recipe, ()))


def test_inputs_and_targets_together_are_the_document() -> None:
    for index, document in enumerate(DOCUMENTS):
        rows = [row for row in evaluation_rows() if row["example"] == index]
        assert all(len(row["input_ids"]) <= 24 for row in rows)
        tokens = [token for row in rows for token in restored(row["input_ids"], row["labels"])]
        assert TOKENIZER.decode(tokens) == document.text


def test_evaluation_spans_follow_from_seed_and_id_and_not_from_other_documents() -> None:
    alone = TASK.evaluation_features(DOCUMENTS[4:5], TOKENIZER, RECIPE, ())
    among = [row for row in evaluation_rows() if row["example"] == 4]
    assert alone.columns["input_ids"] == [row["input_ids"] for row in among]
    other = TASK.evaluation_features([DocumentExample("x", DOCUMENTS[4].text)], TOKENIZER, RECIPE, ())
    assert other.columns["labels"] != alone.columns["labels"]


def test_training_spans_change_with_the_batch_and_come_again_with_it() -> None:
    rows = rows_of(TASK.training_features(DOCUMENTS, TOKENIZER, RECIPE, ()))
    batch, again = (TASK.collate(some, TOKENIZER) for some in (rows, [dict(row) for row in rows]))
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    assert not torch.equal(TASK.collate(rows[::-1], TOKENIZER)["labels"].flip(0), batch["labels"])
    for row, ids, mask, labels in zip(rows, *map(torch.Tensor.tolist, batch.values()), strict=True):
        inputs = [token for token, real in zip(ids, mask, strict=True) if real]
        targets = [label for label in labels if label != IGNORED_LABEL]
        assert restored(inputs, targets) == row["input_ids"]


def test_the_training_loss_is_the_mean_over_the_items_of_a_batch() -> None:
    rows = evaluation_rows()[:4]
    batch = TASK.scored_batch(rows, TOKENIZER)
    loss, _ = TASK.loss(MODEL, batch)
    num_tokens = sum(len(row["labels"]) for row in rows)
    assert TASK.num_items(batch) == num_tokens
    assert loss.item() == pytest.approx(sum(map(directly, rows)) / num_tokens, rel=1e-5)


def directly(row: dict[str, Any]) -> float:
    """The sum of −log p of a row's target, with the decoder's input shifted by hand."""
    decoder = torch.tensor([[TOKENIZER.pad_token_id, *row["labels"][:-1]]])
    with torch.inference_mode():
        logits = MODEL(input_ids=torch.tensor([row["input_ids"]]), decoder_input_ids=decoder).logits
    each = logits[0].double().log_softmax(dim=1)
    return -float(each[torch.arange(len(row["labels"])), torch.tensor(row["labels"])].sum())


def test_scores_equal_a_direct_computation() -> None:
    losses, num_tokens = [0.0] * len(DOCUMENTS), 0
    for row in evaluation_rows():
        losses[row["example"]] += directly(row)
        num_tokens += len(row["labels"])
    found = details(evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE))
    metrics = TASK.metrics(found, RECIPE, ())
    assert [row["loss"] for row in found] == pytest.approx(losses, rel=1e-5)
    assert metrics["perplexity"] == pytest.approx(math.exp(sum(losses) / num_tokens), rel=1e-5)
    assert metrics["num_tokens"] == num_tokens
    assert "bits_per_byte" not in metrics


@pytest.mark.parametrize("num_shards", [2, 3])
def test_neither_shards_nor_ranges_change_a_byte(num_shards: int) -> None:
    expected = evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE)
    assert (
        evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE, num_shards=num_shards, each_alone=True)
        == expected
    )


def test_texts_too_short_to_cut_something_out_are_left_out_and_counted() -> None:
    documents = [DocumentExample("short", "A"), *DOCUMENTS]
    features = TASK.training_features(documents, TOKENIZER, RECIPE, ())
    assert features.dropped == {"too short to cut a span out": 1}
    nothing = TASK.training_features(documents[:1], TOKENIZER, RECIPE, ())
    assert (len(nothing), nothing.columns.keys()) == (0, features.columns.keys())
    # A piece of what is to be predicted may hold nothing else.
    assert len(TASK.evaluation_features(documents[:1], TOKENIZER, RECIPE, ())) == 0


def test_a_document_without_a_row_has_no_perplexity() -> None:
    documents = [DOCUMENTS[0], DocumentExample("short", "A"), DOCUMENTS[1]]
    merged = evaluated(TASK, MODEL, TOKENIZER, documents, RECIPE)
    first, short, last = details(merged)
    assert (short["num_tokens"], short["loss"], short["predicted"]) == (0, 0.0, "")
    assert merged.predictions.splitlines()[1] == b'"short": null'
    assert min(first["num_tokens"], last["num_tokens"]) > 0


def test_a_test_set_in_which_nothing_can_be_cut_out_is_refused(tmp_path: Path) -> None:
    splits = Splits((), (), (DocumentExample("short", "A"),), (), {}, {})
    preparation = Preparation(RECIPE, TASK, TOKENIZER, tmp_path, PreparedFolder(tmp_path))
    with pytest.raises(DataError, match="not one of 1 test examples gives a row"):
        preparation.held_out("test", splits)


def test_rows_that_have_nothing_to_cut_out_are_answered_in_their_place() -> None:
    answering = _Answering(TASK, RECIPE, [], TOKENIZER, MODEL)
    answers: list[bytes] = []
    for document in (DocumentExample("short", "A"), DOCUMENTS[3], DocumentExample("shorter", "")):
        answers += answering.answer([document])
    answers += answering.rest()
    found = [json.loads(answer) for answer in answers]
    assert [one["id"] for one in found] == ["short", "d3", "shorter"]
    assert [one["prediction"] is None for one in found] == [True, False, True]


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        (t5_tokenizer(num_sentinels=0), "no sentinels: <extra_id_0>, <extra_id_1> and so on"),
        (models.chat_tokenizer(), "no sentinels"),
    ],
)
def test_a_tokenizer_without_sentinels_is_refused(tokenizer: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        TASK.training_features(DOCUMENTS, tokenizer, RECIPE, ())


def test_more_spans_than_sentinels_are_refused_before_anything_is_cut_out() -> None:
    with pytest.raises(RecipeError, match=r"of 24 tokens has 4 spans cut out, .* only 2 sentinels"):
        TASK.training_features(DOCUMENTS, t5_tokenizer(num_sentinels=2), RECIPE, ())


def test_rows_without_room_to_cut_something_out_are_refused() -> None:
    with pytest.raises(RecipeError, match="is 2, which leaves no room"):
        TASK.training_features(DOCUMENTS, TOKENIZER, recipe_of("denoising", max_length=2), ())


def test_records_depend_on_how_much_is_cut_out() -> None:
    changes: list[dict[str, Any]] = [{}, {"noise_density": 0.3}, {"mean_noise_span_length": 2.0}]
    settings = [TASK.record_settings(recipe_of("denoising", **changed)) for changed in changes]
    assert len({tuple(one.items()) for one in settings}) == 3
