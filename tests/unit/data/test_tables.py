"""Tables: their rows by the names that a recipe gives the columns, and located mistakes."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.readers import count_examples
from rankfold.data.tables import TableRow, column_value, read_rows
from rankfold.errors import DataError
from rankfold.recipe.schema import Source


def written(path: Path, text: str, **settings: Any) -> Source:
    path.write_text(text, encoding="utf-8", newline="")
    return Source.model_validate({"path": str(path), "format": path.suffix[1:], **settings})


def values(source: Source) -> list[dict[str, Any]]:
    return [dict(row.values) for row in read_rows(source)]


def test_csv_has_quotes_line_breaks_in_fields_chinese_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = '\ufefftext,label\r\n"a, ""b""\nc",x\r\n\r\n张三住在北京。,地点\r\n'
    source = written(tmp_path / "a.csv", text)
    assert values(source) == [
        {"id": "1", "text": 'a, "b"\nc', "label": "x"},
        {"id": "2", "text": "张三住在北京。", "label": "地点"},
    ]
    assert [row.where for row in read_rows(source)] == [f"{source.path}:3", f"{source.path}:5"]
    assert count_examples(source) == 2


def test_without_a_header_columns_have_numbers(tmp_path: Path) -> None:
    source = written(
        tmp_path / "a.tsv", 'Hi.\t嗨 "x\n\n', has_header=False, columns={"source": "0", "target": "1"}
    )
    (row,) = values(source)
    assert (row["source"], row["target"]) == ("Hi.", '嗨 "x')


def test_an_empty_text_in_a_file_of_one_column_is_a_row(tmp_path: Path) -> None:
    assert [row["text"] for row in values(written(tmp_path / "a.csv", 'text\na\n""\nb\n'))] == ["a", "", "b"]


def test_a_field_may_be_longer_than_csv_allows_by_itself(tmp_path: Path) -> None:
    (row,) = values(written(tmp_path / "a.csv", f"text,label\n{'a' * 200_000},b\n"))
    assert len(row["text"]) == 200_000


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_what_a_csv_writer_wrote_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    file = io.StringIO()
    csv.writer(file).writerows([("a", "b"), *rows])
    source = written(tmp_path_factory.mktemp("csv") / "a.csv", file.getvalue())
    assert [(row["a"], row["b"]) for row in values(source)] == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,label\na,b\nc\n", ":3: 1 columns; there are 2 in the lines before"),
        ("text,label\na,b,c\n", ":2: 3 columns"),
        ("text,text\na,b\n", ':1: the header names "text" more than once'),
        ('text,label\n"a,b\nc,d\n', ":3: a line cannot be divided into columns: unexpected end of data"),
        ('text,label\n"a"b,c\n', ":2: a line cannot be divided into columns"),
    ],
)
def test_a_line_that_does_not_fit_is_located(tmp_path: Path, text: str, message: str) -> None:
    source = written(tmp_path / "a.csv", text)
    with pytest.raises(DataError) as caught:
        list(read_rows(source))
    assert message in str(caught.value)


def test_an_id_that_a_row_does_not_have_is_its_number(tmp_path: Path) -> None:
    lines = [{"id": "x", "text": "a"}, {"text": "b"}, {"id": None, "text": "c"}, {"id": "", "text": "d"}]
    source = written(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, lines)))
    assert [row["id"] for row in values(source)] == ["x", "2", "3", "4"]
    assert count_examples(source) == 4


def test_half_a_character_is_refused_wherever_it_is(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", '{"text": "a"}\n{"parts": [{"text": "\\ud83d"}]}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: `text` holds half a character, \\ud83d"):
        list(read_rows(source))


def test_json_is_a_list_of_objects(tmp_path: Path) -> None:
    source = written(tmp_path / "a.json", '[{"text": "a"}, {"text": "b"}]')
    assert [row["text"] for row in values(source)] == ["a", "b"]
    with pytest.raises(DataError, match="must be a list of objects"):
        values(written(tmp_path / "b.json", '{"train": []}'))
    with pytest.raises(DataError, match=r"c\.json\[1\]: must be a JSON object; found 1"):
        values(written(tmp_path / "c.json", '[{"text": "a"}, 1]'))


def test_parquet_is_read_in_batches_and_counted_without_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rankfold.data.tables.PARQUET_ROWS", 2)
    path = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({"text": ["一", "b", "c"], "labels": [["x"], [], ["x", "y"]]}), path)
    source = Source(path=str(path), format="parquet")
    assert [row["labels"] for row in values(source)] == [["x"], [], ["x", "y"]]
    assert [row.where for row in read_rows(source)][2] == f"{path}, row 2"
    assert count_examples(source) == 3


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_what_is_no_parquet_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    source = Source(path=str(path), format="parquet")
    for read in (lambda: list(read_rows(source)), lambda: count_examples(source)):
        with pytest.raises(DataError, match="cannot be read as Parquet") as caught:
            read()
        assert caught.value.where == str(path)


def test_a_folder_laid_out_like_a_hub_data_set_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("sentence,mark\na,1\nb,0\n")
    source = Source(path=f"hub:{tmp_path}", format="hub", columns={"text": "sentence", "labels": "mark"})
    rows = list(read_rows(source))
    assert [(row.values["text"], row.values["labels"]) for row in rows] == [("a", 1), ("b", 0)]
    assert rows[1].where == f"hub:{tmp_path}, split train, row 1"


ROW = TableRow(
    "file:1",
    {
        "question": {"stem": "Where?", "choices": [{"text": "Ulm"}, {"text": "Bonn"}]},
        "options": {"text": ["a", "b"]},
        "pages": [{"lines": [{"text": "a"}]}, {"lines": [{"text": "b"}, {"text": "c"}]}, {}],
        "a.b": "dotted",
        "none": None,
    },
)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("question.stem", "Where?"),
        ("question.choices[].text", ["Ulm", "Bonn"]),
        ("options.text", ["a", "b"]),
        ("options.text[]", ["a", "b"]),
        ("pages[].lines[].text", ["a", "b", "c"]),
        ("a.b", "dotted"),
        ("question.missing", None),
        ("none.deeper", None),
        ("*positive", "positive"),
        ("*", ""),
    ],
)
def test_a_column_may_be_a_way_into_the_row(column: str, value: Any) -> None:
    assert column_value(column, ROW) == value


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("stem", "file:1: there is no column 'stem'; there are question, options"),
        ("question[].text", "goes into a list; found"),
        ("question.choices.text", "goes into an object for `text`; found"),
    ],
)
def test_a_way_that_leads_nowhere_is_an_error(column: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        column_value(column, ROW)
    assert message in str(caught.value)


# Public data sets as their authors publish them.


def unpacked(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def test_banking77_has_10003_texts_of_77_labels(shared_data: Path) -> None:
    source = Source(
        path=str(shared_data / "banking77" / "train.csv.gz"), format="csv", columns={"labels": "category"}
    )
    rows = values(source)
    assert len(rows) == count_examples(source) == 10_003
    assert len({row["labels"] for row in rows}) == 77
    # One text goes over several lines.
    assert any("\n" in row["text"] for row in rows)


def test_tatoeba_has_21116_pairs_without_a_header(shared_data: Path) -> None:
    source = Source(
        path=str(shared_data / "tatoeba_en_zh" / "cmn.txt.gz"),
        format="tsv",
        has_header=False,
        columns={"source": "0", "target": "1"},
    )
    rows = values(source)
    assert len(rows) == 21_116
    assert (rows[0]["source"], rows[0]["target"]) == ("Hi.", "嗨。")


def test_csl_has_1000_abstracts_with_titles(shared_data: Path) -> None:
    source = Source(
        path=str(shared_data / "csl_title_generation" / "dev.tsv.gz"),
        format="tsv",
        has_header=False,
        columns={"source": "1", "target": "2"},
    )
    rows = values(source)
    assert len(rows) == 1000
    assert rows[0]["target"] == "一种基于平方和优化的飞行器大角度机动镇定控制器设计方法"


def test_commonsense_qa_has_five_choices_a_question(shared_data: Path) -> None:
    source = Source(
        path=str(shared_data / "commonsenseqa_dev" / "dev_rand_split.jsonl.gz"),
        format="jsonl",
        columns={"choices": "choices.text", "answer": "answerKey"},
    )
    rows = values(source)
    assert len(rows) == 1221
    assert {len(row["choices"]) for row in rows} == {5}
    assert rows[0]["choices"] == ["bank", "library", "department store", "mall", "new york"]


def test_clinc150_as_one_object_of_lists_is_refused_and_its_pairs_are_a_table(
    shared_data: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "data_full.json"
    whole.write_text(unpacked(shared_data / "clinc150" / "data_full.json.gz"))
    with pytest.raises(DataError, match="must be a list of objects"):
        values(Source(path=str(whole), format="json"))
    pairs = json.loads(whole.read_text())["train"]
    with (tmp_path / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "labels"), *pairs])
    rows = values(Source(path=str(tmp_path / "train.csv"), format="csv"))
    assert [[row["text"], row["labels"]] for row in rows] == pairs
    assert len(rows) == 15_000
