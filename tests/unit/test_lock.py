"""What a run was given, and whether it still is what it was."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_hub import fill_cache

from rankfold import lock
from rankfold.errors import DataError, ModelError
from rankfold.hub_cache import repositories
from rankfold.lock import check_unchanged, lock_recipe, read_lock, write_lock
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder


def recipe(path: Path | str, model: Path | str = "some/tiny") -> Recipe:
    source: dict[str, Any] = {"path": str(path), "format": "squad"}
    values = {
        "name": "a",
        "task": "extractive_qa",
        "model": {"name_or_path": str(model)},
        "data": {"source": source},
    }
    return Recipe.model_validate_json(json.dumps(values))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "数据 set.json"
    path.write_text("as it was")
    fill_cache(tmp_path, "some/tiny")
    return path


def locked(tmp_path: Path, value: Recipe) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    write_lock(run, lock_recipe(value, tmp_path)[1])
    return run


def test_a_lock_is_read_as_it_was_written(data: Path, tmp_path: Path) -> None:
    entries = lock_recipe(recipe(data), tmp_path)[1]
    run = locked(tmp_path, recipe(data))
    assert read_lock(run) == entries
    assert [(entry.field, entry.kind) for entry in entries] == [("model", "hub"), ("data.source", "file")]
    check_unchanged(run)


def test_hub_names_become_commits_and_lock_again_to_themselves(tmp_path: Path) -> None:
    folder = fill_cache(tmp_path, "some/tiny")
    fill_cache(tmp_path, "some/squad", {"a.json": b"1"}, kind="dataset", revision="v1")
    first, entries = lock_recipe(recipe("hub:some/squad@v1"), tmp_path)
    assert first.model.revision == entries[0].revision == folder.name
    assert first.data.source is not None
    assert first.data.source.path == f"hub:some/squad@{entries[1].revision}"
    assert lock_recipe(first, tmp_path)[0] == first


def test_what_was_not_fetched_cannot_be_locked(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the model no/such is not in the cache"):
        lock_recipe(recipe(data, "no/such"), tmp_path)
    with pytest.raises(DataError, match="the data set no/such is not in the cache"):
        lock_recipe(recipe("hub:no/such"), tmp_path)


def test_a_data_file_that_changed_is_an_error_with_both_hashes(data: Path, tmp_path: Path) -> None:
    run = locked(tmp_path, recipe(data))
    data.write_text("as it is!")
    with pytest.raises(DataError) as caught:
        check_unchanged(run)
    before, after = (one.split(" ")[0].rstrip(",") for one in str(caught.value).split("sha256 ")[1:])
    assert len(before) == len(after.split("\n")[0]) == 64
    assert before != after
    assert caught.value.where == "data.source"
    assert "9 bytes" in caught.value.message
    data.write_text("as it was")
    check_unchanged(run)
    data.unlink()
    with pytest.raises(DataError, match="and is gone"):
        check_unchanged(run)


def test_a_file_too_large_to_hash_is_told_by_its_size_and_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "HASHED_BYTES", 3)
    run = locked(tmp_path, recipe(data))
    [file] = read_lock(run)[1].files
    assert (file.sha256, file.num_bytes) == (None, 9)
    check_unchanged(run)
    data.write_text("as it was, and more")
    with pytest.raises(DataError, match=r"9 bytes, changed at .* not hashed, and is 19 bytes"):
        check_unchanged(run)


def test_a_model_folder_that_changed_is_an_error(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    run = locked(tmp_path, recipe(data, folder))
    check_unchanged(run)
    (folder / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ModelError, match=r"model: changed after the run was submitted: .*7 bytes.*13 bytes"):
        check_unchanged(run)


def test_another_version_of_a_package_is_an_error(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = locked(tmp_path, recipe(data, "package:submitit"))
    check_unchanged(run)
    monkeypatch.setattr(lock, "_version", lambda name: "0.0")
    with pytest.raises(ModelError, match=r"it was package:submitit [\d.]+, and is 0.0"):
        check_unchanged(run)


def test_a_run_without_a_lock_is_left_alone(tmp_path: Path) -> None:
    check_unchanged(RunFolder(tmp_path))


def test_what_is_mixed_in_is_locked_and_looked_for_on_the_hub_as_the_rest(tmp_path: Path) -> None:
    fill_cache(tmp_path, "some/tiny")
    fill_cache(tmp_path, "some/chats", {"a.json": b"1"}, kind="dataset")
    (tmp_path / "ours.jsonl").write_text("{}")
    ours = {"path": str(tmp_path / "ours.jsonl"), "format": "jsonl"}
    chats = {"path": "hub:some/chats", "format": "hub"}
    data = {"train": ours, "test": ours, "mixed_with": {"chats": chats, "more": ours}}
    values = {"name": "a", "task": "instruction", "model": {"name_or_path": "some/tiny"}, "data": data}
    mixed = Recipe.model_validate_json(json.dumps(values))
    assert [str(one) for one in repositories(mixed)] == ["model some/tiny", "data set some/chats"]
    first, entries = lock_recipe(mixed, tmp_path)
    locked = {entry.field: entry for entry in entries}
    commit = locked["data.mixed_with.chats"].revision
    assert first.data.mixed_with["chats"].path == f"hub:some/chats@{commit}"
    assert first.data.mixed_with["more"] == mixed.data.mixed_with["more"]
    assert locked["data.mixed_with.more"].files[0].num_bytes == 2
