import random
from typing import Any

import pytest
import torch
from datasets import Dataset
from merged import Results, merge_all, predicted
from models import recipe
from tiny_t5 import t5_model, t5_tokenizer
from torch import Tensor

from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.examples import SequencePairExample
from rankfold.data.features import Features
from rankfold.errors import ModelError
from rankfold.nbest.units import plan_units
from rankfold.recipe.schema import Recipe
from rankfold.tasks.seq2seq import Seq2Seq

TASK = Seq2Seq()
TOKENIZER = t5_tokenizer()
END = TOKENIZER.eos_token_id
EXAMPLES = [
    SequencePairExample("a", "Anna Keller lives in Ulm.", "张三住在北京。"),
    SequencePairExample(
        "b", "Paul moved from Berlin to Vienna, where he paints bridges.", "李四在上海工作。"
    ),
    SequencePairExample("c", "Ulm", ""),
]


def settings(**sections: Any) -> Recipe:
    return recipe("seq2seq", **sections)


def training(examples: list[SequencePairExample], **data: Any) -> Features:
    return TASK.training_features(examples, TOKENIZER, settings(data=data), ())


def as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_source_and_target_end_with_the_end_of_text_and_the_prefix_stands_in_front() -> None:
    columns = training(EXAMPLES[:1], source_prefix="to Chinese: ").columns
    assert TOKENIZER.decode(columns["input_ids"][0]) == "to Chinese: Anna Keller lives in Ulm.</s>"
    assert TOKENIZER.decode(columns["labels"][0]) == "张三住在北京。</s>"


def test_an_example_without_a_target_is_not_learned_and_counted() -> None:
    features = training(EXAMPLES)
    assert (len(features), features.dropped) == (2, {"no target": 1})
    nothing = training(EXAMPLES[2:])
    assert (len(nothing), nothing.columns.keys()) == (0, features.columns.keys())
    assert nothing.dropped == {"no target": 1}


def test_a_source_that_is_cut_keeps_its_end_a_target_that_is_cut_does_not_and_both_are_counted() -> None:
    whole = training(EXAMPLES[:2]).columns
    longest, targets = (sorted(map(len, whole[name])) for name in ("input_ids", "labels"))
    assert training(EXAMPLES[:2], max_length=longest[1], max_target_length=targets[1]).num_truncated == 0
    features = training(EXAMPLES[:2], max_length=longest[1] - 1)
    assert features.num_truncated == 1
    assert len(features.columns["input_ids"][1]) == longest[1] - 1
    assert features.columns["input_ids"][1][-1] == END
    features = training(EXAMPLES[:2], max_target_length=targets[0] - 1)
    assert features.num_truncated == 2
    for cut, ids in zip(features.columns["labels"], whole["labels"], strict=True):
        assert cut == ids[: targets[0] - 1]
        assert END not in cut


def test_evaluation_cuts_sources_as_training_does_and_no_reference() -> None:
    data = {"max_length": 12, "max_target_length": 3}
    features = TASK.evaluation_features(EXAMPLES, TOKENIZER, settings(data=data), ())
    assert features.columns["input_ids"][:2] == training(EXAMPLES[:2], **data).columns["input_ids"]
    assert features.num_truncated == 1
    assert features.columns["reference"] == [*training(EXAMPLES[:2]).columns["labels"], []]


def test_a_target_gets_an_end_where_the_tokenizer_writes_none() -> None:
    tokenizer = t5_tokenizer()
    tokenizer._tokenizer.post_processor = None
    columns = TASK.training_features(EXAMPLES[:1], tokenizer, settings(), ()).columns
    assert tokenizer.decode(columns["labels"][0]) == "张三住在北京。</s>"
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="has no token that ends a text"):
        TASK.training_features(EXAMPLES[:1], tokenizer, settings(), ())


def random_model() -> Any:
    model = t5_model(TOKENIZER)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return model


MODEL = random_model()


def one_by_one(row: dict[str, Any]) -> Tensor:
    """Log-probabilities (num_tokens, vocabulary) of a target's places."""
    with torch.inference_mode():
        decoder = torch.tensor([[TOKENIZER.pad_token_id, *row["labels"][:-1]]])
        logits: Tensor = MODEL(input_ids=torch.tensor([row["input_ids"]]), decoder_input_ids=decoder).logits[
            0
        ]
    return logits.double().log_softmax(dim=1)


def loss_of(row: dict[str, Any]) -> float:
    return -float(one_by_one(row)[range(len(row["labels"])), torch.tensor(row["labels"])].sum())


def test_a_batch_has_the_loss_of_its_pairs_one_by_one() -> None:
    rows = as_rows(training(EXAMPLES).columns)
    batch = TASK.collate(rows, TOKENIZER)
    with torch.inference_mode():
        loss, _ = TASK.loss(MODEL, batch)
    num_tokens = sum(len(row["labels"]) for row in rows)
    assert TASK.num_items(batch) == num_tokens == int((batch["labels"] != IGNORED_LABEL).sum())
    assert float(loss) == pytest.approx(sum(map(loss_of, rows)) / num_tokens, rel=1e-5)


def evaluated(unit_size: int, **evaluation: Any) -> Results:
    of = settings(evaluation={"max_new_tokens": 6, "per_device_eval_batch_size": unit_size, **evaluation})
    features = Dataset.from_dict(TASK.evaluation_features(EXAMPLES, TOKENIZER, of, ()).columns)
    parts = [
        predicted(TASK, MODEL, TOKENIZER, features, unit, of) for unit in plan_units(len(EXAMPLES), unit_size)
    ]
    random.Random(unit_size).shuffle(parts)
    return merge_all(TASK, parts, EXAMPLES, features, of)


def test_the_reference_is_scored_and_a_text_is_written() -> None:
    found = evaluated(3)
    rows = as_rows(training(EXAMPLES).columns)
    for row, details in zip(rows, found.details, strict=False):
        assert details["reference"]["loss"] == pytest.approx(loss_of(row), rel=1e-5)
        assert details["reference"]["num_tokens"] == len(row["labels"])
    assert [row["gold"] for row in found.details] == ["张三住在北京。", "李四在上海工作。", ""]
    assert [row["text"] for row in found.details] == [example.source for example in EXAMPLES]
    assert found.details[2]["score"] is None
    assert found.predictions == {row["id"]: row["predicted"] for row in found.details}
    assert any(found.predictions.values())


def test_bleu_of_chinese_references_is_sacrebleu_s_for_chinese() -> None:
    metrics = evaluated(3).metrics
    assert "tok:zh" in metrics["sacrebleu"]["bleu"]
    assert {"perplexity", "chrf", "bleu", "rouge1", "rouge2", "rougeL", "exact_match_rate"} <= metrics.keys()
    assert metrics["num_examples"] == 3


def test_the_n_best_list_has_every_beam_with_its_log_probability() -> None:
    for row in evaluated(3, num_beams=3, num_return_sequences=3).nbest:
        totals = [sequence["log_probability"] for sequence in row["nbest"]]
        assert len(totals) == 3
        assert totals == sorted(totals, reverse=True)
        assert max(totals) < 0


@pytest.mark.parametrize("search", [{}, {"do_sample": True, "num_return_sequences": 2}])
def test_the_order_in_which_units_were_done_changes_no_byte(search: dict[str, Any]) -> None:
    assert evaluated(1, **search).lines == evaluated(1, **search).lines


def test_a_text_writes_the_same_whatever_unit_it_is_in() -> None:
    apart, together = evaluated(1), evaluated(3)
    assert apart.predictions == together.predictions
