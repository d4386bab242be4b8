"""Tokenising in pieces: the same features by any number of processes, and none where it does not pay."""

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import recipe

from rankfold.data import pieces
from rankfold.data.examples import EntityExample, Example, Span
from rankfold.data.feature_writer import write_features
from rankfold.data.features import Features, read_features
from rankfold.data.pieces import Tokeniser, divide, num_processes
from rankfold.errors import DataError
from rankfold.stages.tokenising import Tokenising

LABELS = ("place",)


def examples(number: int) -> list[EntityExample]:
    return [
        EntityExample(str(index), f"Ulm and {index}" + " Berlin" * (index % 9), (Span(0, 3, "place"),))
        for index in range(number)
    ]


def tokeniser(folder: Path, number: int, **settings: Any) -> Tokeniser:
    tokenising = Tokenising(recipe("token_classification", folder, data={"doc_stride": 8}), LABELS, folder)
    return Tokeniser(tokenising.load, tokenising.load(), number, **settings)


def test_features_are_the_same_bytes_by_any_number_of_processes(encoder_folder: Path, tmp_path: Path) -> None:
    written = []
    for number in (1, 2):
        with tokeniser(encoder_folder, number, piece_size=7, patience_s=0.0) as made:
            found = [features for _, features in made.pieces_of(examples(40))]
            assert (made._pool is not None) == (number > 1)
        folder = tmp_path / str(number)
        write_features(folder, found)
        written.append([path.read_bytes() for path in sorted(folder.glob("*.arrow"))])
    assert written[0] == written[1]
    assert len(written[0]) == 1


def test_pieces_come_in_order_with_their_examples(encoder_folder: Path) -> None:
    everyone = examples(15)
    with tokeniser(encoder_folder, 1, piece_size=4) as made:
        found = list(made.pieces_of(everyone))
    assert [example for piece, _ in found for example in piece] == everyone
    assert [len(piece) for piece, _ in found] == [4, 4, 4, 3]


def test_few_examples_need_no_pool(encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_start", lambda *_: pytest.fail("a pool was started"))
    with tokeniser(encoder_folder, 8, piece_size=5) as made:
        assert len(list(made.pieces_of(examples(19)))) == 4


def test_an_error_comes_out_of_a_process_as_it_was() -> None:
    error = DataError("is wrong", where="file:1", remedy="Correct it.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 (of our own making)


def test_only_so_many_pieces_are_read_ahead() -> None:
    taken = 0

    def source() -> Iterator[Example]:
        nonlocal taken
        for example in examples(50):
            taken += 1
            yield example

    for number, _ in enumerate(divide(source(), 5), start=1):
        assert taken == 5 * number


def test_the_recipe_says_how_many_processes_or_else_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    assert num_processes(recipe("causal_lm")) == 6
    assert num_processes(recipe("causal_lm", resources={"prepare": {"cpus_per_task": 4}})) == 4
    assert num_processes(recipe("causal_lm", resources={"prepare": {"cpus_per_task": 64}})) == 6
    assert num_processes(recipe("causal_lm", data={"num_proc": 9})) == 9


@given(number=st.integers(0, 40), size=st.integers(1, 9))
def test_pieces_are_all_examples_in_order_and_only_the_last_is_small(number: int, size: int) -> None:
    found = list(divide(examples(number), size))
    assert [example for piece in found for example in piece] == examples(number)
    assert all(len(piece) == size for piece in found[:-1])
    assert all(0 < len(piece) <= size for piece in found)


def features(*rows: Sequence[int], **more: list[Any]) -> Features:
    return Features({"input_ids": list(rows), **more})


def test_features_are_written_by_pieces_and_read_as_one(tmp_path: Path) -> None:
    from datasets import Dataset

    made = [
        features(),
        features([1], [2, 3], score=[None, None], labels=[[], []]),
        features([4], score=[0.5], labels=[[7]]),
    ]
    assert write_features(tmp_path / "written", iter(made)) == 3
    table = read_features(tmp_path / "written")
    assert table.column("input_ids").to_pylist() == [[1], [2, 3], [4]]
    assert table.column("score").to_pylist() == [None, None, 0.5]
    assert Dataset.load_from_disk(str(tmp_path / "written"))[2]["labels"] == [7]
    assert [path.name for path in tmp_path.iterdir()] == ["written"]


def test_without_a_row_nothing_is_written(tmp_path: Path) -> None:
    assert write_features(tmp_path / "written", [features()]) == 0
    assert not list(tmp_path.iterdir())
