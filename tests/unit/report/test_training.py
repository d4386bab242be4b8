import pytest

from rankfold.report.facts import TrainingFacts
from rankfold.report.training import speed_line, training_rows

FAST = {
    "global_step": 1_280,
    "train_tokens_per_second": 41_234.5,
    "train_seconds_per_step": 0.25,
    "train_padding_share": 0.0417,
    "train_peak_memory_gb": 17.256,
    "model_flops_utilization": 0.382,
    "liger_modules": 57,
}


def test_the_table_says_how_fast_training_was() -> None:
    assert training_rows(TrainingFacts(FAST, ())) == (
        ("Optimizer steps", "1,280"),
        ("Tokens a second", "41,234"),
        ("Seconds a step", "0.25"),
        ("Padding", "4.2%"),
        ("Peak memory of a rank", "17.26 GB"),
        ("Model FLOPs utilisation", "38.2%"),
        ("Modules with Liger's kernels", "57"),
    )


def test_a_line_says_the_same_in_short() -> None:
    assert speed_line(TrainingFacts(FAST, ())) == (
        "Training: 41,234 tokens a second, 4.2% padding, 17.26 GB of memory at most, 38.2% of the peak FLOPs."
    )


@pytest.mark.parametrize("unknown", ["model_flops_utilization", "train_padding_share"])
def test_what_is_not_known_is_not_said(unknown: str) -> None:
    training = TrainingFacts({key: value for key, value in FAST.items() if key != unknown}, ())
    assert len(training_rows(training)) == len(FAST) - 1
    assert speed_line(training).count(",") == speed_line(TrainingFacts(FAST, ())).count(",") - 1


def test_of_a_run_that_did_not_count_nothing_is_said() -> None:
    assert speed_line(TrainingFacts({"global_step": 3}, ())) == ""
