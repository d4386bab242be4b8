"""Starting from what an earlier run trained: merged once, exact, and refused where it cannot be."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from models import same_weights
from tiny_runs import evaluate_all, finish, new_run, results

import rankfold.modeling.earlier as earlier_module
from launch.memory.model_files import read_shape
from launch.memory.model_shape import Unknown
from launch.preflight import _model_problems
from rankfold.earlier_runs import earlier_run
from rankfold.errors import ModelError
from rankfold.hub_cache import models_read
from rankfold.lock import check_unchanged, lock_recipe, write_lock
from rankfold.modeling.load import load_model, load_trained
from rankfold.modeling.sources import model_folder
from rankfold.recipe.load import load_recipe
from rankfold.recipe.schema import Model
from rankfold.run_folder import RunFolder
from rankfold.stages.merge import merge
from rankfold.stages.prepare import prepare
from rankfold.stages.train import train

TASK = "token_classification"
LORA = {"method": "lora", "r": 4}
FEW = {"max_steps": 3, "learning_rate": 0.02, "per_device_train_batch_size": 4}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("RANKFOLD_CACHE", str(folder))
    return folder


def made(folder: Path, base: Path | str, adapter: dict[str, Any] | None = None, **train: Any) -> RunFolder:
    folder.mkdir(parents=True)
    run = new_run(folder, TASK, Path("unread"), train=FEW | train)
    values = yaml.safe_load(run.recipe.read_text())
    values["model"] = {"name_or_path": str(base), "adapter": adapter}
    run.recipe.write_text(yaml.safe_dump(values))
    return run


@pytest.fixture(scope="module")
def first(encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with an adapter, evaluated; nobody may change it."""
    enough = {"max_steps": 24, "learning_rate": 0.01}
    run = finish(made(tmp_path_factory.mktemp("first") / "a", encoder_folder, adapter=LORA, **enough))
    assert json.loads(run.metrics("fine_tuned").read_text())["num_predicted"] > 0
    return run


def named(run: RunFolder) -> Model:
    return Model(name_or_path=f"run:{run.root}")


def test_a_run_goes_on_from_another_one_s_adapter_and_begins_with_its_scores(
    first: RunFolder, tmp_path: Path
) -> None:
    second = made(tmp_path / "b", f"run:{first.root}", adapter=LORA)
    prepare(second)
    train(second)
    evaluate_all(second, 1)
    merge(second)
    for file in ("predictions", "metrics", "nbest", "details"):
        before = getattr(first, file)("fine_tuned").read_bytes()
        assert getattr(second, file)("base").read_bytes() == before, file
    assert results(second)["fine_tuned/nbest.jsonl"] != results(second)["base/nbest.jsonl"]

    # And another one from that, whose base is the first run's model with both adapters.
    chain = model_folder(named(second))
    of = load_recipe(second.recipe).recipe.model
    task = "AutoModelForTokenClassification"
    labels = {"id2label": load_model(chain, of, task).model.config.id2label}
    merged = load_model(chain, of, task, labels).model
    trained = load_trained(model_folder(named(first)), second.model, of, task, labels)
    assert all(
        torch.equal(one, other) for one, other in zip(merged.parameters(), trained.parameters(), strict=True)
    )


def test_a_run_that_trained_every_weight_is_taken_as_it_is(encoder_folder: Path, tmp_path: Path) -> None:
    run = made(tmp_path / "a", encoder_folder)
    prepare(run)
    train(run)
    assert model_folder(named(run)) == run.model


def test_an_adapter_is_merged_once(first: RunFolder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(named(first))
    assert folder.is_relative_to(cache)
    monkeypatch.setattr(earlier_module, "_merge", lambda *_: pytest.fail("merged again"))
    assert model_folder(named(first)) == folder
    assert same_weights(folder, folder)


def copied(run: RunFolder, folder: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(run.root, folder)))


def test_what_cannot_be_started_from_is_said(first: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no run in"):
        model_folder(Model(name_or_path=f"run:{tmp_path / 'nowhere'}"))
    unfinished = copied(first, tmp_path / "unfinished")
    unfinished.train_summary.unlink()
    with pytest.raises(ModelError, match="the run unfinished has not trained its model") as caught:
        model_folder(named(unfinished))
    assert str(unfinished.root) in caught.value.remedy
    broken = copied(first, tmp_path / "broken")
    broken.train_summary.write_text('{"global_step": 3')
    with pytest.raises(ModelError, match="is damaged: JSONDecodeError"):
        model_folder(named(broken))
    changed = copied(first, tmp_path / "changed")
    file = changed.model / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match="is not the one that was trained"):
        model_folder(named(changed))


def test_an_adapter_on_another_base_is_refused(first: RunFolder, causal_folder: Path, tmp_path: Path) -> None:
    moved = copied(first, tmp_path / "moved")
    text = moved.recipe.read_text()
    base = load_recipe(moved.recipe).recipe.model.name_or_path
    moved.recipe.write_text(text.replace(base, str(causal_folder)))
    with pytest.raises(ModelError, match="is not the one that moved was trained on"):
        model_folder(named(moved))


def test_virtual_tokens_cannot_be_started_from(encoder_folder: Path, tmp_path: Path) -> None:
    adapter = {"method": "prompt_tuning", "num_virtual_tokens": 2}
    run = finish(made(tmp_path / "a", encoder_folder, adapter=adapter))
    assert json.loads(run.metrics("fine_tuned").read_text())["num_examples"] == 10
    with pytest.raises(ModelError, match=r"trained virtual tokens \(prompt_tuning\)"):
        model_folder(named(run))


def test_the_lock_names_the_run_by_its_hash_and_what_is_behind_it(first: RunFolder, tmp_path: Path) -> None:
    second = made(tmp_path / "b", f"run:{first.root}", adapter=LORA)
    recipe = load_recipe(second.recipe).recipe
    _, entries = lock_recipe(recipe, tmp_path / "hub")
    model, behind = [entry for entry in entries if entry.field == "model"]
    assert (model.kind, model.revision) == ("run", earlier_run(f"run:{first.root}").model_sha256)
    assert behind.kind == "folder"
    write_lock(second, entries)
    check_unchanged(second)


def test_a_run_that_was_trained_again_after_the_submission_is_noticed(
    first: RunFolder, tmp_path: Path
) -> None:
    other = copied(first, tmp_path / "other")
    second = made(tmp_path / "b", f"run:{other.root}", adapter=LORA)
    write_lock(second, lock_recipe(load_recipe(second.recipe).recipe, tmp_path / "hub")[1])
    summary = json.loads(other.train_summary.read_text())
    other.train_summary.write_text(json.dumps(summary | {"model_sha256": "0" * 64}))
    with pytest.raises(ModelError, match=f"changed after the run was submitted.*trained as {'0' * 64}"):
        check_unchanged(second)


def test_the_plan_knows_the_shape_of_an_earlier_run_and_preflight_whether_it_is_there(
    first: RunFolder, tmp_path: Path
) -> None:
    second = made(tmp_path / "b", f"run:{first.root}", adapter=LORA)
    recipe = load_recipe(second.recipe).recipe
    shape = read_shape(recipe)
    assert not isinstance(shape, Unknown)
    assert (shape.kind, shape.blocks) == ("bert", 2)
    assert list(_model_problems(recipe)) == []
    assert [model.name_or_path.startswith("run:") for _, model in models_read(recipe)] == [True, False]
    missing = recipe.model.model_copy(update={"name_or_path": f"run:{tmp_path / 'nowhere'}"})
    ((where, message, _),) = _model_problems(recipe.model_copy(update={"model": missing}))
    assert (where, message) == ("model.name_or_path", f"there is no run in {tmp_path / 'nowhere'}")


def test_a_teacher_may_be_an_earlier_run_and_is_merged_before_the_ranks_start(
    first: RunFolder, encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = {"teacher": f"run:{first.root}", "alpha": 0.5}
    run = made(tmp_path / "b", encoder_folder, distillation=teacher)
    prepare(run)
    monkeypatch.setattr(earlier_module, "_merge", lambda *_: pytest.fail("merged by a rank"))
    train(run)
    assert run.model.is_dir()
    _, entries = lock_recipe(load_recipe(run.recipe).recipe, tmp_path / "hub")
    assert [(entry.field, entry.kind) for entry in entries if not entry.field.startswith("data")] == [
        ("model", "folder"),
        ("train.distillation", "run"),
        ("train.distillation", "folder"),
    ]
