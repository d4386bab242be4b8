"""A recipe's data where it is cleaned, mixed, or read in pieces."""

import json
import tracemalloc
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from models import recipe

from rankfold.data.cleaning import EMPTY, IN_TEST, REPEATED, TOO_SHORT
from rankfold.data.examples import DocumentExample, EntityExample, TextExample
from rankfold.data.readers import ExampleOf, refuse_rows
from rankfold.data.rows import example_of_row
from rankfold.data.sides import Splits
from rankfold.data.splits import read_splits
from rankfold.data.streaming import stream_splits
from rankfold.errors import DataError
from rankfold.recipe.schema import Recipe

DOCUMENT: ExampleOf = partial(example_of_row, DocumentExample)
LABELLED: ExampleOf = partial(example_of_row, TextExample)


def jsonl(path: Path, *rows: Mapping[str, Any] | str, **settings: Any) -> dict[str, Any]:
    values = [{"text": row} if isinstance(row, str) else row for row in rows]
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return {"path": str(path), "format": "jsonl", **settings}


def two_files(folder: Path, **data: Any) -> dict[str, Any]:
    return {
        "source": None,
        "train": jsonl(folder / "train.jsonl", "aa", "", "bb", "aa", "tt", "c", "dd"),
        "test": jsonl(folder / "test.jsonl", "tt", "  ", "uu"),
        **data,
    }


def documents(data: dict[str, Any], **sections: Any) -> Splits:
    return read_splits(recipe("causal_lm", data=data, **sections), DOCUMENT)


def texts(examples: Any) -> list[str]:
    return [example.text for example in examples]


def test_training_examples_are_cleaned_and_of_test_examples_only_the_empty_left_out(tmp_path: Path) -> None:
    cleaning = {"drop_duplicates": True, "min_characters": 2}
    splits = documents(two_files(tmp_path, cleaning=cleaning))
    assert (texts(splits.train), texts(splits.test)) == (["aa", "bb", "dd"], ["tt", "uu"])
    assert splits.dropped == {"train": {EMPTY: 1, REPEATED: 1, IN_TEST: 1, TOO_SHORT: 1}, "test": {EMPTY: 1}}
    assert splits.first["train"][REPEATED] == ["train, id 4"]


def test_a_training_set_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no example of train is left: 1 × empty or blank text; 6 × shorter"):
        documents(two_files(tmp_path, cleaning={"min_characters": 9}))


def test_what_is_held_out_of_training_does_not_depend_on_whether_training_evaluates(tmp_path: Path) -> None:
    rows = [f"text {index % 12}" for index in range(30)]
    data = {
        "source": jsonl(tmp_path / "all.jsonl", *rows),
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
        "cleaning": {"drop_duplicates": True},
    }
    evaluated = documents(data, train={"eval_strategy": "epoch"})
    assert documents(data).train == evaluated.train
    assert not set(texts(evaluated.train)) & {*texts(evaluated.validation), *texts(evaluated.test)}


def test_sets_are_mixed_as_often_as_their_weights_say(tmp_path: Path) -> None:
    mixed = {
        "faq": jsonl(tmp_path / "faq.jsonl", "f1", "", "aa", "f2", weight=2.0),
        "web": jsonl(tmp_path / "web.jsonl", *(f"w{index}" for index in range(10)), weight=0.5),
    }
    splits = documents(two_files(tmp_path, mixed_with=mixed, cleaning={"drop_duplicates": True}))
    by_name = {one.name: list(one.examples) for one in splits.train_sets}
    assert texts(by_name["train"]) == ["aa", "bb", "c", "dd"]
    assert [example.id for example in by_name["train"]] == ["train:1", "train:3", "train:6", "train:7"]
    assert texts(by_name["faq"]) == ["f1", "f2"] * 2
    assert [example.id for example in by_name["faq"]] == ["faq:1", "faq:4", "faq#2:1", "faq#2:4"]
    assert len(by_name["web"]) == 5
    assert splits.dropped["faq"] == {EMPTY: 1, REPEATED: 1}


def test_a_limit_holds_for_all_training_sets_together(tmp_path: Path) -> None:
    mixed = {"web": jsonl(tmp_path / "web.jsonl", *(f"w{index}" for index in range(30)))}
    splits = documents(two_files(tmp_path, mixed_with=mixed, max_train_examples=12))
    assert len(splits.train) == 12
    assert 0 < len(list(splits.train_sets[0].examples)) < 12


def test_a_weight_of_the_only_training_set_counts_too(tmp_path: Path) -> None:
    data = {"source": jsonl(tmp_path / "all.jsonl", *map(str, range(10)), weight=2.0)}
    splits = documents(data)
    assert (len(splits.train), len(splits.test)) == (18, 1)


def labelled(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"text": text, "labels": label} for text, label in pairs]


def test_labels_of_a_mixed_set_come_after_those_of_the_training_set(tmp_path: Path) -> None:
    data = {
        "source": None,
        "train": jsonl(tmp_path / "train.jsonl", *labelled(("1", "b"))),
        "test": jsonl(tmp_path / "test.jsonl", *labelled(("2", "c"), ("3", "d"))),
        "mixed_with": {"more": jsonl(tmp_path / "more.jsonl", *labelled(("4", "c"), ("5", "a")))},
    }
    of = recipe("text_classification", data=data)
    splits = read_splits(of, LABELLED)
    assert splits.labels == ("b", "c", "a")
    wanted = recipe("text_classification", data=data | {"labels": ["c", "b"]})
    chosen = read_splits(wanted, LABELLED)
    assert chosen.labels == ("c", "b")
    assert chosen.dropped["test"] == {"no wanted label": 1}
    with pytest.raises(DataError, match="no training example has the label x; the labels here are: b, c, a"):
        read_splits(recipe("text_classification", data=data | {"labels": ["b", "c", "x"]}), LABELLED)


def test_rows_of_one_author_stay_on_one_side(tmp_path: Path) -> None:
    rows = [{"text": f"text {index}", "author": f"author {index % 10}"} for index in range(60)]
    source = jsonl(tmp_path / "all.jsonl", *rows)
    data = {"source": source, "split": {"train": 0.8, "test": 0.2, "group_by": "author"}}
    splits = documents(data)
    author = {row["text"]: row["author"] for row in rows}
    sides = [{author[text] for text in texts(side)} for side in (splits.train, splits.test)]
    assert not sides[0] & sides[1]
    with pytest.raises(DataError, match="there is no column 'writer'"):
        documents(data | {"split": {"group_by": "writer"}})


# Streaming.


def streamed(
    of: Recipe, folder: Path, example_of: ExampleOf = DOCUMENT, kind: Any = DocumentExample
) -> Splits:
    folder.mkdir(exist_ok=True)
    return stream_splits(of, example_of, kind, folder)


def test_a_stream_gives_what_reading_it_whole_gives(tmp_path: Path) -> None:
    mixed = {"faq": jsonl(tmp_path / "faq.jsonl", "f1", "", "aa", "f2", "f3", "f4", weight=2.5)}
    data = two_files(tmp_path, mixed_with=mixed, cleaning={"drop_duplicates": True, "min_characters": 2})
    whole = documents(data)
    of = recipe("causal_lm", data=data | {"streaming": True})
    stream = streamed(of, tmp_path / "spool")
    assert (stream.train, stream.test, stream.labels) == (whole.train, whole.test, whole.labels)
    assert stream.dropped == whole.dropped
    assert stream.first["train"][REPEATED] == [f"{tmp_path}/train.jsonl:4"]


def test_a_stream_of_labelled_texts_knows_its_labels_first(tmp_path: Path) -> None:
    data = {
        "source": None,
        "train": jsonl(tmp_path / "train.jsonl", *labelled(("1", "b"), ("2", "a"))),
        "test": jsonl(tmp_path / "test.jsonl", *labelled(("3", "a"), ("4", "x"))),
        "streaming": True,
    }
    splits = streamed(recipe("text_classification", data=data), tmp_path / "spool", LABELLED, TextExample)
    assert splits.labels == ("b", "a")
    assert texts(splits.test) == ["3", "4"]
    of = recipe("text_classification", data=data | {"labels": ["a", "y"]})
    with pytest.raises(DataError, match="no training example has the label y; the labels here are: b, a"):
        streamed(of, tmp_path / "spool", LABELLED, TextExample)


def test_a_stream_of_entities_is_labelled_as_a_whole_file_is(tmp_path: Path) -> None:
    rows = [
        {"text": f"Ulm {index}", "entities": [{"start": 0, "end": 3, "label": "ab"[index % 2]}]}
        for index in range(9)
    ]
    files = {
        side: jsonl(tmp_path / f"{side}.jsonl", *rows) | {"format": "spans"} for side in ("train", "test")
    }
    data = {"source": None, **files}

    whole = read_splits(recipe("token_classification", data=data))
    of = recipe("token_classification", data=data | {"streaming": True})
    stream = streamed(of, tmp_path / "spool", refuse_rows, EntityExample)
    assert (stream.train, stream.labels) == (whole.train, whole.labels)


def test_a_stream_takes_the_first_examples_of_the_file(tmp_path: Path) -> None:
    of = recipe("causal_lm", data=two_files(tmp_path, streaming=True, max_train_examples=3))
    assert texts(streamed(of, tmp_path / "spool").train) == ["aa", "bb", "aa"]


def test_a_stream_is_never_whole_in_memory(tmp_path: Path) -> None:
    """Peak memory hardly grows with the data; read as a whole it grows as the data does."""

    def peak(number: int, *, streaming: bool) -> int:
        rows = (f"{index} {'word ' * 200}" for index in range(number))
        data = two_files(tmp_path, train=jsonl(tmp_path / "many.jsonl", *rows), streaming=streaming)
        of = recipe("causal_lm", data=data)
        tracemalloc.start()
        splits = streamed(of, tmp_path / "spool") if streaming else read_splits(of, DOCUMENT)
        count = sum(1 for one in splits.train_sets for _ in one.examples)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == number
        return found

    peak(10, streaming=True)  # what is loaded once
    grown, grown_whole = (
        peak(3000, streaming=streaming) - peak(300, streaming=streaming) for streaming in (True, False)
    )
    # What does grow is pydantic's cache of short strings, here of ids, which is full at 16,384 of them.
    assert grown < 0.15 * grown_whole
