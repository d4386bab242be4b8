"""Tables as data sets: ids, labels wanted and found, and what keeps rows together."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from rankfold.data import tabular
from rankfold.data.examples import TextExample
from rankfold.data.result import ReadResult
from rankfold.data.rows import example_of_row
from rankfold.data.tables import TableRow
from rankfold.errors import DataError


def rows(*values: dict[str, Any]) -> list[TableRow]:
    return [
        TableRow(f"file:{number}", {"id": str(number), "text": "a", **row})
        for number, row in enumerate(values, 1)
    ]


def read(*values: dict[str, Any], wanted: Sequence[str] = (), **options: Any) -> ReadResult[Any]:
    example_of = partial(example_of_row, TextExample)
    return tabular.read(rows(*values), example_of, wanted, path="file", **options)


def test_labels_are_those_found_in_order_of_appearance() -> None:
    found = read({"labels": "b"}, {"labels": ["a", "b"]}, {"labels": []})
    assert found.labels == ("b", "a")
    assert len(found.examples) == 3


def test_an_example_without_a_wanted_label_is_dropped_and_keeps_no_other() -> None:
    found = read({"labels": "a"}, {"labels": "b"}, {"labels": ["c", "b"]}, {}, wanted=["b"])
    assert [example.labels for example in found.examples] == [("b",), ("b",), ()]
    assert found.labels == ("b",)
    assert found.dropped == {"no wanted label": 1, "label_not_wanted": 1}
    assert found.first == {"no wanted label": ["file:1"], "label_not_wanted": ["file:3"]}


def test_a_wanted_label_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(DataError, match=r"no example has the label c; the labels here are: a, b"):
        read({"labels": "a"}, {"labels": "b"}, wanted=["c"])
    assert len(read({"labels": "a"}, wanted=["a", "c"], demand_labels=False).examples) == 1


def test_an_id_that_comes_twice_is_located() -> None:
    with pytest.raises(DataError, match=r"file:2: the id 'x' comes twice"):
        read({"id": "x"}, {"id": "x"})


def test_no_rows_are_an_error() -> None:
    with pytest.raises(DataError, match="no examples"):
        read()


def test_rows_are_kept_together_by_a_column_and_alone_without_a_value() -> None:
    found = read({"author": "x"}, {"author": "x"}, {"author": None}, {"author": ""}, group_by="author")
    one, same, third, fourth = (found.groups[str(number)] for number in range(1, 5))
    assert one == same
    assert len({one, third, fourth}) == 3
    with pytest.raises(DataError, match="there is no column 'title'"):
        read({"author": "x"}, group_by="title")
