"""Saving what was trained so that it is whole, or not there."""

import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PreTrainedTokenizerBase, Trainer

from rankfold import atomic
from rankfold.distributed import barrier
from rankfold.errors import OperationalError
from rankfold.ranks import ranks


def save_model(trainer: Trainer, tokenizer: PreTrainedTokenizerBase, target: Path) -> None:
    """Write the model or adapter; every rank calls this, since ZeRO gathers weights from all.

    Raises:
        OperationalError: A tensor of the saved model is empty or not finite.
    """
    partial = target.with_name(f".{target.name}.partial")
    if ranks().is_main:
        shutil.rmtree(partial, ignore_errors=True)
    barrier()
    trainer.save_model(str(partial))
    if ranks().is_main:
        # A pickle of what recipe.yaml says in words; nobody should have to unpickle a model's folder.
        (partial / "training_args.bin").unlink(missing_ok=True)
        tokenizer.save_pretrained(partial)
        check_saved(partial)
        atomic.flush(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    barrier()


def check_saved(folder: Path) -> None:
    """Read back every tensor that was saved.

    Raises:
        OperationalError: There are no safetensors, or a tensor is empty or not finite. ZeRO-3 with
            an adapter is known to save empty tensors without a word.
    """
    files = sorted(folder.glob("*.safetensors"))
    names = 0
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - the handle is no mapping
                names += 1
                tensor = tensors.get_tensor(name)
                if tensor.numel() == 0 or not bool(torch.isfinite(tensor).all()):
                    state = "empty" if tensor.numel() == 0 else "not finite"
                    raise OperationalError(f"the saved tensor {name} is {state}", where=str(file))
    if not names:
        raise OperationalError("the saved model holds no tensors", where=str(folder))
