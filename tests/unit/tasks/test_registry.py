import pytest

from rankfold.errors import RecipeError
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Task
from rankfold.tasks.registry import load_task


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_task_that_a_recipe_may_name_can_be_made(name: str) -> None:
    assert isinstance(load_task(name), Task)


def test_a_task_that_nobody_provides_is_refused() -> None:
    with pytest.raises(RecipeError, match="'summarise'"):
        load_task("summarise")
