import json
from pathlib import Path
from typing import Any

import pytest
from models import recipe

from rankfold.data.examples import Answer, EntityExample, QuestionExample, TextExample
from rankfold.data.result import ReadResult
from rankfold.data.sides import Splits
from rankfold.data.splits import read_splits
from rankfold.errors import DataError
from rankfold.recipe.schema import Source
from rankfold.tasks.text_classification import TextClassification


def entities_file(path: Path, texts: list[str], *, label: str = "place") -> dict[str, Any]:
    """Each text's first word is an entity."""
    rows = [
        {"id": text, "text": text, "entities": [{"start": 0, "end": len(text.split()[0]), "label": label}]}
        for text in texts
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path), "format": "spans"}


def questions_file(path: Path, answers: list[str | None]) -> dict[str, Any]:
    """One context a question, so that they may be divided anyhow; None has no answer."""
    paragraphs = [
        {
            "context": f"Text {index}: Ulm lies on the Danube.",
            "qas": [
                {
                    "id": f"{path.stem}{index}",
                    "question": "Where?",
                    "answers": [{"text": answer, "answer_start": 8}] if answer else [],
                    "is_impossible": answer is None,
                }
            ],
        }
        for index, answer in enumerate(answers)
    ]
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    return {"path": str(path), "format": "squad"}


def ids(splits: Splits, side: str) -> list[str]:
    return [example.id for example in getattr(splits, side)]


def test_one_source_is_divided_and_nothing_is_lost(tmp_path: Path) -> None:
    texts = [f"Ulm {index}" for index in range(20)]
    source = entities_file(tmp_path / "all.jsonl", texts)
    splits = read_splits(recipe("generative_ner", data={"source": source}))
    assert (len(splits.train), len(splits.test)) == (18, 2)
    assert sorted(ids(splits, "train") + ids(splits, "test")) == sorted(texts)
    assert splits.labels == ("place",)


def test_two_sources_stay_as_they_are(tmp_path: Path) -> None:
    data = {
        "source": None,
        "train": entities_file(tmp_path / "train.jsonl", ["Ulm a", "Ulm b"]),
        "test": entities_file(tmp_path / "test.jsonl", ["Bonn c"]),
    }
    splits = read_splits(recipe("generative_ner", data=data))
    assert (ids(splits, "train"), ids(splits, "test")) == (["Ulm a", "Ulm b"], ["Bonn c"])


def test_the_test_set_is_read_with_the_labels_of_the_training_set(tmp_path: Path) -> None:
    data = {
        "source": None,
        "train": entities_file(tmp_path / "train.jsonl", ["Ulm a"], label="place"),
        "test": entities_file(tmp_path / "test.jsonl", ["Bonn c"], label="river"),
    }
    splits = read_splits(recipe("generative_ner", data=data))
    assert splits.labels == ("place",)
    (example,) = splits.test
    assert isinstance(example, EntityExample)
    assert example.entities == ()
    assert sum(splits.dropped["test"].values()) == 1


def test_a_test_row_whose_label_nobody_trained_stays_in_the_test_set(tmp_path: Path) -> None:
    sides = {}
    for side, label in (("train", "greeting"), ("test", "farewell")):
        path = tmp_path / f"{side}.jsonl"
        path.write_text(json.dumps({"text": "Hello", "labels": label}) + "\n")
        sides[side] = {"path": str(path), "format": "jsonl"}
    task = TextClassification()
    splits = read_splits(recipe("text_classification", data={"source": None, **sides}), task.example_of)
    assert splits.labels == ("greeting",)
    assert [example.labels for example in splits.test if isinstance(example, TextExample)] == [("farewell",)]


def test_a_limit_takes_the_first_after_a_shuffle_and_the_same_ones_every_time(tmp_path: Path) -> None:
    texts = [f"Ulm {index}" for index in range(40)]
    limits = {
        "source": entities_file(tmp_path / "all.jsonl", texts),
        "max_train_examples": 5,
        "max_test_examples": 2,
    }
    splits = read_splits(recipe("generative_ner", data=limits))
    assert (len(splits.train), len(splits.test)) == (5, 2)
    assert ids(splits, "train") != texts[:5]
    assert read_splits(recipe("generative_ner", data=limits)) == splits


def test_more_examples_than_there_are_are_all_of_them(tmp_path: Path) -> None:
    source = entities_file(tmp_path / "all.jsonl", [f"Ulm {index}" for index in range(10)])
    splits = read_splits(recipe("generative_ner", data={"source": source, "max_train_examples": 99}))
    assert len(splits.train) == 9


@pytest.mark.parametrize("version_2", [None, True])
def test_questions_without_an_answer_are_kept_where_the_data_or_the_recipe_is_v2(
    tmp_path: Path, version_2: bool | None
) -> None:
    source = questions_file(tmp_path / "q.json", ["Ulm", None] * 5)
    evaluation = {"version_2_with_negative": version_2}
    splits = read_splits(recipe("extractive_qa", data={"source": source}, evaluation=evaluation))
    assert len(splits.train) + len(splits.test) == 10


def test_questions_without_an_answer_are_left_out_and_counted_where_the_recipe_is_v1(tmp_path: Path) -> None:
    data = {
        "source": None,
        "train": questions_file(tmp_path / "train.json", ["Ulm", None, None]),
        "test": questions_file(tmp_path / "test.json", ["Ulm", None]),
    }
    splits = read_splits(recipe("extractive_qa", data=data, evaluation={"version_2_with_negative": False}))
    kept = [*splits.train, *splits.test]
    assert all(isinstance(example, QuestionExample) and example.answers for example in kept)
    reason = "no answer, and version_2_with_negative is false"
    assert (splits.dropped["train"][reason], splits.dropped["test"][reason]) == (2, 1)


def test_a_v1_test_set_of_questions_without_answers_is_refused(tmp_path: Path) -> None:
    data = {
        "source": None,
        "train": questions_file(tmp_path / "train.json", ["Ulm"]),
        "test": questions_file(tmp_path / "test.json", [None, None]),
    }
    evaluation = {"version_2_with_negative": False}
    with pytest.raises(DataError, match="no question of the test set has an answer"):
        read_splits(recipe("extractive_qa", data=data, evaluation=evaluation))


EVALUATES = {"eval_strategy": "epoch"}


@pytest.fixture
def two_files(tmp_path: Path) -> dict[str, Any]:
    return {
        "source": None,
        "train": entities_file(tmp_path / "train.jsonl", [f"Ulm {index}" for index in range(20)]),
        "test": entities_file(tmp_path / "test.jsonl", ["Bonn c"]),
    }


def test_one_source_is_divided_in_three_and_nothing_is_lost(tmp_path: Path) -> None:
    texts = [f"Ulm {index}" for index in range(20)]
    shares = {"train": 0.7, "validation": 0.2, "test": 0.1}
    data = {"source": entities_file(tmp_path / "all.jsonl", texts), "split": shares}
    splits = read_splits(recipe("generative_ner", data=data, train=EVALUATES))
    assert [len(ids(splits, side)) for side in shares] == [14, 4, 2]
    assert sorted(ids(splits, "train") + ids(splits, "validation") + ids(splits, "test")) == sorted(texts)
    without = read_splits(recipe("generative_ner", data=data))
    assert (without.train, without.validation, without.test) == (splits.train, (), splits.test)


def test_a_validation_file_is_read_with_the_labels_of_the_training_set_and_counted(
    tmp_path: Path, two_files: dict[str, Any]
) -> None:
    texts = [f"Trier {index}" for index in range(5)]
    validation = entities_file(tmp_path / "validation.jsonl", texts, label="river")
    data = two_files | {"validation": validation, "max_validation_examples": 3}
    splits = read_splits(recipe("generative_ner", data=data, train=EVALUATES))
    assert len(splits.train) == 20
    assert len(splits.validation) == 3
    assert set(ids(splits, "validation")) < set(texts)
    assert sum(splits.dropped["validation"].values()) == 5
    assert splits.repaired.keys() == {"train", "validation", "test"}


def test_a_validation_file_may_stand_beside_one_source(tmp_path: Path) -> None:
    data = {
        "source": entities_file(tmp_path / "all.jsonl", [f"Ulm {index}" for index in range(10)]),
        "validation": entities_file(tmp_path / "validation.jsonl", ["Bonn c"]),
    }
    splits = read_splits(recipe("generative_ner", data=data, train=EVALUATES))
    assert [len(ids(splits, side)) for side in ("train", "validation", "test")] == [9, 1, 1]


def test_a_share_of_a_training_file_is_held_out_for_validation(two_files: dict[str, Any]) -> None:
    data = two_files | {"split": {"validation": 0.25}}
    splits = read_splits(recipe("generative_ner", data=data, train=EVALUATES))
    assert (len(splits.train), len(splits.validation)) == (15, 5)
    assert not set(ids(splits, "train")) & set(ids(splits, "validation"))
    assert ids(splits, "test") == ["Bonn c"]


def test_without_evaluations_nothing_is_taken_from_a_training_file_and_no_validation_file_is_read(
    two_files: dict[str, Any],
) -> None:
    whole = read_splits(recipe("generative_ner", data=two_files))
    assert read_splits(recipe("generative_ner", data=two_files | {"split": {"validation": 0.25}})) == whole
    missing = two_files | {"validation": {"path": "nowhere.jsonl", "format": "spans"}}
    assert read_splits(recipe("generative_ner", data=missing)) == whole


def test_a_v1_validation_set_of_questions_without_answers_is_refused(tmp_path: Path) -> None:
    data = {
        "source": None,
        "train": questions_file(tmp_path / "train.json", ["Ulm"]),
        "validation": questions_file(tmp_path / "validation.json", [None]),
        "test": questions_file(tmp_path / "test.json", ["Ulm"]),
    }
    evaluation = {"version_2_with_negative": False}
    of = recipe("extractive_qa", data=data, train=EVALUATES, evaluation=evaluation)
    with pytest.raises(DataError, match="no question of the validation set has an answer"):
        read_splits(of)


@pytest.fixture
def _hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every split of a data set on the hub holds ten questions with its name."""

    def read_hub(source: Source, split: str) -> ReadResult[QuestionExample]:
        names = [f"{source.path}/{split}{index}" for index in range(10)]
        questions = tuple(QuestionExample(name, "?", name, (Answer("h", 0),)) for name in names)
        return ReadResult(questions, (), {}, {})

    monkeypatch.setattr("rankfold.data.hub.read_hub", read_hub)


@pytest.mark.usefixtures("_hub")
def test_a_share_of_a_hub_data_set_is_held_out_of_its_training_split() -> None:
    data = {"source": {"path": "hub:h", "format": "squad"}, "split": {"validation": 0.2}}
    splits = read_splits(recipe("extractive_qa", data=data, train=EVALUATES))
    assert [len(ids(splits, side)) for side in ("train", "validation", "test")] == [8, 2, 10]
    assert all(name.startswith("hub:h/train") for name in ids(splits, "validation"))
    assert all(name.startswith("hub:h/validation") for name in ids(splits, "test"))


@pytest.mark.usefixtures("_hub")
def test_a_validation_set_on_the_hub_is_the_split_to_evaluate_on() -> None:
    source = {"path": "hub:h", "format": "squad"}
    data = {"source": source | {"test_split": "test"}, "validation": source}
    splits = read_splits(recipe("extractive_qa", data=data, train=EVALUATES))
    assert ids(splits, "validation") == [f"hub:h/validation{index}" for index in range(10)]
    assert ids(splits, "test") == [f"hub:h/test{index}" for index in range(10)]
