"""Documents as a causal language model learns them, and how probable it finds them."""

import math
from typing import Any

import models
import pytest
import torch
from documents import DOCUMENTS, details, recipe_of, rows_of
from hypothesis import given
from hypothesis import strategies as st
from merged import evaluated

from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.examples import DocumentExample
from rankfold.data.features import Features
from rankfold.data.packing import pack
from rankfold.errors import ModelError, NumericalError, RecipeError
from rankfold.tasks.causal_lm import CausalLM

TASK = CausalLM()
TOKENIZER = models.chat_tokenizer()
MODEL = models.causal_model(TOKENIZER)
END = TOKENIZER.eos_token_id
RECIPE = recipe_of("causal_lm")


def features_of(text: str, max_length: int) -> Features:
    recipe = recipe_of("causal_lm", max_length=max_length)
    return TASK.evaluation_features([DocumentExample("d", text)], TOKENIZER, recipe, ())


@given(text=st.text(max_size=60), max_length=st.integers(2, 40))
def test_every_token_of_a_document_and_its_end_are_predicted_exactly_once(text: str, max_length: int) -> None:
    rows = features_of(text, max_length).columns["input_ids"]
    predicted = [token for row in rows for token in row[1:]]
    assert predicted == [*TOKENIZER(text, add_special_tokens=False)["input_ids"], END]
    assert rows[0][0] == END
    assert all(2 <= len(row) <= max_length for row in rows)
    # A row begins with the last token of the one before.
    assert [row[0] for row in rows[1:]] == [row[-1] for row in rows[:-1]]


def test_a_tokenizer_that_puts_a_token_before_every_text_has_it_before_a_document() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = models.chat_tokenizer()
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", start)]
    )
    (row, *_) = TASK.training_features(DOCUMENTS[:1], tokenizer, RECIPE, ()).columns["input_ids"]
    assert (row[0], row.count(start)) == (start, 1)


def test_nothing_that_stands_before_a_row_predicts_its_first_token() -> None:
    features = TASK.training_features(DOCUMENTS, TOKENIZER, RECIPE, ())
    for row in rows_of(features):
        assert row["labels"] == [IGNORED_LABEL, *row["input_ids"][1:]]


def test_the_training_loss_is_the_mean_over_the_items_of_a_batch() -> None:
    rows = rows_of(TASK.training_features(DOCUMENTS[:3], TOKENIZER, RECIPE, ()))
    batch = TASK.collate(rows, TOKENIZER)
    loss, _ = TASK.loss(MODEL, batch)
    each = [directly(row["input_ids"]) for row in rows]
    num_tokens = sum(len(row["input_ids"]) - 1 for row in rows)
    assert TASK.num_items(batch) == num_tokens
    assert loss.item() == pytest.approx(sum(each) / num_tokens, rel=1e-5)


def test_packed_documents_are_learned_as_they_are_apart() -> None:
    features = TASK.training_features(DOCUMENTS[:3], TOKENIZER, RECIPE, ())
    packed = pack(features, 64)
    assert len(packed) < len(features)
    apart, together = (TASK.collate(rows_of(some), TOKENIZER) for some in (features, packed))
    assert TASK.num_items(together) == TASK.num_items(apart)
    loss = TASK.loss(MODEL, apart)[0].item()
    assert TASK.loss(MODEL, together)[0].item() == pytest.approx(loss, rel=1e-5)


def directly(ids: list[int]) -> float:
    """The sum of −log p of a row's tokens but the first, one row in one pass."""
    with torch.inference_mode():
        log_softmax = MODEL(torch.tensor([ids])).logits[0, :-1].double().log_softmax(dim=1)
    wanted = torch.tensor(ids[1:])
    return -float(log_softmax[torch.arange(len(wanted)), wanted].sum())


def test_scores_equal_a_direct_computation() -> None:
    merged = evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE)
    rows = rows_of(TASK.evaluation_features(DOCUMENTS, TOKENIZER, RECIPE, ()))
    losses = [
        sum(directly(row["input_ids"]) for row in rows if row["example"] == example)
        for example in range(len(DOCUMENTS))
    ]
    assert [row["loss"] for row in details(merged)] == pytest.approx(losses, rel=1e-5)
    num_tokens = sum(len(row["input_ids"]) - 1 for row in rows)
    num_bytes = sum(len(document.text.encode()) for document in DOCUMENTS)
    metrics = TASK.metrics(details(merged), RECIPE, ())
    assert metrics["num_tokens"] == num_tokens
    assert metrics["perplexity"] == pytest.approx(math.exp(sum(losses) / num_tokens), rel=1e-5)
    assert metrics["bits_per_byte"] == pytest.approx(sum(losses) / math.log(2) / num_bytes, rel=1e-5)
    assert metrics["confidence_intervals"]["perplexity"][0] < metrics["perplexity"]


def test_accuracy_counts_the_tokens_that_greedy_decoding_would_write() -> None:
    model = models.causal_model(TOKENIZER)
    batch = TASK.collate(rows_of(TASK.training_features(DOCUMENTS, TOKENIZER, RECIPE, ())), TOKENIZER)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(10):
        torch.autograd.backward(TASK.loss(model, batch)[0])
        optimizer.step()
        optimizer.zero_grad()
    correct = 0
    for row in rows_of(TASK.evaluation_features(DOCUMENTS, TOKENIZER, RECIPE, ())):
        ids = torch.tensor([row["input_ids"]])
        with torch.inference_mode():
            correct += int((model(ids).logits[0, :-1].argmax(dim=1) == ids[0, 1:]).sum())
    found = sum(row["num_correct"] for row in details(evaluated(TASK, model, TOKENIZER, DOCUMENTS, RECIPE)))
    assert found == correct > 0


@pytest.mark.parametrize("num_shards", [2, 3])
def test_neither_shards_nor_ranges_change_a_byte(num_shards: int) -> None:
    expected = evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE)
    assert (
        evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE, num_shards=num_shards, each_alone=True)
        == expected
    )


def test_few_logits_at_a_time_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [row["loss"] for row in details(evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE))]
    monkeypatch.setattr("rankfold.evaluation.one_pass.LOGITS_AT_A_TIME", 1)
    passes: list[int] = []
    hook = MODEL.register_forward_hook(lambda module, inputs, output: passes.append(len(output.logits)))
    found = [row["loss"] for row in details(evaluated(TASK, MODEL, TOKENIZER, DOCUMENTS, RECIPE))]
    hook.remove()
    assert set(passes) == {1}
    assert found == pytest.approx(expected, rel=1e-6)


def test_details_show_the_beginning_of_a_document_and_how_probable_it_is() -> None:
    long = DocumentExample("long", "Anna " * 200)
    (row,) = details(evaluated(TASK, MODEL, TOKENIZER, [long], RECIPE))
    assert (row["id"], row["score"]) == ("long", None)
    assert row["text"] == long.text[:500] + "…"
    perplexity = math.exp(row["loss"] / row["num_tokens"])
    assert (row["gold"], row["predicted"]) == (
        "",
        f"with perplexity {perplexity:.2f}, {row['num_tokens']} tokens",
    )
    assert row["num_bytes"] == 1000


def test_a_loss_that_is_no_number_names_the_window_and_the_shard() -> None:
    broken = models.causal_model(TOKENIZER)
    with torch.no_grad():
        broken.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(NumericalError, match=r"shard 0: the loss of window \d is nan"):
        evaluated(TASK, broken, TOKENIZER, DOCUMENTS, RECIPE)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [({"max_length": 1}, RecipeError, "max_length: is 1"), ({}, ModelError, "no end-of-text token")],
)
def test_what_leaves_nothing_to_predict_is_refused(
    changed: dict[str, Any], error: type[Exception], words: str
) -> None:
    tokenizer = models.chat_tokenizer()
    if not changed:
        tokenizer.eos_token = None
    with pytest.raises(error, match=words):
        TASK.training_features(DOCUMENTS, tokenizer, recipe_of("causal_lm", **changed), ())
