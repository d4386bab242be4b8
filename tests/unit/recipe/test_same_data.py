"""What is the same data is so however it is spelled."""

from pathlib import Path

import pytest
from unit.recipe.conftest import LoadTiny

from rankfold.errors import RecipeError
from rankfold.recipe.same_data import is_same_data
from rankfold.recipe.schema import Source


def same(one: str, other: str) -> bool:
    sources = [Source(path=str(path), format="jsonl") for path in (one, other)]
    return is_same_data(sources[0], "train", sources[1], "train")


def test_a_link_is_the_file_or_the_folder_that_it_leads_to(folder: Path) -> None:
    (folder / "data/chats").mkdir(parents=True)
    (folder / "data/train.jsonl").touch()
    (folder / "linked").symlink_to("data", target_is_directory=True)
    (folder / "link.jsonl").symlink_to("linked/train.jsonl")
    assert same(f"{folder}/link.jsonl", f"{folder}/data/train.jsonl")
    assert same(f"{folder}/linked/missing.jsonl", f"{folder}/data/../data/missing.jsonl")
    assert same(f"hub:{folder}/linked/chats", f"hub:{folder}/data/chats")
    assert not same(f"{folder}/link.jsonl", f"{folder}/data/other.jsonl")
    assert not same(f"hub:{folder}/linked/chats", f"{folder}/data/chats")


@pytest.mark.parametrize("role", ["train", "validation"])
def test_a_link_to_the_test_set_is_neither_trained_nor_validated_on(
    role: str, folder: Path, load_tiny: LoadTiny
) -> None:
    (folder / "test.jsonl").touch()
    (folder / "link.jsonl").symlink_to("test.jsonl")
    with pytest.raises(RecipeError, match="is the same data as"):
        load_tiny("", f"data.{role}={{path: link.jsonl, format: spans}}")


def test_a_hub_data_set_without_a_revision_is_that_of_the_default_branch() -> None:
    assert same("hub:some/chats", "hub:some/chats@main")
    assert same("hub:some/chats@", "hub:some/chats")
    assert not same("hub:some/chats", "hub:some/chats@v2")
    assert not same("hub:some/chats", "hub:other/chats")


def test_a_path_that_leads_nowhere_is_left_to_its_reader(folder: Path) -> None:
    (folder / "circle").symlink_to("circle")
    for path in (f"{folder}/circle/a", f"{folder}/a\0b", f"{folder}/{'a' * 5000}"):
        assert same(path, path)
        assert not same(path, f"{path}c")
