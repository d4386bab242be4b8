"""What planning needs: counts, and an import that costs nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from rankfold.data.readers import count_examples, read_examples
from rankfold.errors import DataError
from rankfold.recipe.schema import Source


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("ccfbdci/ccfbdci.jsonl.gz", "ccfbdci"),
        ("wnut17/emerging.dev.conll", "conll"),
        ("xquad/xquad.en.json.gz", "squad"),
    ],
)
def test_the_count_is_the_number_of_examples_read(
    shared_data: Path, name: str, format_name: Literal["ccfbdci", "conll", "squad"]
) -> None:
    source = Source(path=str(shared_data / name), format=format_name)
    assert count_examples(source) == len(read_examples(source).examples)


def test_blank_lines_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "x", "entities": []}\n\n', encoding="utf-8")
    assert count_examples(Source(path=str(path), format="spans")) == 1


def test_a_missing_file_cannot_be_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        count_examples(Source(path=str(tmp_path / "absent"), format="spans"))


def test_reading_imports_nothing_heavy() -> None:
    program = (
        "import sys, rankfold.data.readers, rankfold.data.split, rankfold.entities.candidates;"
        "print([name for name in ('torch', 'transformers', 'datasets', 'numpy') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert output.stdout == "[]\n"
