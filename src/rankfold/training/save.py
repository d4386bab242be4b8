"""Saving what was trained so that it is whole, or not there."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import Module
from transformers import PreTrainedTokenizerBase, Trainer
from transformers.core_model_loading import revert_weight_conversion

from rankfold import atomic
from rankfold.distributed import all_gather_bytes, barrier
from rankfold.errors import OperationalError
from rankfold.modeling.virtual_tokens import ENCODER_FILE
from rankfold.ranks import ranks
from rankfold.training.checkpoints import nothing_half_written

_REMEDY = (
    "The model is still in the newest checkpoint: resume the run. If it happens again, report it with the "
    "rank's log."
)


@dataclass(frozen=True)
class _Weight:
    """A tensor in memory and the names it may be saved under: several where weights are tied."""

    names: tuple[str, ...]
    tensor: Tensor


def save_model(trainer: Trainer, tokenizer: PreTrainedTokenizerBase, target: Path) -> None:
    """Write the model or adapter, and read it back; every rank calls this, since ZeRO-3 gathers weights.

    Raises:
        OperationalError: A saved tensor is missing, empty, too many, not finite or not the one in memory. All
            ranks raise it, and `target` is as it was. Also: another rank could not write.
        OSError: There is no room, as `nothing_half_written` says.
    """
    partial = target.with_name(f".{target.name}.partial")
    if ranks().is_main:
        shutil.rmtree(partial, ignore_errors=True)
    barrier()
    # Files are written after weights are gathered; what fails while they are must not wait for the others.
    with _raised_on_every_rank(OSError), nothing_half_written(partial):
        trainer.save_model(str(partial))
    check_saved(partial, trainer.model)
    with _raised_on_every_rank(Exception):
        if ranks().is_main:
            _put_in_place(partial, tokenizer, target)


def _put_in_place(partial: Path, tokenizer: PreTrainedTokenizerBase, target: Path) -> None:
    with nothing_half_written(partial):
        # A pickle of what recipe.yaml says in words; nobody should have to unpickle a model's folder.
        (partial / "training_args.bin").unlink(missing_ok=True)
        # Only a checkpoint goes on from it.
        (partial / ENCODER_FILE).unlink(missing_ok=True)
        tokenizer.save_pretrained(partial)
        atomic.flush(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)


@contextmanager
def _raised_on_every_rank(kind: type[Exception]) -> Iterator[None]:
    """Have every rank fail where one meets such an error: the others would wait for it for ever."""
    met: Exception | None = None
    try:
        yield
    except kind as error:
        met = error
    said = all_gather_bytes([] if met is None else [f"{type(met).__name__}: {met}".encode()])
    if met is not None:
        raise met
    for rank, texts in enumerate(said):
        for text in texts:
            raise OperationalError(f"rank {rank} could not save the model: {text.decode()}", remedy=_REMEDY)


def check_saved(folder: Path, model: Module) -> None:
    """Compare every tensor in a folder with the one in memory, bit by bit; every rank calls this.

    One tensor at a time is gathered and read, so the model is never held a second time.

    Raises:
        OperationalError: The first difference found, on every rank.
    """
    found = b""
    if ranks().is_main:
        mistake = _first_mistake(folder, model)
        found = (mistake or "").encode()
    else:
        _take_part(model)
    mistake = all_gather_bytes([found])[0][0].decode()
    if mistake:
        raise OperationalError(f"the saved model is not whole: {mistake}", where=str(folder), remedy=_REMEDY)


def _first_mistake(folder: Path, model: Module) -> str | None:
    """Say what is wrong with a saved model; goes through all weights, as the other ranks do."""
    try:
        files = _files_of_tensors(folder)
    except SafetensorError as error:
        files, mistakes = {}, [f"a file cannot be read ({error})"]
    else:
        mistakes = [] if files else ["it holds no tensors"]
    expected: set[str] = set()
    for weight in _weights(model):
        with _gathered(weight.tensor):
            forms = [_as_saved(model, name, weight.tensor.detach()) for name in weight.names]
            # Nothing may be raised while the other ranks wait for the next weight.
            if not mistakes:
                mistakes += _mistakes(forms, files)
        expected.update(*forms)
    mistakes += [
        f"{files[name].name} holds {name}, which the model has not" for name in files.keys() - expected
    ]
    return mistakes[0] if mistakes else None


def _take_part(model: Module) -> None:
    """Do a rank's share of gathering each weight, in the same order."""
    for weight in _weights(model):
        with _gathered(weight.tensor):
            pass


def _files_of_tensors(folder: Path) -> dict[str, Path]:
    """The file that holds each tensor, by the tensor's name."""
    found: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            found |= dict.fromkeys(tensors.keys(), file)
    return found


def _as_saved(model: Module, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """The tensors that a weight is in a file: transformers fuses experts in memory and saves each apart."""
    # An adapter has the base model's attributes too, but is saved as it is in memory.
    if isinstance(model, PeftModel) or not getattr(model, "_weight_conversions", None):
        return {name: tensor}
    saved: dict[str, Tensor] = revert_weight_conversion(model, {name: tensor})
    return saved


def _mistakes(forms: Sequence[Mapping[str, Tensor]], files: Mapping[str, Path]) -> Iterator[str]:
    """Compare a weight with what was saved of it, under one of its names or several."""
    saved = [form for form in forms if form.keys() <= files.keys()]
    if not saved:
        yield f"{next(name for name in forms[0] if name not in files)} is missing"
    for name, tensor in (pair for form in saved for pair in form.items()):
        with safe_open(files[name], framework="pt") as tensors:
            state = _difference(tensors.get_tensor(name), tensor)
        if state:
            yield f"{name} in {files[name].name} {state}"


def _difference(saved: Tensor, in_memory: Tensor) -> str | None:
    if saved.shape != in_memory.shape:
        if saved.numel() == 0:
            return "is empty"
        return f"is {list(saved.shape)} instead of {list(in_memory.shape)}"
    if saved.dtype != in_memory.dtype:
        return f"is {saved.dtype} instead of {in_memory.dtype}"
    if saved.is_floating_point() and not bool(torch.isfinite(saved).all()):
        return "is not finite"
    # The bits, so that -0.0 is not 0.0.
    same = torch.equal(_bits(saved), _bits(in_memory.cpu()))
    return None if same else "differs from the one in memory"


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)


def _weights(model: Module) -> Iterator[_Weight]:
    """What is to be saved, in the same order on every rank, each tensor once."""
    # Parameters as they are: a copy of one that ZeRO-3 has partitioned would be empty.
    state: dict[str, Any] = model.state_dict(keep_vars=True)
    if isinstance(model, PeftModel):
        state = get_peft_model_state_dict(model, state_dict=state)
    names: dict[int, list[str]] = {}
    for name, tensor in state.items():
        names.setdefault(_identity(tensor), []).append(name)
    tensors = {_identity(tensor): tensor for tensor in state.values()}
    for identity, tied in names.items():
        yield _Weight(tuple(tied), tensors[identity])


def _identity(tensor: Tensor) -> int:
    """The same for tied weights alone; the storage of a partitioned weight is empty and says nothing."""
    return int(getattr(tensor, "ds_id", id(tensor)))


def _gathered(tensor: Tensor) -> AbstractContextManager[Any]:
    """The whole of a weight that ZeRO-3 has partitioned, on every rank, for as long as this is open."""
    if not hasattr(tensor, "ds_id"):
        return nullcontext()
    import deepspeed

    gathered: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters([tensor])
    return gathered
