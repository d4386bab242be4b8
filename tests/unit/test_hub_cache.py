"""The cache of the hub, read without huggingface_hub and as it reads it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from fake_hub import MODEL, fill_cache

from rankfold.hub_cache import (
    Repository,
    data_repository,
    find_snapshot,
    hub_cache,
    is_offline,
    model_repository,
    repositories,
)
from rankfold.recipe.schema import Model, Recipe

SETTINGS: tuple[dict[str, str], ...] = (
    {},
    {"HF_HUB_CACHE": "/a/hub", "HF_HOME": "/b"},
    {"HUGGINGFACE_HUB_CACHE": "/c/hub"},
    {"HF_HOME": "~/hf", "HF_HUB_OFFLINE": "true"},
    {"HF_HOME": "$PLACE/hf", "PLACE": "/d", "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
    {"XDG_CACHE_HOME": "/e", "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "yes"},
)


def model(name: str = "some/tiny", **settings: Any) -> Repository:
    found = model_repository(Model(name_or_path=name, **settings))
    assert found is not None
    return found


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_cache_is_where_huggingface_hub_has_it(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {name for one in SETTINGS for name in one}:
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    code = "from huggingface_hub import constants as c; print(c.HF_HUB_CACHE, c.HF_HUB_OFFLINE)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(hub_cache()), str(is_offline())]
    assert hub_cache(dict(os.environ)) == hub_cache()


def test_a_snapshot_is_the_one_that_huggingface_hub_finds(tmp_path: Path) -> None:
    fill_cache(tmp_path, "some/tiny", revision="v1")
    commit = fill_cache(tmp_path, "some/tiny", {**MODEL, "config.json": b'{"a": 1}'}).name
    for revision in ("main", "v1", commit):
        snapshot = find_snapshot(model(revision=revision), tmp_path)
        theirs = huggingface_hub.snapshot_download(
            "some/tiny", revision=revision, cache_dir=tmp_path, local_files_only=True
        )
        assert snapshot is not None
        assert (str(snapshot.folder), snapshot.num_files) == (theirs, 2)


@pytest.mark.parametrize("revision", ["v9", "0" * 40, "../refs/main", "/etc/hostname"])
def test_a_revision_that_was_not_fetched_is_not_there(revision: str, tmp_path: Path) -> None:
    fill_cache(tmp_path, "some/tiny")
    assert find_snapshot(model(revision=revision), tmp_path) is None


def test_a_snapshot_that_lacks_a_wanted_file_of_its_commit_is_not_there(tmp_path: Path) -> None:
    folder = fill_cache(tmp_path, "some/tiny")
    tree = folder.parent.parent / "trees" / f"{folder.name}.json"
    tree.parent.mkdir()
    files: dict[str, Any] = {
        "config.json": {},
        "model.safetensors": {},
        "model.bin": {},
        "onnx/config.json": {},
    }
    tree.write_text(json.dumps({"format_version": 1, "files": files}))
    assert find_snapshot(model(), tmp_path) is not None
    tree.write_text(json.dumps({"format_version": 1, "files": files | {"tokenizer.json": {}}}))
    assert find_snapshot(model(), tmp_path) is None
    tree.write_text(json.dumps({"format_version": 2, "others": []}))
    assert find_snapshot(model(), tmp_path) is not None


def test_a_model_without_weights_that_are_safe_to_load_is_not_there(tmp_path: Path) -> None:
    fill_cache(tmp_path, "some/tiny", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    assert find_snapshot(model(), tmp_path) is None


def test_a_model_that_lacks_a_part_of_its_weights_is_not_there(tmp_path: Path) -> None:
    parts = {f"{layer}.weight": f"model-0000{layer}-of-00002.safetensors" for layer in (1, 2)}
    index = json.dumps({"weight_map": parts}).encode()
    # As an older huggingface_hub leaves it, which writes no list of a commit's files.
    some = {"config.json": b"{}", "model.safetensors.index.json": index, parts["1.weight"]: b"tensors"}
    fill_cache(tmp_path, "some/tiny", some)
    assert find_snapshot(model(), tmp_path) is None
    fill_cache(tmp_path, "some/tiny", some | {parts["2.weight"]: b"tensors"})
    assert find_snapshot(model(), tmp_path) is not None


def test_nothing_pickled_is_wanted_and_code_only_where_it_is_trusted() -> None:
    unsafe = ["pytorch_model.bin", "model.pt", "model.pkl", "rust_model.ot", "onnx/model.onnx"]
    assert not [name for name in unsafe if model().wants(name)]
    assert not model().wants("modeling_tiny.py")
    assert model(trust_remote_code=True).wants("modeling_tiny.py")
    assert model().wants("model-00001-of-00002.safetensors")
    assert not model().wants("consolidated.safetensors")


@pytest.mark.parametrize(
    "name", ["package:a", "./a", "/a", "~/a", "a/b/c", "a--b", "a/..", "中文/a", "a" * 300]
)
def test_what_is_no_hub_id_is_no_repository(name: str) -> None:
    assert model_repository(Model(name_or_path=name)) is None
    assert data_repository(f"hub:{name}") is None


def test_a_data_set_may_name_its_revision() -> None:
    found = data_repository("hub:some/squad@refs/convert/parquet")
    assert found is not None
    assert (found.name, found.revision) == ("some/squad", "refs/convert/parquet")
    assert str(found) == "data set some/squad at refs/convert/parquet"
    assert data_repository("some/squad.json") is None


def test_a_data_set_that_two_sides_share_is_one_repository() -> None:
    source = {"path": "hub:some/squad", "format": "squad"}
    recipe = Recipe.model_validate_json(
        json.dumps(
            {
                "name": "a",
                "task": "extractive_qa",
                "model": {"name_or_path": "some/tiny"},
                "data": {"train": source, "test": source},
            }
        )
    )
    assert [(one.kind, one.field) for one in repositories(recipe)] == [
        ("model", "model.name_or_path"),
        ("dataset", "data.train.path"),
    ]
