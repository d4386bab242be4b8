"""Hashes that tell whether two results come from the same model, data and settings."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from rankfold.nbest.units import Fingerprint
from rankfold.recipe.schema import Recipe

WEIGHTS_AND_SETTINGS = (".safetensors", ".json", ".jinja", ".txt", ".model")


def folder_sha256(folder: Path, suffixes: tuple[str, ...] = WEIGHTS_AND_SETTINGS) -> str:
    """Hash the names and contents of a folder's files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in suffixes):
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def evaluation_fingerprint(
    recipe: Recipe, record_settings: Mapping[str, str | int], *, model: str, tokenizer: str, features: str
) -> Fingerprint:
    """Everything that records depend on; what only the merge uses is left out, so it may change.

    Args:
        record_settings: What the recipe's task adds.
        model: Hash of the weights that are evaluated.
        tokenizer: Hash of the tokenizer.
        features: Hash of the tokenised test set.
    """
    evaluation = recipe.evaluation
    fields: dict[str, str | int] = {
        "task": recipe.task,
        "model": model,
        "tokenizer": tokenizer,
        "features": features,
        # A new head is random, and so is sampling.
        "seed": recipe.seed,
        "torch_dtype": recipe.model.torch_dtype,
        "attn_implementation": str(recipe.model.attn_implementation),
        "config": json.dumps(recipe.model.config, sort_keys=True),
        "max_length": recipe.data.max_length,
        "doc_stride": recipe.data.doc_stride,
        "unit_size": evaluation.unit_size,
        "per_device_eval_batch_size": evaluation.per_device_eval_batch_size,
    }
    if recipe.model.quantization is not None:
        fields["quantization"] = recipe.model.quantization.model_dump_json()
    return Fingerprint.of({**fields, **record_settings})
