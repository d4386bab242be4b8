"""Checkpoints that are whole, and which of them to go on from."""

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from rankfold import atomic
from rankfold.distributed import barrier

COMPLETE_MARKER = "COMPLETE"


class CompleteMarkerCallback(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint as complete once every rank has written its part."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        barrier()
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            atomic.write_text(folder / COMPLETE_MARKER, f"{state.global_step}\n")


def newest_complete_checkpoint(checkpoints: Path) -> Path | None:
    """Return the newest checkpoint to go on from; one without its marker is passed over, and said.

    One at which training ended, at its last step or early, is passed over too: the Trainer would train a
    step too many from it.
    """
    found = []
    for folder in checkpoints.glob("checkpoint-*"):
        number = folder.name.removeprefix("checkpoint-")
        if not number.isdecimal():
            continue
        if not (folder / COMPLETE_MARKER).is_file():
            print(f"passing over {folder.name}: it was not written completely", flush=True)
        elif not _ended(folder):
            found.append((int(number), folder))
    return max(found)[1] if found else None


def _ended(checkpoint: Path) -> bool:
    state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    ended: bool = state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]
    return ended
