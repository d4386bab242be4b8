"""A data set of the size and shape of SQuAD's development set, with logits as a trained model gives them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from rankfold.data.examples import QuestionExample
from rankfold.nbest.windows import WindowTable

MAX_LENGTH = 384
MEDIAN_LENGTH = 165
"""Near that of SQuAD's questions and paragraphs in word pieces; few windows are full."""
WORDS = (
    "of",
    "the",
    "city",
    "“old”",
    "river",
    "in",
    "1871",
    "Zürich",
    "a",
    '"quoted"',
    "people",
    "was",
    "中文",
)
"""Repeated at random: only their lengths matter, and that some need escaping and some are not ASCII."""

Logits = npt.NDArray[np.float32]
Offsets = Sequence[tuple[int, int] | None]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Questions, their windows in both forms, and logits (num_windows, MAX_LENGTH) padded on the right.

    What the common scripts read of an example and a window is in `contexts` and `offset_mappings`.
    """

    examples: list[QuestionExample]
    windows: WindowTable
    windows_of_example: list[list[int]]
    contexts: Sequence[str]
    offset_mappings: Sequence[Offsets]
    start_logits: Logits
    end_logits: Logits

    @property
    def cls_indexes(self) -> list[int]:
        indexes: list[int] = self.windows.cls_index.tolist()
        return indexes


def make_data_set(num_examples: int, num_windows: int, *, bfloat16: bool, seed: int = 0) -> DataSet:
    """`num_windows` over the examples, nearly all of which have one; `bfloat16` rounds logits to its grid."""
    random = np.random.default_rng(seed)
    extra = random.choice(num_examples, num_windows - num_examples, replace=False)
    example_index = np.sort(np.concatenate([np.arange(num_examples), extra]))
    lengths = np.clip(random.lognormal(np.log(MEDIAN_LENGTH), 0.35, num_windows), 48, MAX_LENGTH).astype(
        np.int64
    )
    question_lengths = random.integers(8, 24, num_windows)
    row_starts = np.concatenate([[0], np.cumsum(lengths)])
    words = random.integers(len(WORDS), size=(num_examples, MAX_LENGTH))
    offsets = _offsets(words[example_index], lengths, question_lengths)
    num_words = np.zeros(num_examples, np.int64)
    np.maximum.at(num_words, example_index, lengths)
    start_logits, end_logits = _logits(random, lengths, question_lengths, bfloat16)
    contexts = [_context(row[:count]) for row, count in zip(words, num_words, strict=True)]
    return DataSet(
        examples=[
            QuestionExample(f"{place:024x}", "?", context, ()) for place, context in enumerate(contexts)
        ],
        windows=WindowTable(
            np.arange(num_windows), example_index, offsets, row_starts, np.zeros(num_windows, np.int64)
        ),
        windows_of_example=_windows_of_example(example_index, num_examples),
        contexts=contexts,
        offset_mappings=_mappings(offsets, row_starts),
        start_logits=start_logits,
        end_logits=end_logits,
    )


def in_datasets(data: DataSet) -> DataSet:
    """The same, with contexts and offsets in a `datasets.Dataset` each, as the common scripts hold them.

    An item is read from Arrow where it is asked for. The other columns of those scripts, which are read
    along with it, are left out.
    """
    import datasets  # only the benchmark needs it, and it takes seconds

    examples = datasets.Dataset.from_dict({"context": data.contexts})
    features = datasets.Dataset.from_dict({"offset_mapping": data.offset_mappings})
    return replace(data, contexts=examples["context"], offset_mappings=_RowByRow(features, "offset_mapping"))


@dataclass(frozen=True)
class _RowByRow(Sequence[Any]):
    """A column of which every item is taken from its row, `dataset[row][name]`."""

    dataset: Any
    name: str

    def __getitem__(self, row: Any) -> Any:
        return self.dataset[row][self.name]

    def __len__(self) -> int:
        return len(self.dataset)


def _context(words: npt.NDArray[np.int64]) -> str:
    return " ".join(WORDS[word] for word in words)


def _offsets(
    words: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], question_lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    """(num_tokens, 2): CLS, question and separators, then one token a word, then a separator."""
    sizes = np.array([len(word) for word in WORDS])[words]
    firsts = np.cumsum(sizes + 1, axis=1) - sizes - 1
    pairs = []
    for row, (length, question) in enumerate(zip(lengths, question_lengths, strict=True)):
        window = np.full((length, 2), -1, np.int32)
        num_words = length - question - 1
        window[question:-1, 0] = firsts[row, :num_words]
        window[question:-1, 1] = firsts[row, :num_words] + sizes[row, :num_words]
        pairs.append(window)
    return np.concatenate(pairs)


def _logits(
    random: np.random.Generator,
    lengths: npt.NDArray[np.int64],
    question_lengths: npt.NDArray[np.int64],
    bfloat16: bool,
) -> tuple[Logits, Logits]:
    """Low everywhere but at a few answers of one to four tokens, each worse than the one before it."""
    shape = len(lengths), MAX_LENGTH
    starts, ends = (random.normal(-7, 1.5, shape).astype(np.float32) for _ in range(2))
    rows = np.arange(len(lengths))
    for height in (13, 9, 7, 6, 5, 4):
        first = question_lengths + (random.random(len(rows)) * (lengths - question_lengths - 5)).astype(int)
        starts[rows, first] += random.normal(height, 1.5, len(rows)).astype(np.float32)
        ends[rows, first + random.integers(0, 4, len(rows))] += height
    if bfloat16:
        starts, ends = ((side.view(np.uint32) & 0xFFFF0000).view(np.float32) for side in (starts, ends))
    return starts, ends


def _windows_of_example(example_index: npt.NDArray[np.int64], num_examples: int) -> list[list[int]]:
    windows: list[list[int]] = [[] for _ in range(num_examples)]
    for window, example in enumerate(example_index.tolist()):
        windows[example].append(window)
    return windows


def _mappings(offsets: npt.NDArray[np.int32], row_starts: npt.NDArray[np.int64]) -> list[Offsets]:
    """As a tokenizer's fast offsets, with None where the common scripts put it."""
    pairs = [(start, end) if start >= 0 else None for start, end in offsets.tolist()]
    return [pairs[first:stop] for first, stop in pairwise(row_starts.tolist())]
