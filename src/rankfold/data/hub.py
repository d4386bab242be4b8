"""Data sets on the Hugging Face hub, or in a local folder laid out like one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankfold.data.class_labels import with_class_names
from rankfold.data.examples import Answer, QuestionExample
from rankfold.data.jsonl import field, shorten
from rankfold.data.result import ReadResult
from rankfold.data.squad import Question, check_answers
from rankfold.errors import DataError
from rankfold.hub_cache import data_repository, find_snapshot, hub_cache, not_fetched
from rankfold.recipe.schema import HUB_PREFIX, Source


def read_hub(source: Source, split: str) -> ReadResult[QuestionExample]:
    """Read one split of a data set with SQuAD's columns: id, question, context, answers.

    Raises:
        DataError: The format is not `squad`, the data set has not been fetched, has no such split or
            other columns.
    """
    if source.format != "squad":
        raise DataError(
            f"the format {source.format!r} cannot be read from the hub; only 'squad' can",
            where=source.path,
            remedy="Download the data set and name its file in `path`.",
        )
    return check_answers(_questions(source.path, split), source.path)


def _questions(path: str, split: str) -> Iterator[Question]:
    for where, row in iterate_rows(path, split):
        yield Question(
            field(row, "id", str, where),
            where,
            field(row, "question", str, where),
            field(row, "context", str, where),
            _answers(field(row, "answers", dict, where), where),
        )


def iterate_rows(path: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each row of a split is, and the row, its class labels named; errors as `read_hub`."""
    rows = _load(path, split)
    for index, row in enumerate(rows):
        yield f"{path}, split {split}, row {index}", with_class_names(row, rows.features)


def _load(path: str, split: str) -> Any:
    # Slow to import, and needed by those recipes only that name the hub.
    import datasets

    try:
        return datasets.load_dataset(str(_folder(path)), split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        # What `datasets` says of a broken file is in what made it give up.
        reason = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else None
        if "Unknown split" in str(error):
            raise DataError(
                f"the split {split!r} cannot be loaded: {error}",
                where=path,
                remedy="Set `train_split` and `test_split` to splits that the data set has.",
            ) from error
        raise DataError(
            f"the data set cannot be read: {reason or error}",
            where=path,
            remedy="Name a data set in a format that `datasets` loads, or a local file in `path`.",
        ) from error


def _folder(path: str) -> Path:
    """The local folder, or the folder of the snapshot in the cache; nothing is downloaded."""
    folder = Path(path.removeprefix(HUB_PREFIX)).expanduser()
    if folder.is_dir():
        return folder
    repository = data_repository(path)
    if repository is None:
        raise DataError(
            "this is neither a folder nor the id of a data set on the hub",
            where=path,
            remedy="Write hub:NAME or hub:NAME@REVISION, with the name that the hub shows.",
        )
    snapshot = find_snapshot(repository, hub_cache())
    if snapshot is None:
        raise not_fetched(repository, hub_cache())
    return snapshot.folder


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
