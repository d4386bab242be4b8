"""Combinations of settings for the evaluation during training that cannot work."""

import json
from collections.abc import Iterator

from rankfold.recipe.conflict import Conflict
from rankfold.recipe.same_data import is_same_data
from rankfold.recipe.schema import Data, Recipe, Train

_FOLLOW_EVALUATIONS = (
    "eval_steps",
    "metric_for_best_model",
    "load_best_model_at_end",
    "early_stopping_patience",
)
_FOLLOWING_SCHEDULES = ("reduce_lr_on_plateau", "greedy")
"""Schedules that transformers steps with the metric of an evaluation."""


def validation_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Find settings that need an evaluation, a validation set, or each other, and do not have it."""
    yield from _set_conflicts(recipe)
    if recipe.train.eval_strategy == "no":
        yield from _never_evaluated(recipe.train)
    else:
        yield from _metric_conflicts(recipe.train)


def _set_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    data, strategy = recipe.data, recipe.train.eval_strategy
    if data.validation and data.split.validation:
        yield Conflict(
            ("data.validation", "data.split.validation"),
            f"is a set of its own, but split.validation takes {data.split.validation:g} of the data too; "
            "leave one of them out",
        )
    same = _key_of_the_same(data)
    if same:
        yield Conflict(
            ("data.validation", same),
            f"is the same data as {same}: the best checkpoint would be chosen on what it is tested on; name "
            "other data, or give data.split.validation a share",
        )
    if strategy != "no" and not _has_validation(data):
        yield Conflict(
            ("train.eval_strategy",),
            f"is {strategy}, but there is no validation set; name one in data.validation, or give "
            "data.split.validation a share",
        )


def _key_of_the_same(data: Data) -> str | None:
    """Which of the sets that are tested on holds the validation set, if one does."""
    validation = data.validation
    if validation is None:
        return None
    for key, source in (("data.test", data.test), ("data.source", data.source)):
        if source and is_same_data(source, source.test_split, validation, validation.test_split):
            return key
    return None


def _has_validation(data: Data) -> bool:
    return data.validation is not None or data.split.validation > 0


def _never_evaluated(train: Train) -> Iterator[Conflict]:
    for key in _FOLLOW_EVALUATIONS:
        value = getattr(train, key)
        if value:
            yield Conflict(
                (f"train.{key}",),
                f"is {json.dumps(value)}, but eval_strategy is no; set eval_strategy to steps or epoch, "
                f"or leave {key} out",
            )
    if train.lr_scheduler_type in _FOLLOWING_SCHEDULES:
        yield Conflict(
            ("train.lr_scheduler_type",),
            f"{train.lr_scheduler_type} follows a metric, but eval_strategy is no; set eval_strategy to "
            "steps or epoch, or choose another schedule",
        )


def _metric_conflicts(train: Train) -> Iterator[Conflict]:
    if train.eval_steps and train.eval_strategy == "epoch":
        yield Conflict(
            ("train.eval_steps",),
            f"is {train.eval_steps}, but eval_strategy is epoch; set eval_strategy to steps, or leave "
            "eval_steps out",
        )
    if train.greater_is_better is not None and not train.metric_for_best_model:
        yield Conflict(
            ("train.greater_is_better",),
            f"is {json.dumps(train.greater_is_better)}, but metric_for_best_model is not given; of the "
            "task's own metric it is known which way is better; name a metric, or leave greater_is_better "
            "out",
        )
    if train.early_stopping_threshold and not train.early_stopping_patience:
        yield Conflict(
            ("train.early_stopping_threshold",),
            f"is {train.early_stopping_threshold:g}, but nothing stops early; set early_stopping_patience, "
            "or leave early_stopping_threshold out",
        )
