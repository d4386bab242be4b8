"""An earlier run's model as a folder of its own, its adapter merged into the model that it was trained on."""

import hashlib
import json
from pathlib import Path

from rankfold import atomic
from rankfold.earlier_runs import EarlierRun
from rankfold.errors import ModelError
from rankfold.fingerprints import folder_sha256
from rankfold.modeling.packages import WHERE, cache_folder, checked


def trained_folder(earlier: EarlierRun, base: Path | None) -> Path:
    """Return a folder with configuration, safetensors and tokenizer of what a run trained.

    An adapter is merged once, in the run's own precision as its evaluation merges it, and kept in the cache
    of converted models. Where several merge at the same time, the first one's stays.

    Args:
        earlier: The run.
        base: Folder of the model that its adapter belongs to; None where it has none.

    Raises:
        ModelError: A file is missing or damaged, the base is another one now, or nothing can be merged.
    """
    if base is None:
        return checked(earlier.run.model, earlier.run.run_id)
    target = merged_folder(earlier)
    if not target.is_dir():
        _check_whole(earlier, base)
        print(f"merging the adapter of {earlier.run.run_id}, once: {target}", flush=True)
        _merge(earlier, base, target)
    return target


def merged_folder(earlier: EarlierRun) -> Path:
    """Where a run's adapter belongs once merged: another base, adapter or precision is another folder."""
    settings = {
        "base": earlier.base_sha256,
        "trained": earlier.model_sha256,
        "torch_dtype": earlier.recipe.model.torch_dtype,
        "config": earlier.recipe.model.config,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "merged" / f"{earlier.run.run_id}-{digest}"


def _check_whole(earlier: EarlierRun, base: Path) -> None:
    if folder_sha256(earlier.run.model) != earlier.model_sha256:
        raise ModelError(
            f"the adapter in {earlier.run.model} is not the one that was trained",
            where=WHERE,
            remedy="A file was changed or damaged: restore it, or train again.",
        )
    if folder_sha256(base) != earlier.base_sha256:
        raise ModelError(
            f"the model in {base} is not the one that {earlier.run.run_id} was trained on",
            where=WHERE,
            remedy="Put that one back: an adapter means nothing on another model.",
        )


def _merge(earlier: EarlierRun, base: Path, target: Path) -> None:
    from rankfold.modeling.load import load_tokenizer, load_trained
    from rankfold.task_facts import task_class

    task, recipe = task_class(earlier.recipe.task)(), earlier.recipe
    adapter = recipe.model.trained_adapter
    if adapter is not None and adapter.trains_virtual_tokens:
        raise ModelError(
            f"{earlier.run.run_id} trained virtual tokens ({adapter.method}), which are no part of any layer",
            where=WHERE,
            remedy="Start from a run that trained every weight, or an adapter such as lora.",
        )
    # What was trained on a base in 4 or 8 bits is merged into the whole weights.
    settings = recipe.model.model_copy(update={"quantization": None})
    model = load_trained(
        base, earlier.run.model, settings, task.auto_class, task.model_config(earlier.labels)
    )
    with atomic.folder_once(target) as folder:
        model.save_pretrained(folder)
        load_tokenizer(earlier.run.model).save_pretrained(folder)
