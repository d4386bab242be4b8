import json
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from datasets import Dataset
from merged import Results, merge_all, predicted
from models import absolute_causal_model, causal_model, chat_tokenizer, recipe
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.data.chat import chat_ids
from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.examples import EntityExample, Span
from rankfold.data.features import Features
from rankfold.entities.prompt import answer_text, messages, wording
from rankfold.errors import NumericalError
from rankfold.evaluation.generation import GeneratedSequence
from rankfold.evaluation.sequences import sequences_by_example, sequences_to_bytes
from rankfold.nbest.units import Unit, plan_units
from rankfold.recipe.schema import Recipe
from rankfold.tasks.generative_ner import GenerativeNER

TASK = GenerativeNER()
TOKENIZER = chat_tokenizer()
LABELS = ("person", "place")
EXAMPLES = [
    EntityExample("a", "Anna lives in Ulm.", (Span(0, 4, "person"), Span(14, 17, "place"))),
    EntityExample("b", "Paul paints.", (Span(0, 4, "person"),)),
    EntityExample("c", "The river flows.", ()),
]


def settings(**sections: Any) -> Recipe:
    return recipe("generative_ner", **sections)


def training(examples: list[EntityExample], max_length: int = 384) -> Features:
    return TASK.training_features(examples, TOKENIZER, settings(data={"max_length": max_length}), LABELS)


def length(example: EntityExample) -> tuple[int, int]:
    """Tokens of the prompt and of the answer."""
    words = wording(settings().prompt)
    answer = answer_text(example.entities, example.text, words)
    ids = chat_ids(TOKENIZER, messages(example.text, LABELS, words), answer)
    return len(ids.prompt), len(ids.answer)


def test_the_prompt_is_not_learned_and_every_token_of_the_answer_is() -> None:
    features = training(EXAMPLES)
    for example, ids, labels in zip(
        EXAMPLES, features.columns["input_ids"], features.columns["labels"], strict=True
    ):
        prompt, answer = length(example)
        assert len(ids) == len(labels) == prompt + answer
        assert labels[:prompt] == [IGNORED_LABEL] * prompt
        assert labels[prompt:] == ids[prompt:]
        assert IGNORED_LABEL not in labels[prompt:]
    assert TOKENIZER.decode(features.columns["labels"][2][-6:]).endswith("<|im_end|>")
    assert (features.num_truncated, dict(features.dropped)) == (0, {})


def test_evaluation_starts_from_the_prompt_that_was_trained_on() -> None:
    trained = training(EXAMPLES).columns
    shown = TASK.evaluation_features(EXAMPLES, TOKENIZER, settings(), LABELS).columns["input_ids"]
    for ids, labels, prompt in zip(trained["input_ids"], trained["labels"], shown, strict=True):
        assert ids[: labels.count(IGNORED_LABEL)] == prompt


def test_an_answer_that_max_length_cuts_is_counted() -> None:
    prompt, answer = length(EXAMPLES[0])
    assert training(EXAMPLES[:1], prompt + answer).num_truncated == 0
    features = training(EXAMPLES[:1], prompt + answer - 1)
    assert features.num_truncated == 1
    assert len(features.columns["input_ids"][0]) == prompt + answer - 1


def test_a_prompt_that_fills_max_length_alone_gives_no_row_and_is_counted() -> None:
    long = EntityExample("long", "Ulm " * 100, ())
    features = training([*EXAMPLES, long], length(long)[0])
    assert len(features) == len(EXAMPLES)
    assert features.dropped == {"prompt alone fills max_length": 1}
    assert len(training([*EXAMPLES, long], length(long)[0] + 1)) == len(EXAMPLES) + 1


def test_examples_of_which_none_gives_a_row_are_counted_all_the_same() -> None:
    features = training(EXAMPLES, 10)
    assert (len(features), features.dropped) == (0, {"prompt alone fills max_length": len(EXAMPLES)})


def test_a_text_is_never_truncated_for_evaluation() -> None:
    long = EntityExample("long", "Ulm " * 100, ())
    rows = TASK.evaluation_features([long], TOKENIZER, settings(data={"max_length": 20}), LABELS).columns
    assert TOKENIZER.decode(rows["input_ids"][0]).count("Ulm") == 100


@pytest.mark.parametrize("build", [causal_model, absolute_causal_model])
def test_a_batch_has_the_loss_of_its_rows_one_by_one(
    build: Callable[[PreTrainedTokenizerBase], PreTrainedModel],
) -> None:
    model = build(TOKENIZER)
    columns = training(EXAMPLES, length(EXAMPLES[0])[0] + 5).columns
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    with torch.inference_mode():
        batch = float(model(**TASK.collate(rows, TOKENIZER)).loss)
        alone = [
            float(
                model(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss
            )
            for row in rows
        ]
    learned = [len(row["labels"]) - row["labels"].count(IGNORED_LABEL) for row in rows]
    mean = sum(loss * count for loss, count in zip(alone, learned, strict=True)) / sum(learned)
    assert batch == pytest.approx(mean, rel=1e-5)


def answer(*entities: tuple[str, str]) -> str:
    return "\n".join(json.dumps({"text": text, "label": label}) for text, label in entities)


GENERATED = {
    "a": [
        (answer(("Anna", "person"), ("Ulm", "place")), -1.0),
        (answer(("Anna", "person"), ("Ulm", "person")), -2.0),
    ],
    "b": [("no idea {", -1.0), (answer(("Paul", "person")), -3.0)],
    "c": [(answer(("Danube", "place")), -0.5), ("No entities.", -0.7)],
}


def units(unit_size: int) -> list[tuple[Unit, bytes]]:
    """What evaluation would have written, divided anyhow."""
    parts = []
    for unit in plan_units(len(EXAMPLES), unit_size):
        rows = [
            GeneratedSequence(place, index, text, score, 4, finished=True)
            for place, example in enumerate(EXAMPLES[unit.start : unit.stop])
            for index, (text, score) in enumerate(GENERATED[example.id])
        ]
        parts.append((unit, sequences_to_bytes(rows, first_example=unit.start)))
    return parts


def merged(parts: list[tuple[Unit, bytes]], **evaluation: Any) -> Results:
    features = Dataset.from_dict({"input_ids": [[1]] * len(EXAMPLES), "example": [0, 1, 2]})
    payloads = [payload for _, payload in parts]
    return merge_all(TASK, payloads, EXAMPLES, features, settings(evaluation=evaluation), LABELS)


def test_the_most_probable_sequence_becomes_the_prediction() -> None:
    score = pytest.approx(1 / (1 + math.exp(-1)))
    assert merged(units(2)).predictions == {
        "a": [
            {"text": "Anna", "label": "person", "start": 0, "end": 4, "score": 1.0},
            {"text": "Ulm", "label": "place", "start": 14, "end": 17, "score": score},
        ],
        "b": [],
        "c": [],
    }


def test_every_sequence_weighs_by_its_probability_in_the_n_best_list() -> None:
    first, second, third = merged(units(2)).nbest
    best, worse = 1 / (1 + math.exp(-1)), math.exp(-1) / (1 + math.exp(-1))
    assert [(one["text"], one["label"]) for one in first["nbest"]] == [
        ("Anna", "person"),
        ("Ulm", "place"),
        ("Ulm", "person"),
    ]
    assert [one["score"] for one in first["nbest"]] == pytest.approx([1.0, best, worse])
    assert [one["text"] for one in second["nbest"]] == ["Paul"]
    assert third == {"id": "c", "mode": "beams", "nbest": []}


def test_samples_weigh_one_vote_each() -> None:
    first, *_ = merged(units(2), do_sample=True, num_return_sequences=2).nbest
    assert [one["score"] for one in first["nbest"]] == [1.0, 0.5, 0.5]


def test_details_hold_what_was_right_wrong_invented_and_unreadable() -> None:
    first, second, third = merged(units(2)).details
    assert first["gold"] == [[0, 4, "person"], [14, 17, "place"]]
    assert [entity[:3] for entity in first["predicted"]] == first["gold"]
    assert (first["f1"], first["parse_failure"], first["invented"]) == (1.0, False, [])
    assert (second["parse_failure"], second["f1"]) == (True, 0.0)
    assert third["invented"] == [{"text": "Danube", "label": "place"}]
    assert third["generated"] == [text for text, _ in GENERATED["c"]]


def test_metrics_count_an_invented_entity_as_wrong() -> None:
    metrics = merged(units(2)).metrics
    assert (metrics["num_examples"], metrics["num_gold"]) == (3, 3)
    assert (metrics["num_predicted"], metrics["num_correct"]) == (3, 2)
    assert metrics["entity_f1"] == pytest.approx(2 / 3)
    assert metrics["parse_failure_rate"] == pytest.approx(1 / 3)
    assert list(metrics["per_label"]) == list(LABELS)


@pytest.mark.parametrize("unit_size", [1, 2, 3])
def test_neither_the_division_into_units_nor_their_order_changes_a_byte(unit_size: int) -> None:
    parts = units(unit_size)
    random.Random(unit_size).shuffle(parts)
    assert merged(parts) == merged(units(2))


def sequences_of(unit: Unit, **evaluation: Any) -> dict[int, Any]:
    features = Dataset.from_dict(TASK.evaluation_features(EXAMPLES, TOKENIZER, settings(), LABELS).columns)
    of = settings(evaluation={"max_new_tokens": 4, **evaluation})
    model = causal_model(TOKENIZER)
    payload = predicted(TASK, model, TOKENIZER, features, unit, of)
    return dict(sequences_by_example([payload]))


def test_a_unit_s_sequences_belong_to_its_own_examples() -> None:
    found = sequences_of(Unit(1, 1, 3), num_beams=2, num_return_sequences=2)
    assert {example: len(sequences) for example, sequences in found.items()} == {1: 2, 2: 2}


def test_samples_of_a_unit_depend_on_the_unit_alone_and_differ_between_units() -> None:
    search = {"do_sample": True, "num_return_sequences": 3}
    torch.manual_seed(1)
    once = sequences_of(Unit(1, 1, 3), **search)
    torch.manual_seed(2)
    assert sequences_of(Unit(1, 1, 3), **search) == once
    assert sequences_of(Unit(2, 1, 3), **search) != once


def test_a_model_that_diverged_names_the_text_and_the_shard() -> None:
    features = Dataset.from_dict(TASK.evaluation_features(EXAMPLES, TOKENIZER, settings(), LABELS).columns)
    model = causal_model(TOKENIZER)
    torch.nn.init.constant_(model.model.norm.weight, float("nan"))
    unit, of = Unit(1, 2, 3), settings(evaluation={"max_new_tokens": 2})
    with pytest.raises(NumericalError, match="of text 2 is nan") as caught:
        predicted(TASK, model, TOKENIZER, features, unit, of, "shard 0 (base)")
    assert caught.value.where == "shard 0 (base)"
