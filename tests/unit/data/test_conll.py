"""The format conll: text rebuilt from tokens, spans from tags."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankfold.data.conll import _join
from rankfold.data.examples import EntityExample, Span
from rankfold.data.readers import read_examples
from rankfold.errors import DataError
from rankfold.recipe.schema import Source


def write(folder: Path, text: str) -> Source:
    path = folder / "data.conll"
    path.write_text(text, encoding="utf-8")
    return Source(path=str(path), format="conll")


def surfaces(example: object) -> list[tuple[str, str]]:
    assert isinstance(example, EntityExample)
    return [(example.text[span.start : span.end], span.label) for span in example.entities]


def test_tokens_are_joined_by_one_space_and_tags_become_spans(tmp_path: Path) -> None:
    source = write(tmp_path, "Ann\tB-person\nLee\tI-person\nin\tO\nUlm\tB-place\n\nHi\tO\n")
    assert read_examples(source).examples == (
        EntityExample("1", "Ann Lee in Ulm", (Span(0, 7, "person"), Span(11, 14, "place"))),
        EntityExample("6", "Hi", ()),
    )


def test_the_first_column_is_the_token_and_the_last_the_tag(tmp_path: Path) -> None:
    source = write(tmp_path, "-DOCSTART- -X- O O\n\nUlm NNP I-NP B-place\n")
    assert read_examples(source).examples == (EntityExample("3", "Ulm", (Span(0, 3, "place"),)),)


def test_neighbouring_entities_of_one_label_stay_two(tmp_path: Path) -> None:
    source = write(tmp_path, "Ann\tB-person\nBob\tB-person\n")
    assert surfaces(read_examples(source).examples[0]) == [("Ann", "person"), ("Bob", "person")]


def test_an_inside_tag_that_continues_nothing_starts_an_entity_and_is_counted(tmp_path: Path) -> None:
    source = write(tmp_path, "in\tO\nNew\tI-place\nYork\tI-place\nAnn\tI-person\n")
    result = read_examples(source)
    assert surfaces(result.examples[0]) == [("New York", "place"), ("Ann", "person")]
    assert result.repaired == {"inside_tag_starts_an_entity": 2}


def test_an_entity_ends_with_its_sentence(tmp_path: Path) -> None:
    source = write(tmp_path, "Ann\tB-person\n\t\nLee\tI-person\n")
    assert [surfaces(example) for example in read_examples(source).examples] == [
        [("Ann", "person")],
        [("Lee", "person")],
    ]


def test_a_no_break_space_belongs_to_its_token(tmp_path: Path) -> None:
    source = write(tmp_path, "10\u00a0km\tB-length\n")
    assert surfaces(read_examples(source).examples[0]) == [("10\u00a0km", "length")]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["我", "在", "北", "京"], "我在北京"),
        (["在", "N", "B", "A", "打", "球"], "在NBA打球"),
        (["我们", "在", "北京", "。"], "我们在北京。"),
        (["用", "Windows", "很久", "了"], "用 Windows 很久了"),
        (["A", "B"], "A B"),
        (["서울", "에서"], "서울 에서"),
    ],
)
def test_scripts_without_spaces_are_joined_without_spaces(tokens: list[str], text: str) -> None:
    assert _join(tokens)[0] == text


@given(st.lists(st.text("ab京の。 é".replace(" ", ""), min_size=1, max_size=3), min_size=1, max_size=6))
def test_every_token_is_where_the_rebuilt_text_says(tokens: list[str]) -> None:
    text, starts = _join(tokens)
    assert [text[start : start + len(token)] for token, start in zip(tokens, starts, strict=True)] == tokens
    assert text.replace(" ", "") == "".join(tokens)


def test_a_line_with_one_column_is_an_error(tmp_path: Path) -> None:
    source = write(tmp_path, "Ann\tO\nLee\n")
    with pytest.raises(DataError) as caught:
        read_examples(source)
    assert str(caught.value) == (
        f"{source.path}:2: found one column, 'Lee'; a token and a tag are needed\n"
        "  → Separate token and tag with a tab, and sentences with a blank line."
    )


@pytest.mark.parametrize("tag", ["S-person", "person", "B-", "B_person", "o"])
def test_a_tag_that_is_not_bio_is_an_error(tmp_path: Path, tag: str) -> None:
    source = write(tmp_path, f"Ann\t{tag}\n")
    with pytest.raises(DataError) as caught:
        read_examples(source)
    assert str(caught.value) == (
        f"{source.path}:1: the tag {tag!r} is none of O, B-LABEL, I-LABEL\n"
        "  → Write the tags in the BIO scheme, in the last column."
    )


@pytest.mark.parametrize(
    ("name", "num_examples", "num_entities"),
    [("wnut17train.conll.gz", 3394, 1975), ("emerging.dev.conll", 1009, 836)],
)
def test_the_published_files_are_read_whole(
    shared_data: Path, name: str, num_examples: int, num_entities: int
) -> None:
    result = read_examples(Source(path=str(shared_data / "wnut17" / name), format="conll"))
    assert len(result.examples) == num_examples
    assert sum(len(surfaces(example)) for example in result.examples) == num_entities
    assert set(result.labels) == {
        "person", "location", "corporation", "product", "creative-work", "group",
    }  # fmt: skip
    assert (result.dropped, result.repaired) == ({}, {})
