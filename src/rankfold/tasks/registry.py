"""Finding a task by its name: an entry point of the group `rankfold.tasks`."""

from importlib.metadata import entry_points
from typing import Any

from rankfold.errors import RecipeError
from rankfold.tasks.base import Task

GROUP = "rankfold.tasks"


def load_task(name: str) -> Task[Any]:
    """Return the task an installed package registered under `name`.

    Raises:
        RecipeError: No installed package has such a task.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise RecipeError(
            f"no installed package provides the task {name!r}; found: {', '.join(sorted(found)) or 'none'}",
            where="task",
            remedy="Install rankfold again (make install), or the package that brings the task.",
        )
    task: Task[Any] = found[name].load()()
    return task
