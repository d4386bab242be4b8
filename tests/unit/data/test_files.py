"""Text files are read whatever their wrapping, and refused with a reason."""

import gzip
from pathlib import Path

import pytest

from rankfold.data.files import read_lines, read_text
from rankfold.errors import DataError


def test_lines_are_numbered_from_one_and_lose_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(b"one\r\ntwo\n\nfour")
    assert list(read_lines(path)) == [(1, "one"), (2, "two"), (3, ""), (4, "four")]


def test_a_gzip_file_reads_like_the_file_in_it(tmp_path: Path) -> None:
    path = tmp_path / "data.txt.gz"
    path.write_bytes(gzip.compress("地点\n人名\n".encode()))
    assert list(read_lines(path)) == [(1, "地点"), (2, "人名")]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes("\ufeffone\n\ufefftwo\n".encode())
    assert read_text(path) == "one\n\ufefftwo"


def test_a_line_separator_inside_a_line_does_not_end_it(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("a\u2028b\x85c\n", encoding="utf-8")
    assert list(read_lines(path)) == [(1, "a\u2028b\x85c")]


def test_a_missing_file_is_named_with_what_to_check(tmp_path: Path) -> None:
    path = tmp_path / "absent.jsonl"
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    assert str(caught.value) == (
        f"{path}: no such file\n"
        "  → Check `path` in the recipe; a relative path starts at the recipe's folder."
    )


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(read_lines(tmp_path))
    assert str(caught.value) == f"{tmp_path}: this is a folder\n  → Name one file in it."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not compressed\n", "Not a gzipped file (b'no')"),
        (
            gzip.compress(b"cut short" * 99)[:-12],
            "Compressed file ended before the end-of-stream marker was reached",
        ),
    ],
    # Names of their own: made from the bytes, they held the time of day, and workers disagreed on them.
    ids=["not gzip", "cut short"],
)
def test_a_broken_gzip_file_says_how_it_is_broken(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "data.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    assert str(caught.value) == (
        f"{path}: cannot be read: {reason}\n  → Check the file's permissions, or copy it again."
    )


def test_bytes_that_are_not_utf_8_are_located(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(b"fine\nna\xefve\n")
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    assert str(caught.value) == (
        f"{path}:2: not UTF-8: byte 0xef at position 2 of the line\n"
        "  → Convert the file to UTF-8, for example with `iconv -t UTF-8`."
    )
