"""Random data sets, random ways to shard them, and the real pipeline run over both."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from plain_nbest import Answer

from rankfold.data.examples import QuestionExample
from rankfold.nbest.candidates import rank_candidates
from rankfold.nbest.extract import Logits, extract_records
from rankfold.nbest.finalise import Answers, finalise
from rankfold.nbest.lines import nbest_lines, prediction_lines
from rankfold.nbest.merge import MergeState, merge
from rankfold.nbest.predictions import predictions
from rankfold.nbest.records import Records
from rankfold.nbest.windows import WindowTable

from .oracle import Case, Window

TIED = (-2.0, -1.5, -1.0, -0.0, 0.0, 0.5, 1.0)
"""Few values, exact in every dtype, both zeros among them."""


@dataclass(frozen=True)
class Sharding:
    """How a data set's windows reach the merge.

    Attributes:
        arrivals: Rows of the windows of each work unit, in order of arrival; some come repeatedly.
        padding_side: Where batches are padded.
        half: Whether logits arrive as float16.
        seed: Decides on the junk in the padding and on the tree of merges.
    """

    arrivals: tuple[tuple[int, ...], ...]
    padding_side: str
    half: bool
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> tuple[Case, Sharding]:
    random = Random(draw(st.integers(0, 2**32)))
    tied = draw(st.booleans())
    num_examples = draw(st.integers(1, 4))
    examples = [example for example in range(num_examples) for _ in range(draw(st.integers(0, 8)))]
    cls, limited = draw(st.sampled_from(("first", "last", "absent"))), draw(st.booleans())
    case = Case(
        contexts=tuple("".join(random.choices('ab "\\\n\x01中İ𝄞', k=40)) for _ in range(num_examples)),
        windows=tuple(
            _window(random, id=5 + 3 * row, example=example, tied=tied, cls=cls, limited=limited)
            for row, example in enumerate(examples)
        ),
        n_best_size=draw(st.sampled_from((1, 2, 3, 5, 20))),
        max_answer_length=draw(st.integers(1, 8)),
        version_2_with_negative=draw(st.booleans()),
        null_score_diff_threshold=draw(st.sampled_from((-1.0, 0.0, 0.5, 3.0))),
    )
    sharding = Sharding(
        arrivals=_arrivals(random, len(examples), draw(st.integers(1, 64))),
        padding_side=draw(st.sampled_from(("left", "right"))),
        half=tied and draw(st.booleans()),
        seed=random.getrandbits(32),
    )
    return case, sharding


def _window(random: Random, *, id: int, example: int, tied: bool, cls: str, limited: bool) -> Window:
    question, context = random.randint(0, 4), random.randint(0 if cls != "absent" else 1, 12)
    first = random.randint(0, 10)
    offsets: list[tuple[int, int] | None] = [None] * question
    for _ in range(context):
        end = first + random.choice((0, 1, 2, 2))
        offsets.append((first, end))
        first = end
    if cls != "absent":
        offsets.insert(len(offsets) if cls == "last" else 0, None)
    length = len(offsets)
    return Window(
        id=id,
        example=example,
        start_logits=_logits(random, length, tied),
        end_logits=_logits(random, length, tied),
        offsets=tuple(offsets),
        cls_index=length - 1 if cls == "last" else 0,
        max_context=tuple(random.random() < 0.8 for _ in range(length)) if limited else None,
    )


def _logits(random: Random, length: int, tied: bool) -> tuple[np.float32, ...]:
    if tied:
        return tuple(np.float32(value) for value in random.choices(TIED, k=length))
    exact = np.array([random.gauss(0, 3) for _ in range(length)], dtype=np.float32)
    bfloat16 = (exact.view(np.uint32) & 0xFFFF0000).view(np.float32)
    return tuple(bfloat16)


def _arrivals(random: Random, num_windows: int, num_units: int) -> tuple[tuple[int, ...], ...]:
    """Cut the windows into units, repeat some units, shuffle the rest and the inside of each."""
    cuts = sorted(random.randint(0, num_windows) for _ in range(num_units - 1))
    bounds = [0, *cuts, num_windows]
    units = [list(range(start, stop)) for start, stop in pairwise(bounds)]
    units += random.choices(units, k=random.randint(0, 3))
    random.shuffle(units)
    for unit in units:
        random.shuffle(unit)
    return tuple(map(tuple, units))


def real_answers(case: Case, sharding: Sharding) -> list[Answer]:
    """Extract every unit, merge by a random tree, rank, finalise."""
    random = Random(sharding.seed)
    states = [MergeState.of([extract(case, rows, sharding, random)]) for rows in sharding.arrivals]
    while len(states) > 1:
        a, b = (states.pop(random.randrange(len(states))) for _ in range(2))
        states.append(merge(a, b))
    return finalised(case, states[0])


def extract(case: Case, rows: tuple[int, ...], sharding: Sharding, random: Random) -> Records:
    """Pad the windows to a batch, with junk that must not matter, and keep their records."""
    windows = [case.windows[row] for row in rows]
    lengths = np.array([len(window.offsets) for window in windows], dtype=np.int64)
    max_length = int(lengths.max(initial=1)) + random.randint(0, 3)
    on_left = sharding.padding_side == "left"
    first_token = max_length - lengths if on_left else np.zeros_like(lengths)
    junk = random.choice((np.nan, np.inf, 1e4))
    blank = np.full((len(rows), max_length), junk, dtype=np.float32)
    starts: Logits = blank.astype(np.float16) if sharding.half else blank
    ends = starts.copy()
    for row, window in enumerate(windows):
        real = slice(first_token[row], first_token[row] + lengths[row])
        starts[row, real], ends[row, real] = window.start_logits, window.end_logits
    return extract_records(
        starts,
        ends,
        lengths=lengths,
        first_token=first_token,
        cls_index=_integers(window.cls_index for window in windows),
        window_ids=_integers(window.id for window in windows),
        example_indices=_integers(window.example for window in windows),
        n_best_size=case.n_best_size,
        shard="shard-0",
    )


def finalised(case: Case, state: MergeState) -> list[Answer]:
    """The answers of a state that holds every window of the case, read back from what would be written."""
    examples = range(len(case.contexts))
    answers, questions = answered(case, state, examples), questions_of(case, examples)
    found = predictions(answers, questions)
    columns: dict[str, list[Any]] = {
        "text": found.texts,
        "start": found.starts,
        "end": found.ends,
        "probability": found.probabilities,
        "null_score": [None if np.isnan(score) else score for score in answers.null_scores.tolist()],
        "null_score_difference": found.null_score_differences,
    }
    lines = nbest_lines(answers, questions).decode().split("\n")[:-1]
    return [
        {**json.loads(line), **{name: column[row] for name, column in columns.items()}}
        for row, line in enumerate(lines)
    ]


def written(case: Case, state: MergeState, examples: range) -> tuple[bytes, bytes]:
    """The lines of both files for a range of examples, from a state that holds more."""
    answers, questions = answered(case, state.of_examples(examples), examples), questions_of(case, examples)
    return prediction_lines(predictions(answers, questions).texts, questions), nbest_lines(answers, questions)


def answered(case: Case, state: MergeState, examples: range) -> Answers:
    """Rank and finalise a range of examples; the state holds exactly their windows."""
    ranking = rank_candidates(
        state,
        window_table(case, examples),
        examples=examples,
        n_best_size=case.n_best_size,
        max_answer_length=case.max_answer_length,
    )
    return finalise(
        ranking,
        version_2_with_negative=case.version_2_with_negative,
        null_score_diff_threshold=case.null_score_diff_threshold,
    )


def questions_of(case: Case, examples: range) -> list[QuestionExample]:
    return [QuestionExample(f"example-{place}", "?", case.contexts[place], ()) for place in examples]


def window_table(case: Case, examples: range) -> WindowTable:
    windows = [window for window in case.windows if window.example in examples]
    tokens = [offset or (-1, -1) for window in windows for offset in window.offsets]
    limited = [allowed for window in windows for allowed in window.max_context or ()]
    return WindowTable(
        window_id=_integers(window.id for window in windows),
        example_index=_integers(window.example for window in windows),
        offsets=np.array(tokens, dtype=np.int32).reshape(-1, 2),
        row_starts=np.cumsum([0, *(len(window.offsets) for window in windows)], dtype=np.int64),
        cls_index=_integers(window.cls_index for window in windows),
        max_context=np.array(limited, dtype=np.bool_) if limited else None,
    )


def _integers(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)
