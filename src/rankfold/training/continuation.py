"""What transformers' Trainer forgets at a checkpoint, and a run that goes on from one has to know."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from transformers import Trainer

from rankfold import atomic
from rankfold.training.throughput import Work


@dataclass(frozen=True)
class Continuation:
    """One rank's sums at a checkpoint.

    Attributes:
        loss_since_log: Sum of this rank's losses over the steps since the last log.
        loss_until_log: Sum over the steps before it, averaged over ranks.
        logged_step: Step of the last log.
        seconds: Time that it took to come here, of all attempts that led to the checkpoint.
        work: What the steps of these attempts worked on, all ranks together.
        seconds_of_steps: Their time alone, without evaluations and checkpoints.
    """

    loss_since_log: float = 0.0
    loss_until_log: float = 0.0
    logged_step: int = 0
    seconds: float = 0.0
    work: Work = field(default_factory=Work)
    seconds_of_steps: float = 0.0

    @classmethod
    def of(cls, trainer: Trainer, *, started: float, earlier: "Continuation") -> "Continuation":
        """What a trainer knows now; `started` is when it began, in seconds of time.monotonic()."""
        return cls(
            float(trainer._tr_loss),
            trainer._total_loss_scalar,
            trainer._globalstep_last_logged,
            earlier.seconds + time.monotonic() - started,
            trainer.throughput.done,
            trainer.throughput.seconds,
        )

    def restore(self, trainer: Trainer) -> None:
        """Have a trainer that took up a checkpoint know it again."""
        trainer._tr_loss = torch.tensor(self.loss_since_log, device=trainer.args.device)
        trainer._total_loss_scalar = self.loss_until_log
        trainer._globalstep_last_logged = self.logged_step
        # The mean over a run is one over all of its steps, whichever attempt made them.
        trainer._initial_global_step = 0
        trainer.throughput.take_up(self.work, trainer.state.global_step, self.seconds_of_steps)

    def write(self, checkpoint: Path, rank: int) -> None:
        atomic.write_json(_file(checkpoint, rank), asdict(self))

    @classmethod
    def read(cls, checkpoint: Path, rank: int) -> "Continuation":
        values = json.loads(_file(checkpoint, rank).read_text(encoding="utf-8"))
        return cls(**values | {"work": Work(**values.get("work", {}))})


def _file(checkpoint: Path, rank: int) -> Path:
    return checkpoint / f"continuation_{rank}.json"
