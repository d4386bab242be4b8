"""Data sets by hub name, read from what was fetched."""

from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_hub import fill_cache

from rankfold.data.examples import Answer, QuestionExample, TextExample
from rankfold.data.hub import read_hub
from rankfold.data.readers import count_examples, read_examples
from rankfold.errors import DataError
from rankfold.recipe.schema import Source
from rankfold.tasks.multiple_choice import MultipleChoice
from rankfold.tasks.text_classification import TextClassification

ROW = {
    "id": "q1",
    "title": "Ulm",
    "context": "Ulm lies on the Danube.",
    "question": "Where?",
    "answers": {"text": ["Danube"], "answer_start": [16]},
}
UNANSWERABLE = {**ROW, "id": "q2", "answers": {"text": [], "answer_start": []}}
EXAMPLES = (
    QuestionExample("q1", "Where?", "Ulm lies on the Danube.", (Answer("Danube", 16),)),
    QuestionExample("q2", "Where?", "Ulm lies on the Danube.", ()),
)


@pytest.fixture
def hub_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A folder of parquet files, one a split, as the hub serves them."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "squad"
    folder.mkdir()
    for split, rows in (("train", [ROW, UNANSWERABLE]), ("validation", [UNANSWERABLE])):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    return Source(path=f"hub:{folder}", format="squad")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def fetched(cache: Path) -> Source:
    """A data set that is in the cache; what it holds is up to the test."""
    fill_cache(cache, "squad", {"train.json": b"[]"}, kind="dataset")
    return Source(path="hub:squad", format="squad")


def loading(rows: list[dict[str, Any]]) -> Any:
    class Loaded(list[dict[str, Any]]):
        features: ClassVar[dict[str, Any]] = {}

    return lambda folder, split: Loaded(rows)


def failing(error: Exception) -> Any:
    def load(folder: str, split: str) -> None:
        raise error

    return load


def error_of(source: Source, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        read_hub(source, split)
    return str(caught.value)


def test_each_split_is_read_by_its_name(hub_source: Source) -> None:
    assert read_hub(hub_source, "train").examples == EXAMPLES
    assert read_hub(hub_source, "validation").examples == EXAMPLES[1:]


def test_the_reader_takes_the_training_split_unless_told(hub_source: Source) -> None:
    assert read_examples(hub_source).examples == EXAMPLES
    assert read_examples(hub_source, hub_split="validation").examples == EXAMPLES[1:]


def test_a_split_that_is_not_there_is_named_beside_those_that_are(hub_source: Source) -> None:
    message = error_of(hub_source, "test")
    assert message.startswith(f"{hub_source.path}: the split 'test' cannot be loaded: ")
    assert "validation" in message
    assert message.endswith("  → Set `train_split` and `test_split` to splits that the data set has.")


def test_a_data_set_is_read_from_the_cache_at_its_revision(
    hub_source: Source, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {file.name: file.read_bytes() for file in Path(hub_source.path.removeprefix("hub:")).iterdir()}
    folder = fill_cache(cache, "some/squad", files, kind="dataset", revision="v1")
    fill_cache(cache, "some/squad", {"train.json": b"[]"}, kind="dataset")
    for revision in ("v1", folder.name):
        source = Source(path=f"hub:some/squad@{revision}", format="squad")
        assert read_hub(source, "train").examples == EXAMPLES


def test_a_data_set_that_was_not_fetched_names_the_command_that_fetches_it(cache: Path) -> None:
    assert error_of(Source(path="hub:some/squad@v2", format="squad")) == (
        f"data.path: the data set some/squad at v2 is not in the cache {cache}, or not all of it\n"
        "  → Where there is a network run `launch fetch RECIPE` with the same HF_HOME."
    )


def test_what_names_neither_a_folder_nor_a_data_set_is_refused() -> None:
    message = error_of(Source(path="hub:a/b/c", format="squad"))
    assert message.startswith("hub:a/b/c: this is neither a folder nor the id of a data set on the hub")


def test_a_damaged_data_set_is_the_user_s_error_with_a_way_out(
    fetched: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", failing(OSError("cannot be opened")))
    assert error_of(fetched) == (
        "hub:squad: the data set cannot be read: cannot be opened\n"
        "  → Name a data set in a format that `datasets` loads, or a local file in `path`."
    )


def test_a_broken_file_of_a_folder_is_told_as_what_is_wrong_with_it(hub_source: Source) -> None:
    folder = Path(hub_source.path.removeprefix("hub:"))
    (folder / "train-00000-of-00001.parquet").write_bytes(b"PAR1 this is none PAR1")
    message = error_of(hub_source)
    assert message.startswith(f"{hub_source.path}: the data set cannot be read: ")
    assert "error occurred while generating" not in message


def test_a_folder_that_is_not_one_data_set_is_not_blamed_on_its_splits(hub_source: Source) -> None:
    folder = Path(hub_source.path.removeprefix("hub:"))
    (folder / "validation-00000-of-00001.parquet").unlink()
    (folder / "validation.csv").write_text("id,question\n1,Where?\n")
    assert error_of(hub_source).startswith(f"{hub_source.path}: the data set cannot be read: Couldn't infer")


def test_other_formats_are_refused_before_anything_is_loaded() -> None:
    assert error_of(Source(path="hub:conll2003", format="conll")) == (
        "hub:conll2003: the format 'conll' cannot be read from the hub; only 'squad' can\n"
        "  → Download the data set and name its file in `path`."
    )


def test_other_columns_are_an_error_that_names_the_row(
    fetched: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", loading([ROW, {"text": "x", "label": 1}]))
    assert error_of(fetched) == (
        "hub:squad, split train, row 1: `id` is missing; the keys here are: `text`, `label`\n"
        "  → Add `id`, a string, or choose another `format` in the recipe."
    )


def test_texts_and_offsets_that_do_not_pair_up_are_an_error(
    fetched: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpaired = {**ROW, "answers": {"text": ["Danube"], "answer_start": []}}
    monkeypatch.setattr(datasets, "load_dataset", loading([unpaired]))
    assert error_of(fetched) == (
        "hub:squad, split train, row 0, answers: 1 texts, but 0 offsets; "
        'found {"text": ["Danube"], "answer_start": []}\n'
        "  → Give every answer a text and an `answer_start`."
    )


CLASSES = datasets.ClassLabel(names=["bad", "good"])


def classes_of(folder: Path, columns: dict[str, str]) -> Source:
    """A data set whose labels are numbers with names, by themselves, in lists and in objects."""
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": CLASSES,
            "tags": datasets.List(CLASSES),
            "votes": [{"by": datasets.Value("string"), "vote": CLASSES}],
            "choices": datasets.List(datasets.Value("string")),
        }
    )
    rows: list[dict[str, Any]] = [
        {"label": 1, "tags": [0, 1], "votes": [{"by": "Anna", "vote": 1}]},
        {"label": 0, "tags": [], "votes": []},
        {"label": -1, "tags": None, "votes": None},
    ]
    shared: dict[str, Any] = {"text": "The river.", "choices": ["sea", "land"]}
    table = datasets.Dataset.from_list([{**shared, **row} for row in rows], features=features)
    folder.mkdir()
    table.to_parquet(folder / "train.parquet")
    return Source(path=f"hub:{folder}", format="hub", columns=columns)


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        ("label", [("good",), ("bad",), ()]),
        ("tags", [("bad", "good"), (), ()]),
        ("votes[].vote", [("good",), (), ()]),
    ],
)
def test_classes_have_their_names(
    column: str, labels: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source = classes_of(tmp_path / "set", {"labels": column})
    found = read_examples(source, example_of=TextClassification().example_of)
    assert [example.labels for example in found.examples if isinstance(example, TextExample)] == labels
    chosen = read_examples(source, ["good"], example_of=TextClassification().example_of)
    assert {label for example in chosen.examples for label in vars(example)["labels"]} == {"good"}


def test_a_class_is_its_number_where_a_number_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source = classes_of(tmp_path / "set", {"question": "text", "answer": "label"})
    found = read_examples(source, example_of=MultipleChoice().example_of)
    assert [vars(example)["answer"] for example in found.examples] == [1, 0, None]


def test_how_many_examples_the_hub_has_is_not_known() -> None:
    assert count_examples(Source(path="hub:squad", format="squad")) is None
