"""export: a run's model as a folder that any program loads, with a card that says where it comes from."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from rankfold import atomic
from rankfold.data.chat import stop_ids
from rankfold.earlier_runs import ADAPTER_FILE
from rankfold.errors import UserError
from rankfold.exporting.card import BaseModel, render_card
from rankfold.exporting.gguf import write_gguf
from rankfold.exporting.ollama import modelfile
from rankfold.hub_cache import model_repository
from rankfold.modeling.load import load_tokenizer, load_trained
from rankfold.modeling.sources import model_folder
from rankfold.recipe.schema import PACKAGE_PREFIX, RUN_PREFIX, Evaluation, Model, Recipe
from rankfold.report.read import read_facts
from rankfold.run_folder import RunFolder
from rankfold.stages.inputs import check_trained, prepared_summary, recipe_and_task
from rankfold.tasks.base import Task

Kind = Literal["model", "adapter"]

GGUF_FILE = "model.gguf"


@dataclass(frozen=True)
class Exported:
    """What was written: a whole model, or an adapter that needs its base; and what has to be said of it."""

    kind: Kind
    notes: tuple[str, ...]


def export(
    run: RunFolder,
    target: Path,
    *,
    dtype: str | None = None,
    ollama: bool = False,
    converter: Path | None = None,
) -> Exported:
    """Write the trained model, its adapter merged, with tokenizer and card to a new folder, whole or not.

    Virtual tokens stand in front of a text and not in the weights: they are written as the adapter they are.

    Args:
        run: A run that has trained.
        target: A folder that is empty or not there.
        dtype: Precision of the weights; empty for that of the recipe, in which they were evaluated.
        ollama: Write a Modelfile.
        converter: llama.cpp's `convert_hf_to_gguf.py`, to write a GGUF file too.

    Raises:
        ModelError: The model cannot be loaded.
        OperationalError: The converter failed.
        UserError: The run has not trained, `target` holds something, or the model is none for Ollama or GGUF.
    """
    _check(run, target)
    recipe, task = recipe_and_task(run)
    adapter = recipe.model.trained_adapter
    kind: Kind = "adapter" if adapter is not None and adapter.trains_virtual_tokens else "model"
    if dtype is not None and kind == "adapter":
        raise UserError(
            "an adapter of virtual tokens is written as it was trained, in float32",
            where="--dtype",
            remedy="Export without it.",
        )
    if ollama or converter is not None:
        _check_generates(recipe, task, kind)
    tokenizer = load_tokenizer(run.prepared.tokenizer)
    # A link stays one: what it leads to is written.
    with atomic.folder(target.resolve()) as partial:
        tokenizer.save_pretrained(partial)
        notes = _write_weights(run, recipe, task, tokenizer, partial, kind, dtype)
        if converter is not None:
            write_gguf(converter, partial, partial / GGUF_FILE, dtype or recipe.model.torch_dtype)
        if ollama:
            weights = f"./{GGUF_FILE}" if converter is not None else "."
            text, said = modelfile(tokenizer, recipe.evaluation, _ends(tokenizer), weights)
            atomic.write_text(partial / "Modelfile", text)
            notes += said
        _write_card(run, recipe, task, partial, kind, notes)
        atomic.share(partial)
    return Exported(kind, tuple(notes))


def _write_weights(
    run: RunFolder,
    recipe: Recipe,
    task: Task[Any],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    kind: Kind,
    dtype: str | None,
) -> list[str]:
    """Write the whole model, or the adapter that cannot be merged; return what has to be said of it."""
    if kind == "adapter":
        _write_adapter(run, recipe, folder)
        return [
            "virtual tokens cannot be merged into the weights: this is the adapter, which PEFT puts on "
            f"{base_name(recipe.model)}"
        ]
    _write_model(run, recipe, task, tokenizer, folder, dtype)
    if recipe.model.quantization is None:
        return []
    return [
        f"trained on {recipe.model.quantization.bits}-bit weights, merged into the unquantised ones; "
        "its answers may differ a little from those evaluated"
    ]


def _write_card(
    run: RunFolder, recipe: Recipe, task: Task[Any], folder: Path, kind: Kind, notes: Sequence[str]
) -> None:
    head = task.model_config(prepared_summary(run)["labels"])
    card = render_card(
        read_facts(run),
        _base_model(recipe.model),
        kind=kind,
        auto_class=task.auto_class,
        num_labels=head.get("num_labels", len(head.get("id2label", ()))),
        notes=notes,
    )
    atomic.write_text(folder / "README.md", card)


def _check(run: RunFolder, target: Path) -> None:
    check_trained(run)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(
            f"{target} is there already and not an empty folder",
            where="--to",
            remedy="Name a new folder, or empty this one.",
        )
    existing = _nearest_folder(target)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(
            f"{existing} is not a folder you may write to", where="--to", remedy="Name another folder."
        )
    if target.resolve().is_relative_to(run.root.resolve()):
        raise UserError(
            f"{target} is inside the run, which holds its own files only",
            where="--to",
            remedy="Name a folder outside it.",
        )
    if target.resolve() == Path.cwd():
        raise UserError(
            f"{target} is the folder you are in, and would be replaced as a whole",
            where="--to",
            remedy="Name a new folder.",
        )


def _nearest_folder(target: Path) -> Path:
    """The deepest of the folders above a path that is there."""
    return next(folder for folder in target.absolute().parents if folder.exists())


def _check_generates(recipe: Recipe, task: Task[Any], kind: Kind) -> None:
    if kind == "adapter" or task.facts.model_kind != "decoder":
        what = "an adapter of virtual tokens" if kind == "adapter" else f"a model for {recipe.task}"
        raise UserError(
            f"Ollama and GGUF are for causal language models, and this is {what}",
            where="--ollama, --gguf",
            remedy="Export without them.",
        )


def _write_model(
    run: RunFolder,
    recipe: Recipe,
    task: Task[Any],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    dtype: str | None,
) -> None:
    # An adapter can only be merged into weights that are numbers, not codes of a few bits.
    settings = recipe.model.model_copy(update={"quantization": None})
    labels = prepared_summary(run)["labels"]
    model = load_trained(
        model_folder(recipe.model), run.model, settings, task.auto_class, task.model_config(labels)
    )
    if dtype is not None:
        model = model.to(getattr(torch, dtype))
    if task.facts.generates:
        model.generation_config = _generation_config(model, tokenizer, task, recipe.evaluation)
    model.save_pretrained(folder)


def _generation_config(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: Task[Any], evaluation: Evaluation
) -> GenerationConfig:
    """Generate as the evaluation did, but one sequence, which people expect."""
    known = model.generation_config
    ends = _ends(tokenizer) if task.facts.model_kind == "decoder" else known.eos_token_id
    search: dict[str, Any] = {"do_sample": evaluation.do_sample, "num_beams": evaluation.num_beams}
    if evaluation.do_sample:
        search |= {"temperature": evaluation.temperature, "top_p": evaluation.top_p, "top_k": 0}
    return GenerationConfig(
        max_new_tokens=evaluation.max_new_tokens,
        bos_token_id=known.bos_token_id,
        decoder_start_token_id=known.decoder_start_token_id,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
        **search,
    )


def _ends(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end an answer, or a text where the model does not chat."""
    return stop_ids(tokenizer) if tokenizer.chat_template is not None else [int(tokenizer.eos_token_id)]


def _write_adapter(run: RunFolder, recipe: Recipe, folder: Path) -> None:
    for file in run.model.iterdir():
        if file.suffix == ".safetensors":
            shutil.copyfile(file, folder / file.name)
    settings = json.loads((run.model / ADAPTER_FILE).read_text(encoding="utf-8"))
    # Training leaves the folder of a cache there, which is nobody else's.
    settings |= {"base_model_name_or_path": base_name(recipe.model), "revision": recipe.model.revision}
    atomic.write_json(folder / ADAPTER_FILE, settings)


def base_name(model: Model) -> str:
    """What to call a base model elsewhere: its hub id, or the last part of where it is on this machine."""
    name = model.name_or_path
    for prefix in (PACKAGE_PREFIX, RUN_PREFIX):
        name = name.removeprefix(prefix)
    return name if _is_on_hub(model) else Path(name).expanduser().resolve().name


def _is_on_hub(model: Model) -> bool:
    name = model.name_or_path
    is_here = name.startswith((PACKAGE_PREFIX, RUN_PREFIX, ".", "/", "~")) or Path(name).is_dir()
    return not is_here and model_repository(model) is not None


def _base_model(model: Model) -> BaseModel:
    return BaseModel(base_name(model), _licence(model), is_on_hub=_is_on_hub(model), revision=model.revision)


def _licence(model: Model) -> str | None:
    """The licence of the base model, as its card or its Python package says it."""
    name = model.name_or_path
    if name.startswith(PACKAGE_PREFIX):
        about = metadata.metadata(name.removeprefix(PACKAGE_PREFIX))
        said: list[str] = about.get_all("License-Expression") or about.get_all("License") or []
        # Some packages hold the whole text there.
        return said[0] if said and "\n" not in said[0] and said[0] != "UNKNOWN" else None
    card = model_folder(model) / "README.md"
    if not card.is_file():
        return None
    parts = card.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return None
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        # Somebody else's card: what cannot be read says nothing.
        return None
    found = front.get("license") if isinstance(front, dict) else None
    return found if isinstance(found, str) else None
