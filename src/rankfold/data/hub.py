"""Data sets on the Hugging Face hub, or in a local folder laid out like one."""

from collections.abc import Iterator
from typing import Any

from rankfold.data.examples import Answer, QuestionExample
from rankfold.data.jsonl import field, shorten
from rankfold.data.result import ReadResult
from rankfold.data.squad import Question, check_answers
from rankfold.errors import DataError
from rankfold.recipe.schema import HUB_PREFIX, Source


def read_hub(source: Source, split: str) -> ReadResult[QuestionExample]:
    """Read one split of a data set with SQuAD's columns: id, question, context, answers.

    Raises:
        DataError: The format is not `squad`, the data set or split is not there or cannot be reached
            or its columns are others.
    """
    if source.format != "squad":
        raise DataError(
            f"the format {source.format!r} cannot be read from the hub; only 'squad' can",
            where=source.path,
            remedy="Download the data set and name its file in `path`.",
        )
    return check_answers(_questions(source.path, split), source.path)


def _questions(path: str, split: str) -> Iterator[Question]:
    for index, row in enumerate(_load(path, split)):
        where = f"{path}, split {split}, row {index}"
        yield Question(
            field(row, "id", str, where),
            where,
            field(row, "question", str, where),
            field(row, "context", str, where),
            _answers(field(row, "answers", dict, where), where),
        )


def _load(path: str, split: str) -> Any:
    # Slow to import, and needed by those recipes only that name the hub.
    import datasets

    try:
        return datasets.load_dataset(path.removeprefix(HUB_PREFIX), split=split)
    except OSError as error:
        raise DataError(
            f"the data set cannot be found or reached: {error}",
            where=path,
            remedy="Download it where there is a network, or name a local file in `path`.",
        ) from error
    except ValueError as error:
        raise DataError(
            f"the split {split!r} cannot be loaded: {error}",
            where=path,
            remedy="Set `train_split` and `test_split` to splits that the data set has.",
        ) from error


def _answers(answers: dict[str, Any], where: str) -> tuple[Answer, ...]:
    place = f"{where}, answers"
    texts = field(answers, "text", list, place)
    starts = field(answers, "answer_start", list, place)
    if len(texts) != len(starts):
        raise DataError(
            f"{len(texts)} texts, but {len(starts)} offsets; found {shorten(answers)}",
            where=place,
            remedy="Give every answer a text and an `answer_start`.",
        )
    pairs = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    return tuple(
        Answer(field(pair, "text", str, place), field(pair, "answer_start", int, place)) for pair in pairs
    )
