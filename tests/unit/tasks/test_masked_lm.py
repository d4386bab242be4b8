"""Masked documents: the same masks for every model and shard, others in every epoch."""

import math
from typing import Any

import models
import pytest
import torch
from documents import DOCUMENTS, details, recipe_of, rows_of
from merged import evaluated
from transformers import BertConfig, BertForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.examples import DocumentExample
from rankfold.errors import ModelError, RecipeError
from rankfold.tasks.masked_lm import MaskedLM

TASK = MaskedLM()
RECIPE = recipe_of("masked_lm")


def masking_tokenizer() -> PreTrainedTokenizerBase:
    tokenizer = models.encoder_tokenizer()
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    return tokenizer


TOKENIZER = masking_tokenizer()


def masked_model() -> PreTrainedModel:
    set_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return BertForMaskedLM(BertConfig(vocab_size=len(TOKENIZER), initializer_range=0.2, **shape)).eval()


MODEL = masked_model()


def unmasked(row: dict[str, Any]) -> list[int]:
    """The tokens of a row, as they were before they were masked."""
    return [
        token if label == IGNORED_LABEL else label
        for token, label in zip(row["input_ids"], row["labels"], strict=True)
    ]


def evaluation_rows(recipe: Any = RECIPE) -> list[dict[str, Any]]:
    return rows_of(TASK.evaluation_features(DOCUMENTS, TOKENIZER, recipe, ()))


def training_rows() -> list[dict[str, Any]]:
    return rows_of(TASK.training_features(DOCUMENTS, TOKENIZER, RECIPE, ()))


def test_rows_hold_every_token_of_a_document_once_whatever_is_masked() -> None:
    for index, document in enumerate(DOCUMENTS):
        rows = [unmasked(row) for row in evaluation_rows() if row["example"] == index]
        assert all(len(row) <= 24 and row[0] == TOKENIZER.cls_token_id for row in rows)
        tokens = [token for row in rows for token in row[1:-1]]
        assert tokens == TOKENIZER(document.text, add_special_tokens=False)["input_ids"]


def test_special_tokens_are_never_to_be_guessed() -> None:
    for row in evaluation_rows():
        guessed = [label for label in row["labels"] if label != IGNORED_LABEL]
        assert len(guessed) == max(1, round((len(row["labels"]) - 2) * 0.15))
        assert not set(guessed) & {TOKENIZER.cls_token_id, TOKENIZER.sep_token_id}


def test_evaluation_masks_follow_from_seed_and_id_and_not_from_other_documents() -> None:
    alone = TASK.evaluation_features(DOCUMENTS[4:5], TOKENIZER, RECIPE, ())
    among = [row for row in evaluation_rows() if row["example"] == 4]
    assert alone.columns["input_ids"] == [row["input_ids"] for row in among]
    assert alone.columns["labels"] == [row["labels"] for row in among]
    renamed = [DocumentExample("other", DOCUMENTS[4].text)]
    other = TASK.evaluation_features(renamed, TOKENIZER, RECIPE, ())
    assert other.columns["labels"] != alone.columns["labels"]
    assert evaluation_rows(recipe_of("masked_lm", seed=7)) != evaluation_rows()


def test_training_masks_change_with_the_batch_and_come_again_with_it() -> None:
    rows = training_rows()
    batch = TASK.collate(rows, TOKENIZER)
    again = TASK.collate([dict(row) for row in rows], TOKENIZER)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    backwards = TASK.collate(rows[::-1], TOKENIZER)["labels"].flip(0)
    assert not torch.equal(backwards, batch["labels"])
    assert TASK.num_items(batch) == sum(row["num_masked"] for row in rows)
    restored = torch.where(batch["labels"] == IGNORED_LABEL, batch["input_ids"], batch["labels"])
    for row, ids in zip(rows, restored.tolist(), strict=True):
        assert ids[: len(row["input_ids"])] == row["input_ids"]


def test_scores_equal_a_direct_computation() -> None:
    losses, num_tokens, num_correct = [0.0] * len(DOCUMENTS), 0, 0
    for row in evaluation_rows():
        labels = torch.tensor(row["labels"])
        with torch.inference_mode():
            logits = MODEL(torch.tensor([row["input_ids"]])).logits[0].double()
        for place in (labels != IGNORED_LABEL).nonzero().flatten().tolist():
            losses[row["example"]] -= float(logits[place].log_softmax(dim=0)[labels[place]])
            num_correct += int(logits[place].argmax() == labels[place])
            num_tokens += 1
    found = details(evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE))
    metrics = TASK.metrics(found, RECIPE, ())
    assert [row["loss"] for row in found] == pytest.approx(losses, rel=1e-5)
    assert metrics["perplexity"] == pytest.approx(math.exp(sum(losses) / num_tokens), rel=1e-5)
    assert (metrics["num_tokens"], metrics["token_accuracy"]) == (num_tokens, num_correct / num_tokens)
    assert "bits_per_byte" not in metrics


@pytest.mark.parametrize("num_shards", [2, 3])
def test_neither_shards_nor_ranges_change_a_byte(num_shards: int) -> None:
    expected = evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE)
    assert (
        evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE, num_shards=num_shards, each_alone=True)
        == expected
    )


def test_a_text_without_tokens_is_not_learned_and_has_no_perplexity() -> None:
    documents = [DocumentExample("empty", ""), *DOCUMENTS]
    features = TASK.training_features(documents, TOKENIZER, RECIPE, ())
    assert features.dropped == {"no token to mask": 1}
    empty, *others = details(evaluated(TASK, MODEL, TOKENIZER, documents, RECIPE))
    assert (empty["num_tokens"], empty["loss"], empty["predicted"]) == (0, 0.0, "")
    assert all(row["num_tokens"] for row in others)
    nothing = TASK.training_features(documents[:1], TOKENIZER, RECIPE, ())
    assert (len(nothing), nothing.columns.keys()) == (0, features.columns.keys())


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    with pytest.raises(ModelError, match="no mask token"):
        TASK.evaluation_features(DOCUMENTS, models.encoder_tokenizer(), RECIPE, ())


def test_rows_without_room_for_text_are_refused() -> None:
    with pytest.raises(RecipeError, match="is 2, which leaves no room"):
        TASK.evaluation_features(DOCUMENTS, TOKENIZER, recipe_of("masked_lm", max_length=2), ())


def test_records_depend_on_how_much_is_masked() -> None:
    changed = TASK.record_settings(recipe_of("masked_lm", mlm_probability=0.3))
    assert changed != TASK.record_settings(RECIPE)
