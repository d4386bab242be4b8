"""The process that keeps the ranks of one local job: all of them end as soon as one fails."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from submitit.local.local import Controller

from rankfold import atomic


class RankController(Controller):  # type: ignore[misc]
    """submitit's controller waits for every rank; here one that fails, or the driver's end, is the end."""

    def __init__(self, folder: Path, exit_codes: Path) -> None:
        super().__init__(folder)
        self.exit_codes = exit_codes
        self.driver = os.getppid()

    def wait(self, freq: int = 24) -> Sequence[int | None]:
        """Wait until all ranks ended well or one did not, and write down how; then submitit ends the rest.

        Returns:
            Each rank's exit code, negative for a signal, None where it still runs.
        """
        while os.getppid() == self.driver:
            codes = [task.poll() for task in self.tasks]
            if any(codes) or None not in codes:
                break
            time.sleep(1 / freq)
        codes = [task.poll() for task in self.tasks]
        atomic.write_json(self.exit_codes, codes)
        return codes


if __name__ == "__main__":
    RankController(Path(sys.argv[1]), Path(sys.argv[2])).run(max_retry=1)
