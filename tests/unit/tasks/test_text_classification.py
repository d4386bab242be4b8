"""The task from texts to lines of results, with models whose logits are known."""

import json
import math
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

from rankfold.data.examples import TextExample
from rankfold.errors import NumericalError
from rankfold.nbest.units import plan_units
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Merged, RecordedExamples
from rankfold.tasks.text_classification import TextClassification

TASK = TextClassification()
TOKENIZER = encoder_tokenizer()
LABELS = ("river", "town", "bread")
WORDS = ("river", "town", "bakery")


class CountsWords:
    """A model whose logit of a label is how often the label's word comes, the first time three, then one."""

    device = torch.device("cpu")
    config = SimpleNamespace(pad_token_id=0)

    def __call__(self, input_ids: Tensor, **inputs: Tensor) -> SimpleNamespace:
        ids = [TOKENIZER.convert_tokens_to_ids(word) for word in WORDS]
        counts = torch.stack([(input_ids == one).sum(dim=1) for one in ids], dim=1)
        return SimpleNamespace(logits=counts.float() + 2.0 * (counts > 0) - 1.0)


class LogitsOfTokens(CountsWords):
    """A model of no sense, whose logits depend on all tokens."""

    def __call__(self, input_ids: Tensor, **inputs: Tensor) -> SimpleNamespace:
        mixed = input_ids.sum(dim=1, keepdim=True) * torch.tensor([7919, 104729, 1299709])
        return SimpleNamespace(logits=(mixed % 1009).float() / 300 - 1)


class Breaks(CountsWords):
    def __call__(self, input_ids: Tensor, **inputs: Tensor) -> SimpleNamespace:
        found = super().__call__(input_ids, **inputs)
        found.logits[(input_ids == TOKENIZER.convert_tokens_to_ids("sea")).any(dim=1), 1] = math.nan
        return found


def settled(data: dict[str, Any] | None = None, **evaluation: Any) -> Recipe:
    return recipe(
        "text_classification",
        data={"max_length": 12, **(data or {})},
        evaluation={"n_best_size": 2, "per_device_eval_batch_size": 2, **evaluation},
    )


SEVERAL = settled({"multi_label": True})


def texts(*pairs: tuple[str, str]) -> list[TextExample]:
    """Examples of a text and its labels, separated by white space."""
    return [TextExample(f"t{n}", text, labels=tuple(of.split())) for n, (text, of) in enumerate(pairs)]


EXAMPLES = texts(
    ("the river flows to the sea", "river"),
    ("the old town", "town"),
    ("who lives in the town", "bread"),
    ("", "bread"),
    ("works for the bakery", "bread"),
)


def merged(
    examples: list[TextExample],
    using: Recipe | None = None,
    *,
    unit_size: int = 4,
    num_shards: int = 1,
    model: Any = None,
    labels: tuple[str, ...] = LABELS,
) -> Merged:
    return evaluated(
        TASK,
        model or CountsWords(),
        TOKENIZER,
        examples,
        using or settled(),
        labels,
        unit_size=unit_size,
        num_shards=num_shards,
    )


def rows(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def predictions(results: Merged) -> dict[str, Any]:
    members = (json.loads(f"{{{line.decode()}}}") for line in results.predictions.splitlines())
    return {key: value for member in members for key, value in member.items()}


def scores(results: Merged, using: Recipe, labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    return TASK.metrics(rows(results.details), using, labels)


def test_the_most_probable_label_is_predicted_and_the_next_ones_are_listed() -> None:
    results = merged(EXAMPLES)
    assert predictions(results) == {"t0": "river", "t1": "town", "t2": "town", "t3": "river", "t4": "bread"}
    first = rows(results.nbest)[0]
    # Logits 2, -1, -1: of the equal ones the first is the second best.
    total = math.exp(2) + 2 * math.exp(-1)
    assert [one["label"] for one in first["nbest"]] == ["river", "town"]
    assert [one["probability"] for one in first["nbest"]] == pytest.approx(
        [math.exp(2) / total, math.exp(-1) / total], rel=1e-15
    )


def test_of_labels_that_are_equally_probable_the_first_one_is_predicted() -> None:
    empty = texts(("", "bread"))
    assert predictions(merged(empty)) == {"t0": "river"}
    assert predictions(merged(empty, labels=("bread", "river", "town"))) == {"t0": "bread"}


def test_details_score_a_mistake_by_the_probability_of_the_right_label() -> None:
    details = rows(merged(EXAMPLES).details)
    assert [row["score"] for row in details] == [1.0, 1.0, pytest.approx(0.0453, abs=1e-4), 1 / 3, 1.0]
    assert (details[2]["gold"], details[2]["predicted"]) == ("bread", "town")


def test_scores_come_from_the_details_alone() -> None:
    metrics = scores(merged(EXAMPLES), settled())
    assert (metrics["accuracy"], metrics["chance_accuracy"], metrics["num_examples"]) == (0.6, 0.6, 5)
    assert metrics["per_label"]["bread"] == {
        "precision": 1.0,
        "recall": 1 / 3,
        "f1": 0.5,
        "num_gold": 3,
        "num_predicted": 1,
        "num_correct": 1,
    }
    low, high = metrics["confidence_intervals"]["accuracy"]
    assert low <= 0.6 <= high
    assert "confidence_intervals" not in scores(merged(EXAMPLES), settled(num_bootstrap_resamples=0))


def test_with_several_labels_each_is_decided_by_itself() -> None:
    examples = texts(
        ("the river and the old town", "river town"),
        ("the bakery", "bread town"),
        ("", ""),
        ("the old town", ""),
    )
    results = merged(examples, SEVERAL)
    assert predictions(results) == {"t0": ["river", "town"], "t1": ["bread"], "t2": [], "t3": ["town"]}
    # The sigmoids of 2 and -1.
    assert [one["probability"] for one in rows(results.nbest)[1]["nbest"]] == pytest.approx(
        [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))], rel=1e-15
    )
    details = rows(results.details)
    assert [row["score"] for row in details] == [1.0, 2 / 3, 1.0, 0.0]
    assert (details[2]["gold"], details[2]["predicted"]) == ("(no label)", "(no label)")
    metrics = scores(results, SEVERAL)
    assert metrics["subset_accuracy"] == 0.5
    assert metrics["micro_f1"] == 2 * 3 / (4 + 4)
    # Half of the texts have no label: so much is right of who never gives one.
    assert metrics["chance_accuracy"] == 0.5
    assert set(metrics["confidence_intervals"]) == {"subset_accuracy", "micro_f1", "macro_f1"}


def test_a_label_exactly_as_probable_as_the_threshold_is_given() -> None:
    class SaysNothing(CountsWords):
        def __call__(self, input_ids: Tensor, **inputs: Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=torch.zeros(len(input_ids), 3))

    results = merged(texts(("the", "")), SEVERAL, model=SaysNothing())
    assert predictions(results) == {"t0": ["river", "town", "bread"]}
    stricter = settled({"multi_label": True}, multi_label_threshold=math.nextafter(0.5, 1))
    assert predictions(merged(texts(("the", "")), stricter, model=SaysNothing())) == {"t0": []}
    assert [one["probability"] for one in rows(results.nbest)[0]["nbest"]] == [0.5, 0.5]


@settings(max_examples=40)
@given(
    words=st.lists(st.lists(st.sampled_from([*WORDS, "the", "sea"]), max_size=6), min_size=1, max_size=5),
    threshold=st.floats(0, 1, exclude_min=True, exclude_max=True),
)
def test_the_labels_given_are_exactly_those_that_reach_the_threshold(
    words: list[list[str]], threshold: float
) -> None:
    examples = texts(*((" ".join(one), "town") for one in words))
    using = settled({"multi_label": True}, multi_label_threshold=threshold, n_best_size=3)
    results = merged(examples, using, model=LogitsOfTokens())
    reached = {
        row["id"]: [one["label"] for one in row["nbest"] if one["probability"] >= threshold]
        for row in rows(results.nbest)
    }
    details = rows(results.details)
    assert predictions(results) == reached == {row["id"]: row["predicted_labels"] for row in details}
    # So that `launch merge` may change it.
    assert "multi_label_threshold" in TASK.merge_settings
    num_predicted = sum(label["num_predicted"] for label in scores(results, using)["per_label"].values())
    assert num_predicted == sum(map(len, reached.values()))


def test_pairs_are_read_together_and_shown_below_each_other() -> None:
    pair = TextExample("p", "the river", "the town town", ("town",))
    features = TASK.evaluation_features([pair, EXAMPLES[0]], TOKENIZER, settled(), LABELS)
    assert set(features.columns["token_type_ids"][0]) == {0, 1}
    assert set(features.columns["token_type_ids"][1]) == {0}
    assert TOKENIZER.decode(features.columns["input_ids"][0]).count("[SEP]") == 2
    results = merged([pair, EXAMPLES[0]])
    assert predictions(results) == {"p": "town", "t0": "river"}
    assert rows(results.details)[0]["text"] == "the river\nthe town town"


def test_a_label_that_the_model_does_not_know_counts_as_wrong_and_is_told() -> None:
    examples = texts(("the old town", "castle"), ("the old town", "town"))
    features = TASK.evaluation_features(examples, TOKENIZER, settled(), LABELS)
    assert features.repaired == {"label that training has not, counted as wrong": 1}
    metrics = scores(merged(examples), settled())
    assert (metrics["accuracy"], metrics["unknown_label_rate"]) == (0.5, 0.5)
    assert metrics["per_label"]["castle"]["num_gold"] == 1
    assert rows(merged(examples).details)[0]["score"] == 0.0
    assert "unknown_label_rate" not in scores(merged(EXAMPLES), settled())


def test_texts_without_a_label_are_predicted_but_not_scored() -> None:
    results = merged(texts(("the old town", ""), ("the old town", "town")))
    assert predictions(results) == {"t0": "town", "t1": "town"}
    assert rows(results.details)[0]["score"] is None
    assert scores(results, settled())["num_examples"] == 1


@pytest.mark.parametrize("using", [settled(), SEVERAL], ids=["one", "several"])
def test_a_test_set_without_labels_measures_nothing(using: Recipe) -> None:
    metrics = scores(merged(texts(("the old town", ""), ("the river", "")), using=using), using)
    unmeasured = {name for name, value in metrics.items() if value is None}
    assert unmeasured >= {"macro_f1", "micro_f1", "chance_accuracy"}
    assert metrics.keys() - unmeasured == {"num_examples", "per_label"}


def test_nan_names_the_row_and_the_shard() -> None:
    with pytest.raises(NumericalError, match="shard 0: logit 1 of row 4 is nan"):
        merged([*EXAMPLES[1:], EXAMPLES[0]], model=Breaks(), unit_size=3)


@settings(max_examples=40)
@given(
    words=st.lists(st.lists(st.sampled_from([*WORDS, "the", "sea"]), max_size=6), min_size=1, max_size=9),
    unit_size=st.integers(1, 5),
    num_shards=st.integers(1, 4),
    several=st.booleans(),
)
def test_results_do_not_depend_on_shards_or_units(
    words: list[list[str]], unit_size: int, num_shards: int, several: bool
) -> None:
    examples = texts(*((" ".join(one), "town") for one in words))
    using = settled({"multi_label": several})
    once = merged(examples, using, unit_size=100, model=LogitsOfTokens())
    assert once == merged(examples, using, unit_size=unit_size, num_shards=num_shards, model=LogitsOfTokens())


def test_ranges_of_examples_come_to_the_lines_of_the_whole() -> None:
    features = Dataset.from_dict(TASK.evaluation_features(EXAMPLES, TOKENIZER, settled(), LABELS).columns)
    payloads = [
        predicted(TASK, CountsWords(), TOKENIZER, features, unit, settled())
        for unit in plan_units(len(features), 2)
    ]
    table = features.data.table
    parts = [
        TASK.merge(
            RecordedExamples(
                # The units that hold a row of the range, which also hold others.
                payloads=payloads[start // 2 : (start + 2) // 2 + 1],
                examples=EXAMPLES[start : start + 2],
                features=table.slice(start, 2),
                first_example=start,
                first_row=start,
            ),
            settled(),
            LABELS,
        )
        for start in (1, 3)
    ]
    whole = merged(EXAMPLES)
    assert b"".join(part.details for part in parts) == whole.details.split(b"\n", 1)[1]


def test_texts_that_are_too_long_are_cut_and_counted() -> None:
    long = texts(("the river " * 20 + "town", "river"), ("the river", "river"))
    for features in (
        TASK.evaluation_features(long, TOKENIZER, settled(), LABELS),
        TASK.training_features(long, TOKENIZER, settled(), LABELS),
    ):
        assert features.num_truncated == 1
        assert [len(ids) for ids in features.columns["input_ids"]] == [12, 4]
