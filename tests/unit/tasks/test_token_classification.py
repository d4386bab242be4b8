"""The task from texts to lines of results, with a model that knows three words."""

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from merged import evaluated, predicted
from models import encoder_tokenizer, recipe
from torch import Tensor

from rankfold.data.examples import EntityExample, Span
from rankfold.errors import ShardError
from rankfold.nbest.units import Unit, plan_units
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Merged, RecordedExamples
from rankfold.tasks.token_classification import TokenClassification

TASK = TokenClassification()
TOKENIZER = encoder_tokenizer()
LABELS = ("person", "place")
FILLER = "the river flows to the sea. " * 6


def example(key: str, text: str, *entities: tuple[str, str]) -> EntityExample:
    spans = [Span(text.index(part), text.index(part) + len(part), label) for part, label in entities]
    return EntityExample(key, text, tuple(sorted(spans)))


LONG = example(
    "long", f"{FILLER}Anna Keller lives in Ulm. {FILLER}", ("Anna Keller", "person"), ("Ulm", "place")
)
SHORT = example("short", "Ulm lives in Anna.", ("Ulm", "place"))
EMPTY = example("empty", "")
CHINESE = example("chinese", "张三 Anna 北京。", ("北京", "place"))
EXAMPLES = [LONG, SHORT, EMPTY, CHINESE]


class KnowsThreeWords:
    """A model that tags Anna B-person, Keller I-person and Ulm B-place, wherever they stand."""

    device = torch.device("cpu")

    def __call__(self, input_ids: Tensor, **inputs: Tensor) -> SimpleNamespace:
        logits = torch.zeros(*input_ids.shape, 5)
        logits[:, :, 0] = 4.0 + (input_ids % 7).float() / 100
        for word, tag in (("anna", 1), ("keller", 2), ("ulm", 3)):
            logits[:, :, tag] += 9.0 * (input_ids == TOKENIZER.convert_tokens_to_ids(word))
        return SimpleNamespace(logits=logits)


class LogitsOfTokens:
    """A model of no sense, whose logits depend on a token alone."""

    device = torch.device("cpu")

    def __call__(self, input_ids: Tensor, **inputs: Tensor) -> SimpleNamespace:
        mixed = input_ids.unsqueeze(2) * torch.tensor([7919, 104729, 1299709, 15485863, 32452843])
        return SimpleNamespace(logits=(mixed % 1009).float() / 100)


def settled(data: dict[str, Any] | None = None, **evaluation: Any) -> Recipe:
    return recipe(
        "token_classification",
        data={"max_length": 24, "doc_stride": 10, **(data or {})},
        evaluation={"n_best_size": 5, "per_device_eval_batch_size": 2, **evaluation},
    )


def features_of(examples: list[EntityExample], using: Recipe) -> Dataset:
    return Dataset.from_dict(TASK.evaluation_features(examples, TOKENIZER, using, LABELS).columns)


def payload(features: Dataset, unit: Unit, using: Recipe, model: Any) -> bytes:
    return predicted(TASK, model, TOKENIZER, features, unit, using)


def merged(
    examples: list[EntityExample],
    using: Recipe | None = None,
    *,
    unit_size: int = 4,
    num_shards: int = 1,
    each_alone: bool = False,
    model: Any = None,
) -> Merged:
    return evaluated(
        TASK,
        model or KnowsThreeWords(),
        TOKENIZER,
        examples,
        using or settled(),
        LABELS,
        unit_size=unit_size,
        num_shards=num_shards,
        each_alone=each_alone,
    )


def merge(payloads: list[bytes], examples: list[EntityExample], features: Dataset, using: Recipe) -> Merged:
    return TASK.merge(RecordedExamples(payloads, examples, features.data.table), using, LABELS)


def rows(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def predictions(results: Merged) -> dict[str, Any]:
    return {
        key: value
        for line in results.predictions.splitlines()
        for key, value in json.loads(f"{{{line.decode()}}}").items()
    }


def test_entities_are_found_once_however_many_windows_show_them() -> None:
    assert len(features_of([LONG], settled())) > 3
    found = predictions(merged(EXAMPLES))
    assert list(found) == ["long", "short", "empty", "chinese"]
    start = LONG.text.index("Anna")
    anna, ulm = found["long"]
    assert 0.9 < anna.pop("score") < 1
    assert anna == {"text": "Anna Keller", "label": "person", "start": start, "end": start + 11}
    assert (ulm["text"], ulm["label"]) == ("Ulm", "place")
    assert [entity["label"] for entity in found["short"]] == ["place", "person"]
    assert found["empty"] == []
    assert [entity["text"] for entity in found["chinese"]] == ["Anna"]


def test_n_best_lists_hold_what_was_predicted_first_and_are_as_long_as_asked_for() -> None:
    long, _, empty, _ = rows(merged(EXAMPLES).nbest)
    assert [(one["text"], one["label"]) for one in long["nbest"][:2]] == [
        ("Ulm", "place"),
        ("Anna Keller", "person"),
    ]
    assert len(long["nbest"]) == 5
    scores = [one["score"] for one in long["nbest"]]
    assert scores == sorted(scores, reverse=True)
    assert (empty["id"], empty["nbest"]) == ("empty", [])


def test_details_hold_gold_predicted_and_how_well_they_agree() -> None:
    long, short, *_ = rows(merged(EXAMPLES).details)
    assert long["text"] == LONG.text
    assert [span[:3] for span in long["predicted"]] == long["gold"]
    assert (long["f1"], short["f1"]) == (1.0, pytest.approx(2 / 3))
    assert (long["invented"], long["parse_failure"], long["generated"]) == ([], False, [])


def test_metrics_come_from_the_details_alone() -> None:
    metrics = TASK.metrics(rows(merged(EXAMPLES).details), settled(num_bootstrap_resamples=10), LABELS)
    assert (metrics["num_gold"], metrics["num_predicted"], metrics["num_correct"]) == (4, 5, 3)
    assert metrics[TASK.facts.metric_for_best_model] == pytest.approx(6 / 9)
    assert list(metrics["per_label"]) == ["person", "place"]


@pytest.mark.parametrize("model", [KnowsThreeWords(), LogitsOfTokens()], ids=["sense", "nonsense"])
@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize("unit_size", [1, 2, 3, 100])
def test_neither_units_nor_shards_nor_ranges_change_a_byte(
    unit_size: int, num_shards: int, model: Any
) -> None:
    expected = merged(EXAMPLES, model=model)
    assert merged(EXAMPLES, unit_size=unit_size, num_shards=num_shards, model=model) == expected
    assert merged(EXAMPLES, unit_size=unit_size, each_alone=True, model=model) == expected


WORDS = ["Anna", "Keller", "Ulm", "river", "Berlin,", "bridges", "北京", "Sonne.", "\n"]


@settings(max_examples=40)
@given(words=st.lists(st.sampled_from(WORDS), max_size=40), each_token=st.booleans())
def test_windows_claim_what_one_long_window_does_where_the_logits_agree(
    words: list[str], each_token: bool
) -> None:
    text = [EntityExample("text", " ".join(words), ())]
    # Neighbours share ten tokens, so an owner shows at least four behind its own: room for spans of three.
    values = {"max_answer_length": 3, "decoding_strategy": "argmax"}
    short = settled({"label_all_tokens": each_token}, **values)
    long = settled({"label_all_tokens": each_token, "max_length": 400}, **values)
    in_windows, at_once = (merged(text, using, model=LogitsOfTokens()) for using in (short, long))
    assert in_windows.nbest == at_once.nbest
    sense_in_windows, sense_at_once = (merged(text, using) for using in (short, long))
    if "Keller Keller" not in text[0].text:  # an entity of any length
        assert sense_in_windows == sense_at_once


def test_windows_need_not_come_from_units_in_order() -> None:
    features, using = features_of(EXAMPLES, settled()), settled()
    payloads = [payload(features, unit, using, LogitsOfTokens()) for unit in plan_units(len(features), 1)]
    random.Random(7).shuffle(payloads)
    assert merge(payloads, EXAMPLES, features, using) == merged(EXAMPLES, model=LogitsOfTokens())


def test_a_merge_may_keep_fewer_candidates_but_not_more_than_were_kept() -> None:
    features, using = features_of(EXAMPLES, settled()), settled()
    payloads = [payload(features, Unit(0, 0, len(features)), using, LogitsOfTokens())]
    fewer = merge(payloads, EXAMPLES, features, settled(n_best_size=2))
    assert fewer == merged(EXAMPLES, settled(n_best_size=2), model=LogitsOfTokens())
    with pytest.raises(ShardError, match="n_best_size is 6"):
        merge(payloads, EXAMPLES, features, settled(n_best_size=6))


def test_records_depend_on_the_decoding_but_not_on_what_only_the_merge_reads() -> None:
    base = TASK.record_settings(settled())
    for changed in (
        settled(decoding_strategy="argmax"),
        settled(max_answer_length=7),
        settled(n_best_size=4),
        settled({"label_all_tokens": False}),
        settled({"labels": ["place"]}),
    ):
        assert TASK.record_settings(changed) != base
    assert TASK.record_settings(settled(num_bootstrap_resamples=7)) == base
