"""prepare: read, divide and tokenise the data, once, for every later stage."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from rankfold import atomic
from rankfold.data.examples import Example
from rankfold.data.splits import Splits, read_splits
from rankfold.data.store import write_examples
from rankfold.fingerprints import folder_sha256
from rankfold.lock import check_unchanged
from rankfold.modeling.load import load_tokenizer
from rankfold.modeling.sources import model_folder
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import PreparedFolder, RunFolder
from rankfold.stages.inputs import recipe_and_task
from rankfold.tasks.base import Features, Task


def prepare(run: RunFolder) -> None:
    """Read, divide and tokenise the data, once, for every later stage.

    Raises:
        DataError: The data is missing, broken, empty, does not fit max_length, or changed since submission.
        ModelError: The model cannot be found.
    """
    if run.prepare_summary.is_file():
        print("prepare was done before: nothing to do")
        return
    check_unchanged(run)
    recipe, task = recipe_and_task(run)
    folder = model_folder(recipe.model)
    tokenizer = load_tokenizer(folder)
    splits = read_splits(recipe)
    sides = _sides(splits, tokenizer, recipe, task)
    summary: dict[str, Any] = {
        "task": recipe.task,
        "labels": list(splits.labels),
        "max_length": recipe.data.max_length,
        "model_folder": str(folder),
        # Before one source is divided nobody knows which side a dropped example would have been on.
        "dropped_before_split": dict(splits.dropped.get("source", {})),
        "repaired": _repaired(splits, sides),
        **{side: _counts(*made, splits.dropped.get(side, {})) for side, made in sides.items()},
    }
    with atomic.folder(run.prepared.root) as partial:
        prepared = PreparedFolder(partial)
        tokenizer.save_pretrained(prepared.tokenizer)
        for side, (examples, features) in sides.items():
            write_examples(prepared.examples(side), examples, task.example_type)
            Dataset.from_dict(features.columns).save_to_disk(prepared.features(side))
        summary["fingerprint"] = {
            "model": folder_sha256(folder),
            "tokenizer": folder_sha256(prepared.tokenizer),
            "features": folder_sha256(prepared.features("test"), (".arrow",)),
        }
        atomic.write_json(prepared.summary, summary)
    _say_counts(summary)


def _sides(
    splits: Splits, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, task: Task[Any]
) -> dict[str, tuple[tuple[Example, ...], Features]]:
    """Training, validation (where there is one) and test: the examples and what the model gets of them."""
    sides = {"train": (splits.train, task.training_features(splits.train, tokenizer, recipe, splits.labels))}
    for side, examples in (("validation", splits.validation), ("test", splits.test)):
        if examples:
            features = task.evaluation_features(examples, tokenizer, recipe, splits.labels)
            sides[side] = (examples, features)
    return sides


def _repaired(
    splits: Splits, sides: Mapping[str, tuple[tuple[Example, ...], Features]]
) -> dict[str, dict[str, int]]:
    """What was put right: side, or the source before it was divided, → reason → count."""
    counts = {side: dict(reasons) for side, reasons in splits.repaired.items()}
    for side, (_, features) in sides.items():
        counts[side] = {**counts.get(side, {}), **features.repaired}
    return {side: reasons for side, reasons in counts.items() if reasons}


def _counts(
    examples: Sequence[Example], features: Features, dropped: Mapping[str, int]
) -> dict[str, int | dict[str, int]]:
    return {
        "num_examples": len(examples),
        "num_features": len(features),
        "num_tokens": features.num_tokens,
        "num_truncated": features.num_truncated,
        "dropped": {**dropped, **features.dropped},
    }


def _say_counts(summary: Mapping[str, Any]) -> None:
    dropped = {"source": summary["dropped_before_split"]}
    for side in ("train", "validation", "test"):
        if side not in summary:
            continue
        counts = summary[side]
        dropped[side] = counts["dropped"]
        print(
            f"{side}: {counts['num_examples']:,} examples, {counts['num_features']:,} features, "
            f"{counts['num_tokens']:,} tokens; {counts['num_truncated']:,} truncated at max_length"
        )
    for kind, sides in (("dropped from", dropped), ("repaired in", summary["repaired"])):
        for side, reasons in sides.items():
            for reason, count in reasons.items():
                print(f"{kind} {side}: {count:,} × {reason}")
