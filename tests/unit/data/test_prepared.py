"""prepare on mixed, packed, streamed and strict data: what is written and what is counted."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import new_run

from rankfold.data.features import read_features
from rankfold.data.pieces import Tokeniser
from rankfold.errors import DataError
from rankfold.run_folder import RunFolder
from rankfold.stages import prepare as stage
from rankfold.stages.prepare import prepare


def documents(path: Path, *texts: str, **settings: Any) -> dict[str, Any]:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return {"path": str(path), "format": "jsonl", **settings}


def prepared(folder: Path, model: Path, *, train: dict[str, Any] | None = None, **data: Any) -> RunFolder:
    folder.mkdir(exist_ok=True)
    river = [f"The river {index} flows to the sea." for index in range(12)]
    mixed = {"more": documents(folder / "more.jsonl", "Anna lives in Ulm.", "", "Paul paints.", weight=1.5)}
    sets = {
        "train": documents(folder / "train.jsonl", *river, river[0]),
        "test": documents(folder / "test.jsonl", "The old town.", river[3]),
        "mixed_with": mixed,
        "cleaning": {"drop_duplicates": True},
        "max_length": 64,
        "doc_stride": 8,
    }
    run = new_run(folder, "causal_lm", model, data=sets | data, train=train or {})
    prepare(run)
    return run


def summary(run: RunFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.prepare_summary.read_text())
    return found


def rows(run: RunFolder) -> dict[str, list[Any]]:
    table = read_features(run.prepared.features("train"))
    return {name: table.column(name).to_pylist() for name in table.column_names}


def test_everything_is_counted_by_side_and_source(
    tmp_path: Path, causal_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = prepared(tmp_path / "run", causal_folder)
    found = summary(run)
    assert found["train"]["num_examples"] == 14
    assert found["train"]["dropped"] == {
        "repeats an earlier training example": 1,
        "is in the test set too": 1,
        "empty or blank text": 1,
    }
    main, more = found["sources"]["train"], found["sources"]["more"]
    assert (main["num_examples"], more["num_examples"], more["weight"]) == (11, 3, 1.5)
    assert more["dropped"] == {"empty or blank text": 1}
    for key in ("num_examples", "num_features", "num_tokens", "num_truncated"):
        assert main[key] + more[key] == found["train"][key]
    features = rows(run)["input_ids"]
    assert (len(features), sum(map(len, features))) == (
        found["train"]["num_features"],
        found["train"]["num_tokens"],
    )
    lines = run.prepared.examples("train").read_text().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 14
    said = capsys.readouterr().out
    assert "  more, weight 1.5: 3 examples" in said
    assert "dropped from train: 1 × is in the test set too" in said
    assert sorted(path.name for path in run.prepared.root.iterdir()) == [
        "summary.json",
        "test.examples.jsonl",
        "test.features",
        "tokenizer",
        "train.examples.jsonl",
        "train.features",
    ]


def test_a_stream_is_prepared_as_what_is_read_whole(tmp_path: Path, causal_folder: Path) -> None:
    whole = prepared(tmp_path / "whole", causal_folder)
    stream = prepared(tmp_path / "stream", causal_folder, streaming=True)
    assert rows(stream) == rows(whole)
    assert summary(stream) == summary(whole)
    for side in ("train", "test"):
        files = [run.prepared.examples(side).read_bytes() for run in (whole, stream)]
        assert files[0] == files[1]


def test_packing_puts_examples_of_all_sources_together(tmp_path: Path, causal_folder: Path) -> None:
    found = summary(prepared(tmp_path / "run", causal_folder, train={"packing": True}))
    packing = found["packing"]
    assert packing["num_rows"] == found["train"]["num_features"] < packing["num_examples"]
    assert packing["fill_share"] == found["train"]["num_tokens"] / (packing["num_rows"] * 64)


def test_strict_refuses_and_leaves_nothing(tmp_path: Path, causal_folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepared(tmp_path / "run", causal_folder, cleaning={"strict": True})
    assert "dropped from more: 1 × empty or blank text (first: " in caught.value.message
    assert {path.name for path in (tmp_path / "run" / "run").iterdir()} == {"recipe.yaml", "run.json"}


def refused(run: RunFolder) -> str:
    with pytest.raises(DataError) as caught:
        prepare(run)
    return caught.value.message


@pytest.mark.usefixtures("_pieces_of_two")
def test_strict_names_the_first_examples_that_tokenising_drops(tmp_path: Path, causal_folder: Path) -> None:
    rows = [
        {"id": f"c{number}", "prompt": "Where does Anna live?", "completion": "Ulm" * (number % 2)}
        for number in range(10)
    ]
    strict = {"cleaning": {"strict": True}, "max_length": 64}
    data = twice(tmp_path, rows)
    message = refused(new_run(tmp_path, "instruction", causal_folder, data=data | strict))
    assert "dropped from train: 5 × no turn of the assistant (first: id c0; id c2; id c4)" in message


def test_strict_names_what_tags_cannot_say(tmp_path: Path, encoder_folder: Path) -> None:
    anna, whole, cut = ({"start": 0, "end": end, "label": "person"} for end in (4, 13, 2))
    entities = [[anna], [anna, whole], [cut], [anna, whole]]
    rows = [
        {"id": f"e{number}", "text": "Anna moved to Ulm.", "entities": spans}
        for number, spans in enumerate(entities)
    ]
    sources = {side: source | {"format": "spans"} for side, source in twice(tmp_path, rows).items()}
    data = sources | {"cleaning": {"strict": True}, "max_length": 32, "doc_stride": 8}
    message = refused(new_run(tmp_path, "token_classification", encoder_folder, data=data))
    assert "dropped from train: 2 × entity_overlaps_a_longer_one (first: id e1; id e3)" in message
    assert "repaired in train: 1 × entity_border_inside_a_token (first: id e2)" in message


def test_strict_names_examples_of_the_test_set_too(tmp_path: Path, encoder_folder: Path) -> None:
    data = twice(tmp_path, [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}])
    known, unknown = ({"id": f"of {label}", "text": "b", "label": label} for label in "xz")
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (known, unknown)))
    data |= {"cleaning": {"strict": True}}
    message = refused(new_run(tmp_path, "text_classification", encoder_folder, data=data))
    assert "in test: 1 × label that training has not, counted as wrong (first: id of z)" in message


def twice(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same rows to train and to test on, in a file each."""
    sources = {side: {"path": str(folder / f"{side}.jsonl"), "format": "jsonl"} for side in ("train", "test")}
    for source in sources.values():
        Path(source["path"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return sources


def classified(folder: Path, model: Path, *rows: tuple[str, str | None], **data: Any) -> RunFolder:
    """Prepare texts with labels, of which a piece is two."""
    sources = twice(folder, [{"text": text, "label": label} for text, label in rows])
    run = new_run(folder, "text_classification", model, data={**sources, "max_length": 64, **data})
    prepare(run)
    return run


@pytest.fixture
def _pieces_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "Tokeniser", partial(Tokeniser, piece_size=2))


@pytest.mark.usefixtures("_pieces_of_two")
def test_a_piece_without_a_row_and_a_label_of_another_piece_are_no_fault(
    tmp_path: Path, encoder_folder: Path
) -> None:
    texts: list[tuple[str, str | None]] = [("a", None), ("b", None), ("c", "x"), ("d", "x"), ("e", "y")]
    run = classified(tmp_path, encoder_folder, *texts)
    found = summary(run)
    assert (found["train"]["num_features"], rows(run)["labels"]) == (3, [0, 0, 1])
    assert found["train"]["dropped"] == {"no label, or none of data.labels": 2}
    assert found["repaired"] == {}


def test_a_label_that_nothing_is_trained_on_is_told_and_no_matter_for_strict(
    tmp_path: Path, encoder_folder: Path
) -> None:
    texts = [("a", "x"), ("b", "y"), ("c", "z")]
    run = classified(tmp_path, encoder_folder, *texts, max_train_examples=1, cleaning={"strict": True})
    assert summary(run)["repaired"] == {"train": {"label without a training example": 2}}


@pytest.mark.usefixtures("_pieces_of_two")
def test_training_examples_of_which_none_gives_a_row_are_refused_with_the_reason(
    tmp_path: Path, encoder_folder: Path
) -> None:
    with pytest.raises(DataError) as caught:
        classified(tmp_path, encoder_folder, *[(text, None) for text in "abc"], labels=["x", "y"])
    assert caught.value.message.startswith("no example has the label x, y")
    folder = tmp_path / "documents"
    folder.mkdir()
    asked = [{"prompt": f"Who is {name}?", "completion": ""} for name in ("Anna", "Paul", "Ulm")]
    run = new_run(folder, "instruction", encoder_folder, data=twice(folder, asked))
    with pytest.raises(DataError) as caught:
        prepare(run)
    assert caught.value.message == "no training example gives a row: 3 × no turn of the assistant"
    assert "columns" in caught.value.remedy
