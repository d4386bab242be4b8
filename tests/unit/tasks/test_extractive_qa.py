import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from merged import Results, merge_all, predicted
from models import encoder_tokenizer, recipe
from torch import Tensor

from rankfold.data.examples import Answer, QuestionExample
from rankfold.nbest.units import Unit, plan_units
from rankfold.recipe.schema import Recipe
from rankfold.tasks.extractive_qa import ExtractiveQA

TASK = ExtractiveQA()
TOKENIZER = encoder_tokenizer()
FILLER = "The river flows. " * 12


def question(key: str, context: str, answer: str | None) -> QuestionExample:
    answers = (Answer(answer, context.index(answer)),) if answer else ()
    return QuestionExample(key, "Where?", context, answers)


RIGHT = question("right", FILLER + "Anna lives in Ulm. " + FILLER, "Ulm")
WRONG = question("wrong", "Anna moved from Ulm to Berlin.", "Berlin")
CHINESE = question("chinese", "张三住在 Ulm 北京。", "北京")
UNANSWERABLE = question("none", "The river flows to the sea.", None)
V1, V2 = [RIGHT, WRONG], [RIGHT, WRONG, UNANSWERABLE]


class FindsUlm:
    """A model that marks the word Ulm wherever it stands, else the null."""

    device = torch.device("cpu")
    ulm, cls = TOKENIZER.convert_tokens_to_ids(["ulm", "[CLS]"])

    def __call__(self, input_ids: Tensor, **inputs: Tensor) -> SimpleNamespace:
        logits = (input_ids % 7).float() / 100 + 9.0 * (input_ids == self.ulm) + 5.0 * (input_ids == self.cls)
        return SimpleNamespace(start_logits=logits, end_logits=logits)


def settings(**evaluation: Any) -> Recipe:
    return recipe(
        "extractive_qa",
        data={"max_length": 40, "doc_stride": 8},
        evaluation={"n_best_size": 5, "per_device_eval_batch_size": 2, **evaluation},
    )


def features_of(examples: list[QuestionExample]) -> Dataset:
    return Dataset.from_dict(TASK.evaluation_features(examples, TOKENIZER, settings(), ()).columns)


def units(examples: list[QuestionExample], unit_size: int) -> list[tuple[Unit, bytes]]:
    features, model = features_of(examples), FindsUlm()
    return [
        (unit, predicted(TASK, model, TOKENIZER, features, unit, settings()))
        for unit in plan_units(len(features), unit_size)
    ]


def merged(
    examples: list[QuestionExample],
    parts: list[tuple[Unit, bytes]] | None = None,
    **evaluation: Any,
) -> Results:
    payloads = [payload for _, payload in parts or units(examples, 4)]
    return merge_all(TASK, payloads, examples, features_of(examples), settings(**evaluation))


def test_the_best_span_of_all_windows_is_the_answer() -> None:
    assert len(features_of([RIGHT])) > 2
    assert merged(V1).predictions == {"right": "Ulm", "wrong": "Ulm"}


def test_n_best_lists_hold_the_answer_first_and_add_up_to_one() -> None:
    for row in merged(V1).nbest:
        assert row["nbest"][0]["text"] == "Ulm"
        assert len(row["nbest"]) == 5
        assert sum(candidate["probability"] for candidate in row["nbest"]) == pytest.approx(1.0)


def test_details_say_where_the_answer_is_and_how_good_it_is() -> None:
    right, wrong = merged(V1).details
    assert RIGHT.context[right["start"] : right["end"]] == right["prediction"] == "Ulm"
    assert right["answers"] == [{"text": "Ulm", "answer_start": RIGHT.answers[0].answer_start}]
    assert (right["exact_match"], right["f1"]) == (1, 1.0)
    assert (wrong["exact_match"], wrong["f1"]) == (0, 0.0)
    assert 0.9 < right["probability"] <= 1.0


def test_metrics_are_the_official_ones() -> None:
    assert merged(V1).metrics == {"exact_match": 50.0, "f1": 50.0, "total": 2}


def test_questions_without_an_answer_make_it_squad_v2_by_themselves() -> None:
    results = merged(V2)
    assert results.predictions == {"right": "Ulm", "wrong": "Ulm", "none": ""}
    assert (results.metrics["HasAns_total"], results.metrics["NoAns_total"]) == (2, 1)
    assert results.metrics["NoAns_exact"] == 100.0
    *_, unanswerable = results.details
    assert (unanswerable["start"], unanswerable["end"], unanswerable["exact_match"]) == (None, None, 1)


def test_a_recipe_that_says_v2_gets_it_without_such_questions() -> None:
    assert "HasAns_exact" in merged(V1, version_2_with_negative=True).metrics
    assert "HasAns_exact" not in merged(V1, version_2_with_negative=False).metrics


def test_the_null_threshold_is_a_matter_of_the_merge() -> None:
    parts = units(V2, 4)
    kept = merged(V2, parts, null_score_diff_threshold=-100.0)
    assert set(kept.predictions.values()) == {""}


def test_chinese_answers_get_cmrc_s_scores_beside_squad_s() -> None:
    metrics = merged([CHINESE]).metrics
    assert {"exact_match", "f1", "cmrc_f1", "cmrc_exact_match"} <= metrics.keys()
    assert not any(name.startswith("cmrc") for name in merged(V1).metrics)


@pytest.mark.parametrize("unit_size", [1, 2, 3, 100])
def test_neither_the_division_into_units_nor_their_order_changes_a_byte(unit_size: int) -> None:
    parts = units(V2, unit_size)
    random.Random(unit_size).shuffle(parts)
    assert merged(V2, parts) == merged(V2)


def test_a_training_window_points_at_the_answer_or_at_cls() -> None:
    columns = TASK.training_features(V2, TOKENIZER, settings(), ()).columns
    found = set()
    rows = zip(
        columns["input_ids"],
        columns["example"],
        columns["start_positions"],
        columns["end_positions"],
        strict=True,
    )
    for ids, example, start, end in rows:
        if start == 0:
            assert (ids[start], end) == (TOKENIZER.cls_token_id, 0)
        else:
            assert TOKENIZER.decode(ids[start : end + 1]) == V2[example].answers[0].text.lower()
            found.add(V2[example].id)
    assert found == {"right", "wrong"}


def test_an_answer_that_no_window_shows_whole_is_counted() -> None:
    long = question("long", FILLER, FILLER.strip())
    assert TASK.training_features([*V2, long], TOKENIZER, settings(), ()).num_truncated == 1


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_moves_the_positions_with_their_tokens(side: str) -> None:
    tokenizer = encoder_tokenizer(padding_side=side)
    columns = TASK.training_features(V1, tokenizer, settings(), ()).columns
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    batch = TASK.collate(rows, tokenizer)
    assert batch["input_ids"].shape[1] == 40
    for index, row in enumerate(rows):
        for name in ("start_positions", "end_positions"):
            assert batch["input_ids"][index, batch[name][index]] == row["input_ids"][row[name]]
    assert set(batch) == {
        *("input_ids", "attention_mask", "token_type_ids", "start_positions", "end_positions")
    }
