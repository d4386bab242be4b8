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


@pytest.mark.parametrize("tag", ["X-person", "person", "B-", "B_person", "o", "O-person", "-person"])
def test_a_tag_of_no_scheme_is_an_error_that_names_the_letters(tmp_path: Path, tag: str) -> None:
    source = write(tmp_path, f"Ann\t{tag}\n")
    with pytest.raises(DataError) as caught:
        read_examples(source)
    assert str(caught.value) == (
        f"{source.path}:1: the tag {tag!r} is neither O nor LETTER-LABEL with one of the letters "
        "B, I, M, E, L, S, U\n"
        "  → Write the tags in the scheme BIO, BIOES, BMES or BILOU, in the last column."
    )


TOKENS = ["Ann", "Lee", "Ray", "in", "New", "Ulm", "Bob"]
SCHEMES = {
    "BIO": ["B-person", "I-person", "I-person", "O", "B-place", "I-place", "B-person"],
    "BIOES": ["B-person", "I-person", "E-person", "O", "B-place", "E-place", "S-person"],
    "BMES": ["B-person", "M-person", "E-person", "O", "B-place", "E-place", "S-person"],
    "BILOU": ["B-person", "I-person", "L-person", "O", "B-place", "L-place", "U-person"],
}


def write_tags(folder: Path, tokens: list[str], tags: list[str], line_end: str = "\n") -> Source:
    lines = [f"{token}\t{tag}{line_end}" for token, tag in zip(tokens, tags, strict=True)]
    (folder / "data.conll").write_bytes("".join(lines).encode())
    return Source(path=str(folder / "data.conll"), format="conll")


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("tags", SCHEMES.values(), ids=SCHEMES)
def test_every_scheme_says_the_same_by_its_letters(tmp_path: Path, tags: list[str], line_end: str) -> None:
    result = read_examples(write_tags(tmp_path, TOKENS, tags, line_end))
    assert surfaces(result.examples[0]) == [
        ("Ann Lee Ray", "person"),
        ("New Ulm", "place"),
        ("Bob", "person"),
    ]
    assert result.repaired == {}


@pytest.mark.parametrize(
    ("tags", "entities", "repaired"),
    [
        # An end, or an inside, of nothing.
        (["O", "E-x", "O"], ["b"], {"end_tag_starts_an_entity": 1}),
        (["B-x", "E-y", "S-x"], ["a", "b", "c"], {"entity_left_open": 1, "end_tag_starts_an_entity": 1}),
        (["M-x", "E-x", "O"], ["a b"], {"inside_tag_starts_an_entity": 1}),
        # After its end an entity does not go on.
        (["B-x", "E-x", "I-x"], ["a b", "c"], {"inside_tag_starts_an_entity": 1, "entity_left_open": 1}),
        (["S-x", "E-x", "O"], ["a", "b"], {"end_tag_starts_an_entity": 1}),
        # No end.
        (["B-x", "O", "S-x"], ["a", "c"], {"entity_left_open": 1}),
        (["B-x", "S-x", "B-x"], ["a", "b", "c"], {"entity_left_open": 2}),
        (["B-x", "B-x", "E-x"], ["a", "b c"], {"entity_left_open": 1}),
        # Without end and single tags that is no mistake.
        (["B-x", "B-x", "I-x"], ["a", "b c"], {}),
    ],
)
def test_what_breaks_a_scheme_is_repaired_and_counted(
    tmp_path: Path, tags: list[str], entities: list[str], repaired: dict[str, int]
) -> None:
    result = read_examples(write_tags(tmp_path, ["a", "b", "c"], tags))
    assert [surface for surface, _ in surfaces(result.examples[0])] == entities
    assert result.repaired == repaired


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
