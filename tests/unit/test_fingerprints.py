from pathlib import Path
from typing import Any

import pytest
from models import recipe

from rankfold.fingerprints import evaluation_fingerprint, folder_sha256
from rankfold.nbest.units import Fingerprint
from rankfold.recipe.schema import Evaluation, Recipe
from rankfold.tasks.registry import load_task

BATCHES = {"unit_size", "per_device_eval_batch_size"}
"""Settings of `evaluation` that every record depends on."""

USED = {
    "text_classification": set(),
    "extractive_qa": {"n_best_size"},
    "token_classification": {"n_best_size", "max_answer_length", "decoding_strategy"},
    "generative_ner": {
        "max_new_tokens",
        "num_return_sequences",
        "num_beams",
        "do_sample",
        "temperature",
        "top_p",
    },
}
"""Settings that a task's records depend on too; no record depends on any other."""

ANOTHER_VALUE: dict[str, Any] = {
    "baseline": False,
    "shards": 7,
    "merge_shards": 3,
    "num_bootstrap_resamples": 10,
    "multi_label_threshold": 0.25,
    "decoding_strategy": "argmax",
    "unit_size": 17,
    "per_device_eval_batch_size": 3,
    "n_best_size": 5,
    "max_answer_length": 7,
    "version_2_with_negative": True,
    "null_score_diff_threshold": 0.5,
    "max_new_tokens": 9,
    "num_return_sequences": 2,
    "num_beams": 3,
    "do_sample": True,
    "temperature": 0.5,
    "top_p": 0.5,
}


def fingerprint(of: Recipe, **hashes: str) -> Fingerprint:
    settings = load_task(of.task).record_settings(of)
    return evaluation_fingerprint(
        of, settings, **({"model": "m", "tokenizer": "t", "features": "f"} | hashes)
    )


def filled(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


def test_the_same_files_elsewhere_have_the_same_hash(tmp_path: Path) -> None:
    one = filled(tmp_path / "one", config__json="{}", model__safetensors="w")
    other = filled(tmp_path / "other", model__safetensors="w", config__json="{}")
    assert folder_sha256(one) == folder_sha256(other)


@pytest.mark.parametrize(
    "files",
    [
        {"config__json": "{ }", "model__safetensors": "w"},
        {"config__json": "{}", "model__safetensors": "v"},
        {"config__json": "{}", "weights__safetensors": "w"},
        {"config__json": "{}", "model__safetensors": "w", "chat_template__jinja": ""},
    ],
)
def test_a_file_that_changes_the_model_changes_the_hash(tmp_path: Path, files: dict[str, str]) -> None:
    before = filled(tmp_path / "before", config__json="{}", model__safetensors="w")
    assert folder_sha256(filled(tmp_path / "after", **files)) != folder_sha256(before)


def test_a_file_beside_the_model_does_not_change_the_hash(tmp_path: Path) -> None:
    folder = filled(tmp_path / "model", config__json="{}", model__safetensors="w")
    before = folder_sha256(folder)
    (folder / "README.md").write_text("hello")
    (folder / "training_args.bin").write_bytes(b"pickled")
    assert folder_sha256(folder) == before


def test_the_next_test_knows_every_setting_of_the_evaluation() -> None:
    assert set(Evaluation.model_fields) == set(ANOTHER_VALUE)


@pytest.mark.parametrize("task", USED)
@pytest.mark.parametrize("setting", ANOTHER_VALUE)
def test_records_are_kept_when_and_only_when_they_do_not_depend_on_a_setting(task: str, setting: str) -> None:
    changed = recipe(task, evaluation={setting: ANOTHER_VALUE[setting]})
    depends = setting in BATCHES | USED[task]
    assert (fingerprint(recipe(task)) != fingerprint(changed)) == depends


@pytest.mark.parametrize("task", USED)
def test_what_a_merge_may_change_is_not_in_the_records(task: str) -> None:
    # A smaller n-best is in the records that keep a larger one.
    assert not load_task(task).merge_settings & (BATCHES | USED[task]) - {"n_best_size"}
    assert load_task(task).merge_settings <= set(ANOTHER_VALUE)


@pytest.mark.parametrize(
    "section",
    [
        {"seed": 7},  # a new head, and sampling, are random
        {"model": {"torch_dtype": "bfloat16"}},
        {"model": {"attn_implementation": "eager"}},
        {"model": {"config": {"rope_theta": 5000.0}}},
        {"data": {"max_length": 100}},
    ],
)
@pytest.mark.parametrize("task", USED)
def test_what_changes_the_model_s_output_changes_the_fingerprint(task: str, section: dict[str, Any]) -> None:
    assert fingerprint(recipe(task, **section)) != fingerprint(recipe(task))


@pytest.mark.parametrize("name", ["model", "tokenizer", "features"])
def test_other_files_change_the_fingerprint_and_are_named(name: str) -> None:
    of = recipe("extractive_qa")
    other = fingerprint(of, **{name: "new"})
    assert [difference.split()[0] for difference in fingerprint(of).differences(other)] == [name]
