"""Questions with choices: what a row may say, what is learned, and which choice is made."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from merged import evaluated
from models import encoder_tokenizer, recipe
from torch import Tensor

from rankfold.data.examples import ChoiceExample
from rankfold.data.features import Features
from rankfold.data.readers import read_examples
from rankfold.errors import DataError, NumericalError
from rankfold.modeling.load import load_model
from rankfold.recipe.schema import Recipe, Source
from rankfold.tasks.base import Merged
from rankfold.tasks.multiple_choice import MultipleChoice

TASK = MultipleChoice()
TOKENIZER = encoder_tokenizer()


class LikesTheSea:
    """A model of multiple choice that scores a choice by how often it says sea; longer ones a little less."""

    device = torch.device("cpu")
    config = SimpleNamespace(pad_token_id=0)

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, **inputs: Tensor) -> SimpleNamespace:
        assert input_ids.ndim == 3
        seas = (input_ids == TOKENIZER.convert_tokens_to_ids("sea")).sum(dim=2)
        return SimpleNamespace(logits=seas.float() - attention_mask.sum(dim=2) / 64)


class Breaks(LikesTheSea):
    def __call__(self, input_ids: Tensor, attention_mask: Tensor, **inputs: Tensor) -> SimpleNamespace:
        found = super().__call__(input_ids, attention_mask, **inputs)
        found.logits[found.logits > 0.5] = math.inf
        return found


def question(key: str, *choices: str, answer: int | None = 0, context: str = "") -> ChoiceExample:
    return ChoiceExample(key, "where does the river end", choices, answer, context)


EXAMPLES = [
    question("q1", "town", "sea", answer=1),
    question("q2", "town", "old town", "sea", answer=0),
    question("q3", "bridges", "bridges", answer=1),
    question("q4", "sea", "town", "the sea", "works", answer=0, context="the river flows"),
]


def settled(**sections: Any) -> Recipe:
    sections = {
        "data": {"max_length": 32},
        "evaluation": {"n_best_size": 2, "per_device_eval_batch_size": 3, "unit_size": 3},
    } | sections
    return recipe("multiple_choice", **sections)


def evaluation_features(examples: list[ChoiceExample], using: Recipe | None = None) -> Dataset:
    return Dataset.from_dict(TASK.evaluation_features(examples, TOKENIZER, using or settled(), ()).columns)


def merged(
    examples: list[ChoiceExample], *, unit_size: int = 3, num_shards: int = 1, model: Any = None
) -> Merged:
    return evaluated(
        TASK,
        model or LikesTheSea(),
        TOKENIZER,
        examples,
        settled(),
        unit_size=unit_size,
        num_shards=num_shards,
    )


def rows(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def training_rows(features: Features) -> list[dict[str, Any]]:
    names = list(features.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*features.columns.values(), strict=True)]


def row(answer: Any, choices: Any = ("bank", "B", "2", "a river")) -> int | None:
    values = {"id": "1", "question": "where", "choices": list(choices), "answer": answer}
    return TASK.example_of(values, "data.jsonl:1").answer


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        *[(0, 0), (3, 3), ("A", 0), ("d", 3), ("1", 1), ("a river", 3), (" bank ", 0)],
        # The text of a choice comes before a letter, and before a number.
        *[("B", 1), ("2", 2)],
        *[(None, None), ("", None), (float("nan"), None), (3.0, 3)],
    ],
)
def test_an_answer_is_a_number_a_letter_or_the_text_of_a_choice(answer: Any, place: int | None) -> None:
    assert row(answer) == place


@pytest.mark.parametrize("answer", [4, -1, "E", "the bank", True, 1.5, "²"])
def test_an_answer_that_is_no_choice_is_an_error(answer: Any) -> None:
    with pytest.raises(DataError, match=r"data.jsonl:1: answer: .* is none of the 4 choices"):
        row(answer)


def test_the_text_of_two_choices_is_no_answer() -> None:
    with pytest.raises(DataError, match="the text of several of the 2 choices"):
        row("sea", ["sea", "sea"])


def test_choices_may_be_in_columns_of_their_letters() -> None:
    values = {"id": "1", "question": "where", "A": "sea", "B": "town", "D": "not a choice", "answer": "B"}
    example = TASK.example_of(values, "ceval.csv:2")
    assert (example.choices, example.answer) == (("sea", "town"), 1)


@pytest.mark.parametrize("choices", [["sea"], []])
def test_fewer_than_two_choices_are_an_error(choices: list[str]) -> None:
    with pytest.raises(DataError, match="two choices at least"):
        row(0, choices)


def test_a_row_without_choices_says_how_to_name_their_column() -> None:
    with pytest.raises(DataError, match="there is no choices") as caught:
        TASK.example_of({"id": "1", "question": "where", "endings": ["sea", "town"]}, "data.jsonl:1")
    assert "columns: {choices: COLUMN}" in caught.value.remedy


def test_each_choice_is_read_with_the_question_and_after_the_context() -> None:
    ids = evaluation_features(EXAMPLES)["input_ids"]
    shown = [TOKENIZER.decode(one) for one in ids]
    assert shown[0] == "[CLS] where does the river end [SEP] town [SEP]"
    assert shown[-1] == "[CLS] the river flows [SEP] where does the river end works [SEP]"
    assert evaluation_features(EXAMPLES)["example"] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3]


def test_a_context_is_cut_before_the_question_and_the_choice_and_counted_once() -> None:
    using = settled(data={"max_length": 16})
    long = question("long", "sea", "town", context="the river flows " * 9)
    features = TASK.evaluation_features([long, EXAMPLES[0]], TOKENIZER, using, ())
    assert features.num_truncated == 1
    shown = [TOKENIZER.decode(ids) for ids in features.columns["input_ids"]]
    assert [text.split("[SEP]")[1].strip() for text in shown[:2]] == [
        "where does the river end sea",
        "where does the river end town",
    ]
    assert TASK.training_features([long], TOKENIZER, using, ()).num_truncated == 1


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_batch_has_a_place_for_every_choice_and_an_empty_mask_where_there_is_none(side: str) -> None:
    tokenizer = encoder_tokenizer(padding_side=side)
    features = TASK.training_features(EXAMPLES, tokenizer, settled(), ())
    each = TASK.evaluation_features(EXAMPLES, tokenizer, settled(), ()).columns["input_ids"]
    assert features.num_tokens == sum(map(len, each))
    batch = TASK.collate(training_rows(features), tokenizer)
    assert batch["input_ids"].shape == (4, 4, 16)
    assert batch["labels"].tolist() == [1, 0, 1, 0]
    assert batch["attention_mask"].any(dim=2).sum(dim=1).tolist() == [2, 3, 2, 4]
    wanted = iter(each)
    for example, ids, mask in zip(EXAMPLES, batch["input_ids"], batch["attention_mask"], strict=True):
        for place in range(len(example.choices)):
            assert ids[place][mask[place] == 1].tolist() == next(wanted)
    assert TASK.num_items(batch) == 4


def test_questions_without_an_answer_are_not_learned_and_counted() -> None:
    unanswered = question("q5", "sea", "town", answer=None)
    features = TASK.training_features([*EXAMPLES, unanswered], TOKENIZER, settled(), ())
    assert (len(features), features.dropped) == (4, {"no answer": 1})
    nothing = TASK.training_features([unanswered], TOKENIZER, settled(), ())
    assert (len(nothing), nothing.dropped) == (0, {"no answer": 1})


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_choices_that_are_not_there_change_neither_loss_nor_gradients(
    attention: str, encoder_folder: Path
) -> None:
    using = settled(model={"name_or_path": str(encoder_folder), "attn_implementation": attention})
    torch.manual_seed(0)
    model = load_model(encoder_folder, using.model, TASK.auto_class, TASK.model_config(())).model.eval()
    lines = training_rows(TASK.training_features(EXAMPLES, TOKENIZER, using, ()))

    weights = list(model.parameters())

    def loss_and_gradients(groups: list[list[dict[str, Any]]]) -> tuple[Tensor, tuple[Tensor, ...]]:
        total = torch.zeros(())
        for group in groups:
            loss, output = TASK.loss(model, TASK.collate(group, TOKENIZER))
            assert output.logits.shape == (len(group), max(len(line["lengths"]) for line in group))
            total = total + loss * len(group) / len(lines)
        return total, torch.autograd.grad(total, weights)

    together, gradients = loss_and_gradients([lines])
    alone, own = loss_and_gradients([[line] for line in lines])
    assert torch.allclose(together, alone, rtol=1e-5)
    assert any(one.abs().max() > 1e-3 for one in gradients)
    for one, other in zip(gradients, own, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_best_choice_is_predicted_and_of_equal_ones_the_first() -> None:
    results = merged(EXAMPLES)
    members = [json.loads(f"{{{line.decode()}}}") for line in results.predictions.splitlines()]
    found = {key: value for member in members for key, value in member.items()}
    assert {key: value["answer"] for key, value in found.items()} == {"q1": 1, "q2": 2, "q3": 0, "q4": 0}
    assert found["q2"]["text"] == "sea"
    assert found["q3"]["probability"] == 0.5
    assert [[one["answer"] for one in line["nbest"]] for line in rows(results.nbest)] == [
        *([1, 0], [2, 0]),
        *([0, 1], [0, 2]),
    ]


def test_details_read_like_an_exam_and_hold_what_is_scored() -> None:
    results = merged(EXAMPLES)
    details, second = rows(results.details), rows(results.nbest)[1]["nbest"][1]
    assert details[3]["text"] == (
        "the river flows\nwhere does the river end\nA. sea\nB. town\nC. the sea\nD. works"
    )
    assert (details[1]["gold"], details[1]["predicted"]) == ("A. town", "C. sea")
    # A mistake scores the probability of the right choice, here the second best.
    assert second["answer"] == EXAMPLES[1].answer
    assert [row["score"] for row in details] == [1.0, second["probability"], 0.5, 1.0]
    metrics = TASK.metrics(details, settled(), ())
    assert metrics["accuracy"] == 0.5
    assert metrics["chance_accuracy"] == (1 / 2 + 1 / 3 + 1 / 2 + 1 / 4) / 4
    assert set(metrics["confidence_intervals"]) == {"accuracy"}


def test_questions_without_an_answer_are_predicted_but_not_scored() -> None:
    results = merged([EXAMPLES[0], question("q5", "sea", "town", answer=None)])
    details = rows(results.details)
    assert (details[1]["gold"], details[1]["predicted"], details[1]["score"]) == ("", "A. sea", None)
    assert TASK.metrics(details, settled(), ())["num_examples"] == 1
    assert TASK.metrics(details[1:], settled(), ()) == {
        "accuracy": None,
        "chance_accuracy": None,
        "num_examples": 0,
    }


def test_infinity_names_the_row_and_the_shard() -> None:
    with pytest.raises(NumericalError, match="shard 0: logit 0 of row 1 is inf"):
        merged(EXAMPLES, model=Breaks(), unit_size=1)


WORDS = ("sea", "town", "the old town", "sea sea", "works")


@settings(max_examples=40)
@given(
    choices=st.lists(st.lists(st.sampled_from(WORDS), min_size=2, max_size=5), min_size=1, max_size=6),
    unit_size=st.integers(1, 7),
    num_shards=st.integers(1, 4),
)
def test_results_do_not_depend_on_shards_or_units(
    choices: list[list[str]], unit_size: int, num_shards: int
) -> None:
    examples = [question(f"q{number}", *own) for number, own in enumerate(choices)]
    assert merged(examples, unit_size=100) == merged(examples, unit_size=unit_size, num_shards=num_shards)


def test_commonsense_qa_is_read_as_its_authors_wrote_it(shared_data: Path) -> None:
    path = str(shared_data / "commonsenseqa_dev/dev_rand_split.jsonl.gz")
    columns = {"choices": "choices.text", "answer": "answerKey"}
    source = Source(path=path, format="jsonl", columns=columns)
    examples = read_examples(source, example_of=TASK.example_of).examples
    assert len(examples) == 1221
    first = examples[0]
    assert isinstance(first, ChoiceExample)
    assert first.question.startswith("A revolving door is convenient")
    assert first.choices == ("bank", "library", "department store", "mall", "new york")
    assert first.answer == 0
    assert {example.answer for example in examples if isinstance(example, ChoiceExample)} == set(range(5))
