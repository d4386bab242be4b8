from typing import get_args

import pytest

from rankfold.errors import RecipeError
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Task
from rankfold.tasks.registry import load_task


@pytest.mark.parametrize("name", get_args(Recipe.model_fields["task"].annotation))
def test_every_task_that_a_recipe_may_name_is_installed(name: str) -> None:
    assert isinstance(load_task(name), Task)


def test_a_task_that_nobody_provides_is_refused_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"'summarise'; found: .*extractive_qa, generative_ner"):
        load_task("summarise")
