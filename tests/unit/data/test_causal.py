import torch
from models import causal_model, chat_tokenizer

from rankfold.data.causal import collate_causal
from rankfold.data.collate import IGNORED_LABEL

TOKENIZER = chat_tokenizer()
UNKNOWN = IGNORED_LABEL


def test_logits_are_kept_from_the_first_learned_token_on_though_others_in_between_are_not_learned() -> None:
    rows = [
        # Two turns that are learned, and one between them that is not.
        {"input_ids": [*range(10, 18)], "labels": [UNKNOWN, UNKNOWN, 12, 13, UNKNOWN, UNKNOWN, 16, 17]},
        {"input_ids": [20, 21, 22], "labels": [UNKNOWN, 21, 22]},
    ]
    batch = collate_causal(rows, TOKENIZER)
    assert batch["logits_to_keep"] == 7
    assert batch["labels"].tolist() == [
        [UNKNOWN, 12, 13, UNKNOWN, UNKNOWN, 16, 17],
        [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 21, 22],
    ]
    whole = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    labels = torch.full_like(batch["input_ids"], UNKNOWN)
    labels[:, -7:] = batch["labels"]
    model = causal_model(TOKENIZER)
    expected = model(**whole, position_ids=batch["position_ids"], labels=labels).loss
    torch.testing.assert_close(model(**batch).loss, expected)


def test_padding_predicts_no_first_token_where_whole_texts_are_learned() -> None:
    long, short = [*range(10, 18)], [20, 21, 22]
    batch = collate_causal([{"input_ids": ids, "labels": ids} for ids in (long, short)], TOKENIZER)
    assert batch["logits_to_keep"] == 8
    assert batch["labels"].tolist() == [[UNKNOWN, *long[1:]], [UNKNOWN] * 6 + short[1:]]


def test_a_batch_with_nothing_to_learn_keeps_one_column() -> None:
    batch = collate_causal([{"input_ids": [10, 11], "labels": [UNKNOWN] * 2}], TOKENIZER)
    assert (batch["logits_to_keep"], batch["labels"].tolist()) == (1, [[UNKNOWN]])


def test_padding_of_packed_rows_is_a_document_of_its_own() -> None:
    rows = [
        {"input_ids": [*range(10, 18)], "labels": [UNKNOWN] * 8, "position_ids": [0, 1, 2, 0, 1, 2, 3, 4]},
        {"input_ids": [20, 21, 22], "labels": [UNKNOWN] * 3, "position_ids": [0, 1, 0]},
    ]
    batch = collate_causal(rows, TOKENIZER)
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 0, 1, 0]]
    assert "attention_mask" not in batch
    assert batch["use_cache"] is False
