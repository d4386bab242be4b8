"""The report on the data: sides, the sources of a mixed training set, packing."""

import json
from pathlib import Path
from typing import Any

import pytest
from unit.report.page import Page
from unit.report.sample_run import write, write_entity_run

from rankfold.report.data import data_lines
from rankfold.report.html import render_html
from rankfold.report.read import read_facts
from rankfold.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = write_entity_run(tmp_path / "run")
    summary: dict[str, Any] = json.loads(run.prepare_summary.read_text(encoding="utf-8"))
    counts = {"num_examples": 1000, "num_features": 990, "num_tokens": 70_000, "num_truncated": 2}
    summary["sources"] = {
        "train": counts | {"weight": 1.0, "dropped": {}, "repaired": {}},
        "faq|2": counts
        | {"weight": 2.5, "dropped": {"repeats an earlier training example": 30}, "repaired": {}},
    }
    summary["packing"] = {"num_examples": 990, "num_rows": 200, "fill_share": 0.975}
    write(run.prepare_summary, summary)
    return run


def test_the_short_report_has_a_row_for_each_side_and_source(run: RunFolder) -> None:
    assert data_lines(read_facts(run)) == [
        "## Data",
        "",
        "| data                     | examples | features |    tokens | truncated | dropped |",
        "| ------------------------ | -------: | -------: | --------: | --------: | ------: |",
        "| train                    |   14,123 |   41,880 | 5,310,442 |        97 |   1,207 |",
        "| of it train, weight 1    |    1,000 |      990 |    70,000 |         2 |       0 |",
        "| of it faq\\|2, weight 2.5 |    1,000 |      990 |    70,000 |         2 |      30 |",
        "| test                     |       14 |       14 |       812 |         0 |       0 |",
        "",
        "- dropped from source: 12 × question without a usable answer",
        "- dropped from train: 1,204 × no entity with a wanted label; 3 × text is empty",
        "- repaired in train: 50 × offsets moved to entity_text",
        "- 990 training examples packed into 200 rows, 97.5 % full",
    ]


def test_the_page_has_them_too(run: RunFolder) -> None:
    words = Page(render_html(read_facts(run))).words
    assert "of it faq|2, weight 2.5" in words
    assert "990 training examples were packed into 200 rows, 97.5 % full." in words


def test_before_the_data_is_prepared_there_is_nothing_to_say(run: RunFolder) -> None:
    run.prepare_summary.unlink()
    assert data_lines(read_facts(run)) == []
