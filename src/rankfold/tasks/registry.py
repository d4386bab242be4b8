"""A task by its name."""

from typing import Any

from rankfold.task_facts import task_class
from rankfold.tasks.base import Task


def load_task(name: str) -> Task[Any]:
    """Return a task of this package or of one that is installed beside it.

    Raises:
        RecipeError: There is no such task.
    """
    task: Task[Any] = task_class(name)()
    return task
