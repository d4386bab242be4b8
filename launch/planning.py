"""Everything that planning a run reads: recipe, data size, profile, machine and cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from launch.machine import Machine, this_machine
from launch.plan import Cluster, Plan, make_plan, training_set_size
from launch.profiles.profile import ClusterProfile, load_profile
from rankfold.errors import DataError

if TYPE_CHECKING:
    from rankfold.recipe.load import LoadedRecipe
    from rankfold.recipe.schema import Recipe

ClusterChoice = Literal["slurm", "local", "auto"]


@dataclass(frozen=True)
class Planned:
    """A recipe and the plan made of it, with what the plan was made from."""

    loaded: LoadedRecipe
    plan: Plan
    profile: ClusterProfile
    machine: Machine


def plan_recipe(
    path: Path, overrides: Sequence[str], *, cluster: ClusterChoice, profile: str | None
) -> Planned:
    """Load a recipe and plan it for Slurm or for this machine.

    Raises:
        UserError: The recipe, an override or the profile is wrong.
    """
    from rankfold.recipe.load import load_recipe

    loaded = load_recipe(path, overrides)
    count, why_unknown = _num_train_examples(loaded.recipe)
    machine = this_machine()
    plan = make_plan(loaded.recipe, cluster=_chosen(cluster), machine=machine, num_train_examples=count)
    if why_unknown:
        plan = replace(plan, notes=(*plan.notes, why_unknown))
    return Planned(loaded, plan, load_profile(profile), machine)


def _chosen(cluster: ClusterChoice) -> Cluster:
    from launch.slurm.answers import slurm_answers

    if cluster != "auto":
        return cluster
    return "slurm" if slurm_answers() else "local"


def _num_train_examples(recipe: Recipe) -> tuple[int | None, str | None]:
    """Size of the training set, or None and, where the file is the reason, what is wrong with it."""
    from rankfold.data.readers import count_examples

    source = recipe.data.train or recipe.data.source
    if source is None:
        return None, None
    try:
        mixed = {name: count_examples(mixed) for name, mixed in recipe.data.mixed_with.items()}
        return training_set_size(recipe, count_examples(source), mixed), None
    except DataError as error:
        # A plan is also of use where the data is not; a submission refuses in its preflight.
        return None, f"the training examples cannot be counted: {error.where}: {error.message}"
