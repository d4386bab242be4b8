"""Every broken recipe gets one whole message: the cases are in broken_recipes.txt."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from unit.recipe.samples import TINY

from rankfold.errors import EXIT_USER, RecipeError
from rankfold.recipe.load import load_recipe

RECIPE = Path("recipe.yaml")


@dataclass(frozen=True)
class Broken:
    title: str
    files: dict[str, str]
    overrides: list[str]
    message: str


def read_cases() -> list[Broken]:
    text = (Path(__file__).parent / "broken_recipes.txt").read_text(encoding="utf-8")
    return [_case(block) for block in text.split("\n=== ")[1:]]


def _case(block: str) -> Broken:
    written, _, message = block.partition(">>>\n")
    title, *lines = written.splitlines()
    files: dict[str, str] = {}
    overrides = []
    for line in lines:
        if line.startswith("--- "):
            files[line[4:]] = ""
        elif line.startswith("$ "):
            overrides.append(line[2:])
        else:
            files[list(files)[-1]] += TINY if line == "TINY" else f"{line}\n"
    return Broken(title, files, overrides, message.rstrip())


CASES = read_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_a_recipe_with(case: Broken, folder: Path) -> None:
    for name, text in case.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(RECIPE, case.overrides)
    assert str(caught.value) == case.message
    assert caught.value.exit_code == EXIT_USER


def broken_by(content: bytes) -> str:
    RECIPE.write_bytes(TINY.encode() + content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(RECIPE)
    return str(caught.value)


def test_the_recipe_that_cases_are_built_on_is_not_broken(folder: Path) -> None:
    RECIPE.write_text(TINY)
    assert load_recipe(RECIPE).recipe.name == "tiny"


@pytest.mark.usefixtures("folder")
def test_a_recipe_in_latin_1_is_refused_with_the_line() -> None:
    message = broken_by(b"# fine\nprompt: {user: 'caf\xe9 {text}'}\n")
    assert message == "recipe.yaml:8: is not UTF-8; save it as UTF-8"


@pytest.mark.usefixtures("folder")
def test_a_control_character_is_refused_with_the_line_even_behind_chinese_text() -> None:
    message = broken_by("# 找出文本中的实体\nprompt: {user: \x01}\n".encode())
    assert message == "recipe.yaml:8: is not valid YAML: control characters are not allowed"


@pytest.mark.usefixtures("folder")
def test_aliases_that_would_expand_to_billions_of_values_are_refused_at_once() -> None:
    lines = [b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"]
    for name, inner in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{inner}'] * 10)}]\n".encode())
    message = "recipe.yaml:1: its aliases expand to more than 10000 values, or to themselves"
    assert broken_by(b"".join(lines)) == message


@pytest.mark.usefixtures("folder")
def test_nesting_that_would_overflow_the_parser_is_refused() -> None:
    assert broken_by(b"train: " + b"[" * 100_000) == "recipe.yaml:1: is nested deeper than 50 levels"


@pytest.mark.usefixtures("folder")
def test_a_checkpoint_given_as_a_recipe_is_not_even_read() -> None:
    message = "recipe.yaml: is larger than 1048576 bytes, so it is no recipe"
    assert broken_by(b"#" * (1 << 20)) == message


def test_a_folder_given_as_a_recipe_is_refused(folder: Path) -> None:
    (folder / "recipes").mkdir()
    with pytest.raises(RecipeError, match=r"^recipes: cannot be read: Is a directory$"):
        load_recipe(Path("recipes"))


def test_an_override_in_another_encoding_is_refused(folder: Path) -> None:
    RECIPE.write_text(TINY)
    # What Python makes of bytes on the command line that are not UTF-8.
    with pytest.raises(RecipeError, match=r"^command line: train.optim: is not UTF-8 text$"):
        load_recipe(RECIPE, ["train.optim=a\udcff"])


def test_a_recipe_outside_the_working_directory_is_shown_by_its_whole_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "recipe.yaml").write_text(f"{TINY}sed: 1\n")
    monkeypatch.chdir(folder / "elsewhere")
    with pytest.raises(RecipeError) as caught:
        load_recipe(Path("../recipe.yaml"))
    assert str(caught.value) == f"{folder}/recipe.yaml:7: sed: unknown key; did you mean seed?"
