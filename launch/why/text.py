"""A diagnosis as text."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from launch.tables import BOLD, DIM, RED, shortened, styled
from launch.why.diagnosis import Diagnosis

WIDTH = 100
LONGEST = 240
"""Characters shown of one line; --json has all of it."""
WELL = ("completed", "running", "waiting")


def diagnosis_lines(diagnosis: Diagnosis, *, color: bool) -> Iterator[str]:
    """Yield why a run is as it is; the last line is the command to type next."""
    where = [] if diagnosis.job is None else [diagnosis.job]
    if diagnosis.rank is not None:
        where.append(f"rank {diagnosis.rank}" + (f" on {diagnosis.node}" if diagnosis.node else ""))
    place = f" in {', '.join(where)}" if where and diagnosis.cause not in WELL else ""
    yield f"{styled(diagnosis.run_id, BOLD, color=color)}: {diagnosis.state}{place}"
    yield styled(diagnosis.title, BOLD if diagnosis.cause in WELL else RED, color=color)
    for text in (diagnosis.explanation, diagnosis.remedy):
        yield from (f"  {line}" for line in wrap(text, WIDTH))
    yield from _evidence(diagnosis, color)
    yield from diagnosis.consequences
    yield ""
    yield f"next: {styled(diagnosis.next, BOLD, color=color)}"


def _evidence(diagnosis: Diagnosis, color: bool) -> Iterator[str]:
    if diagnosis.evidence_from:
        yield ""
        yield styled(f"{diagnosis.evidence_from}:", DIM, color=color)
        yield from (f"  {shortened(line, LONGEST)}" for line in diagnosis.evidence)
    if diagnosis.batch:
        yield ""
        yield styled("batch output:", DIM, color=color)
        yield from (f"  {shortened(line, LONGEST)}" for line in diagnosis.batch)
    if diagnosis.slurm or len(diagnosis.attempts) > 1:
        yield ""
    if diagnosis.slurm:
        yield _slurm_words(diagnosis)
    if len(diagnosis.attempts) > 1:
        for attempt in diagnosis.attempts:
            error = f": {attempt.error.splitlines()[0]}" if attempt.error else ""
            yield f"attempt {attempt.number} on {attempt.nodes}: {attempt.cause or 'open'}{error}"


def _slurm_words(diagnosis: Diagnosis) -> str:
    told = diagnosis.slurm
    if told is None:
        return ""
    words = [f"Slurm says of job {diagnosis.slurm_id}: {told.state}", f"exit code {told.exit_code}"]
    if told.signal:
        words.append(f"signal {told.signal}")
    if told.reason and told.reason != "None":
        words.append(f"reason {told.reason}")
    if told.restarts:
        words.append(f"{told.restarts} restarts")
    if told.nodes:
        words.append(f"on {told.nodes}")
    return ", ".join(words)
