"""What is found before anything is written."""

from pathlib import Path
from typing import Any

import liger_stand_in
import pytest

from launch import preflight
from rankfold.errors import UserError


def problems(recipe: Any, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        preflight.check(recipe, folder)
    return str(caught.value)


def test_everything_that_is_missing_is_told_at_once(
    make_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    recipe = make_recipe(
        model={"name_or_path": "package:no-such-model"},
        tracking={"report_to": ["swanlab"]},
    )
    text = problems(recipe, tmp_path)
    assert "the tracker swanlab is not installed" in text
    assert "→ pip install swanlab, or add tracking.report_to=[]" in text
    assert "data.source.path: there is no file /data/中文 数据.jsonl" in text
    assert "→ pip install --no-deps no-such-model" in text


def test_a_folder_of_the_trackers_name_is_no_tracker(
    make_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # wandb writes into such a folder where it is offline.
    (tmp_path / "trackio").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe = make_recipe(tracking={"report_to": ["trackio"]})
    assert "the tracker trackio is not installed" in problems(recipe, tmp_path)


def test_kernels_that_are_not_installed_or_not_for_the_model_are_told(
    make_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "gpt2"}')
    recipe = make_recipe(model={"name_or_path": str(model)}, train={"use_liger_kernel": True})
    assert "train.use_liger_kernel: the package liger-kernel is not installed" in problems(recipe, tmp_path)
    liger_stand_in.write(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    text = problems(recipe, tmp_path)
    assert "train.use_liger_kernel: Liger has no kernels for gpt2, only for llama, qwen2\n" in text
    assert "→ Add train.use_liger_kernel=false to the command." in text
    (model / "config.json").write_text('{"model_type": "qwen2"}')
    assert "liger" not in problems(recipe, tmp_path)


def test_a_run_that_can_work_passes(make_recipe: Any, tmp_path: Path) -> None:
    data = tmp_path / "数据.jsonl"
    data.touch()
    source = {"path": str(data), "format": "spans"}
    model = {"name_or_path": "package:submitit"}
    preflight.check(make_recipe(data={"source": source}, model=model), tmp_path / "not" / "yet")
    assert not (tmp_path / "not").exists()


def test_a_model_folder_must_exist(make_recipe: Any, tmp_path: Path) -> None:
    recipe = make_recipe(model={"name_or_path": str(tmp_path / "model")})
    assert f"there is no folder {tmp_path / 'model'}" in problems(recipe, tmp_path)


def test_runs_need_a_folder_that_can_be_written_and_has_room(
    make_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert f"--runs-dir: {file} is not a folder you may write to" in problems(make_recipe(), file)
    monkeypatch.setattr(preflight, "MIN_FREE_BYTES", 10**18)
    assert "GB are free at" in problems(make_recipe(), tmp_path)


def test_names_that_the_hub_cannot_know_are_told_before_it_is_asked(make_recipe: Any, tmp_path: Path) -> None:
    source = {"path": "hub:a/b/c", "format": "squad"}
    model = {"name_or_path": "a/b/c"}
    text = problems(make_recipe(task="extractive_qa", data={"source": source}, model=model), tmp_path)
    assert "model.name_or_path: 'a/b/c' is neither a folder nor a hub id" in text
    assert "data.source.path: 'hub:a/b/c' names no data set on the hub" in text
    mixed = {"more": {"path": "hub:d/e/f", "format": "squad"}}
    text = problems(make_recipe(task="extractive_qa", data={"source": source, "mixed_with": mixed}), tmp_path)
    assert "data.mixed_with.more.path: 'hub:d/e/f' names no data set on the hub" in text


def test_a_recipe_with_a_token_in_it_is_refused_without_showing_it(make_recipe: Any, tmp_path: Path) -> None:
    token = "hf_" + "abcdefghijklmnopqrstuvwx"
    text = problems(make_recipe(prompt={"system": f"Use {token}."}), tmp_path)
    assert "prompt: holds what looks like a password or a token" in text
    assert "export it, as HF_TOKEN" in text
    assert token not in text
