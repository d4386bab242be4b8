"""Prints the SHA-256 of every file that a data set full of ties becomes: the same on every machine.

Run by `test_determinism.py` with other interpreters, so it imports nothing of the tests. The data comes from
Python's own generator, because numpy's may change from release to release.
"""

import hashlib
from random import Random

import numpy as np
import numpy.typing as npt

from rankfold.data.examples import QuestionExample
from rankfold.nbest.candidates import rank_candidates
from rankfold.nbest.extract import extract_records
from rankfold.nbest.finalise import finalise
from rankfold.nbest.lines import nbest_lines, prediction_lines
from rankfold.nbest.merge import MergeState
from rankfold.nbest.predictions import predictions
from rankfold.nbest.records import Records, records_to_bytes
from rankfold.nbest.windows import WindowTable

NUM_EXAMPLES, WINDOWS_AN_EXAMPLE, MAX_LENGTH, NUM_UNITS = 200, 3, 50, 7
NUM_WINDOWS = NUM_EXAMPLES * WINDOWS_AN_EXAMPLE
CHARACTERS_A_TOKEN = 2
STRIDE = 20


def main() -> None:
    random = Random(7)
    lengths = np.array([random.randint(1, MAX_LENGTH) for _ in range(NUM_WINDOWS)])
    units = [_unit(random, lengths, first) for first in range(0, NUM_WINDOWS, NUM_WINDOWS // NUM_UNITS)]
    random.shuffle(units)
    state = MergeState.of(units)
    print("records", _sha256(records_to_bytes(state.records)))
    examples = [
        QuestionExample(f"question {place}", "?", "".join(random.choices('ab "\\中İ𝄞', k=200)), ())
        for place in range(NUM_EXAMPLES)
    ]
    ranking = rank_candidates(
        state, _window_table(lengths), examples=range(NUM_EXAMPLES), n_best_size=20, max_answer_length=8
    )
    for version_2_with_negative in (False, True):
        answers = finalise(
            ranking, version_2_with_negative=version_2_with_negative, null_score_diff_threshold=-8.0
        )
        print("nbest", _sha256(nbest_lines(answers, examples)))
        print("predictions", _sha256(prediction_lines(predictions(answers, examples).texts, examples)))


def _unit(random: Random, lengths: npt.NDArray[np.int64], first: int) -> Records:
    """The records of some windows: those of even units have few different logits, the others many."""
    windows = np.arange(first, min(first + NUM_WINDOWS // NUM_UNITS, NUM_WINDOWS))
    levels = 11 if first % 2 == 0 else 1 << 16
    starts, ends = (_logits(random, len(windows), levels) for _ in range(2))
    return extract_records(
        starts,
        ends,
        lengths=lengths[windows],
        first_token=MAX_LENGTH - lengths[windows],
        cls_index=np.zeros_like(windows),
        window_ids=windows,
        example_indices=windows // WINDOWS_AN_EXAMPLE,
        n_best_size=20,
        shard="",
    )


def _logits(random: Random, num_windows: int, levels: int) -> npt.NDArray[np.float32]:
    """From -4 to 4, both zeros among them."""
    steps = np.frombuffer(random.randbytes(num_windows * MAX_LENGTH * 4), "<u4") % levels
    logits = (steps.astype(np.float32) * np.float32(8 / levels) - np.float32(4)).reshape(num_windows, -1)
    logits[:, ::5] = np.float32(-0.0)
    logits[:, 1::5] = np.float32(0.0)
    return logits


def _window_table(lengths: npt.NDArray[np.int64]) -> WindowTable:
    windows = np.arange(NUM_WINDOWS)
    row_starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.arange(row_starts[-1]) - np.repeat(row_starts[:-1], lengths)
    first = tokens + np.repeat(windows % WINDOWS_AN_EXAMPLE * STRIDE, lengths)
    offsets = np.stack([first, first + 1], axis=1) * CHARACTERS_A_TOKEN
    offsets[tokens == 0] = -1
    return WindowTable(
        window_id=windows,
        example_index=windows // WINDOWS_AN_EXAMPLE,
        offsets=offsets.astype(np.int32),
        row_starts=row_starts,
        cls_index=np.zeros_like(windows),
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    main()
