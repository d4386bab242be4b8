"""What test_validation.py has every rank do."""

import json
import os
from collections.abc import Sequence

from unit.training.strategies import _forget_the_run
from unit.training.validated import trained

from rankfold.ranks import ranks
from rankfold.run_folder import RunFolder


def train(runs: Sequence[RunFolder]) -> None:
    """Train each run on all ranks, every rank leaving its own summary."""
    # Accelerate takes a group it has not made for several machines' otherwise.
    os.environ["LOCAL_WORLD_SIZE"] = os.environ["WORLD_SIZE"]
    here = ranks()
    for run in runs:
        summary = trained(run, world_size=here.world_size)
        (run.root / f"rank{here.rank}.json").write_text(json.dumps(summary))
        _forget_the_run()
