import subprocess
import sys
from pathlib import Path

from rankfold.lifeline import Lifeline

SILENT = """
import sys, threading
from rankfold.lifeline import Lifeline

def waits_for_ever():
    threading.Event().wait()

with open(sys.argv[1], "a") as stacks:
    lifeline = Lifeline(0.2, stacks)
    threading.Thread(target=waits_for_ever, daemon=True).start()
    for _ in range(100):
        lifeline.beat()
    waits_for_ever()
"""

DONE = """
import sys, time
from rankfold.lifeline import Lifeline

with open(sys.argv[1], "a") as stacks:
    lifeline = Lifeline(0.05, stacks)
    lifeline.beat()
    lifeline.end()
    time.sleep(0.2)
"""


def test_a_process_that_does_not_get_on_writes_every_thread_s_stack_and_ends(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    assert subprocess.run([sys.executable, "-c", SILENT, str(log)], timeout=60).returncode == 1
    written = log.read_text()
    assert written.startswith("Timeout (0:00:00.200000)!")
    assert written.count("in waits_for_ever") == 2


def test_after_its_end_nothing_is_awaited(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    assert subprocess.run([sys.executable, "-c", DONE, str(log)], timeout=60).returncode == 0
    assert log.read_text() == ""


def test_the_first_reason_to_stop_stays() -> None:
    lifeline = Lifeline()
    assert lifeline.stop_reason is None
    lifeline.ask_to_stop("time limit")
    lifeline.ask_to_stop("preemption or requeue")
    assert lifeline.stop_reason == "time limit"


def test_without_a_timeout_it_only_passes_on_the_wish_to_stop() -> None:
    lifeline = Lifeline()
    lifeline.beat()
    lifeline.end()
