"""prepare: read, clean, divide and tokenise the data, once, for every later stage."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from rankfold import atomic
from rankfold.data.cleaning import UNTRAINED_LABEL, labels_of, refuse_losses
from rankfold.data.counts import Counts, summarise, summary_lines, total
from rankfold.data.examples import Example
from rankfold.data.feature_writer import write_features
from rankfold.data.features import Features
from rankfold.data.mixing import MAIN
from rankfold.data.packing import pack
from rankfold.data.pieces import Tokenise, Tokeniser, num_processes
from rankfold.data.sides import Splits, TrainingSet
from rankfold.data.splits import read_splits
from rankfold.data.store import example_lines, write_examples
from rankfold.data.streaming import stream_splits
from rankfold.errors import DataError
from rankfold.fingerprints import folder_sha256
from rankfold.lock import check_unchanged
from rankfold.modeling.load import load_tokenizer
from rankfold.modeling.sources import model_folder
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import PreparedFolder, RunFolder
from rankfold.stages.inputs import recipe_and_task
from rankfold.stages.tokenising import Tokenising
from rankfold.tasks.base import Task

HELD_OUT = ("validation", "test")


@dataclass
class Packed:
    """Features as they are written, packed where the recipe says so: as a whole or, streaming, by pieces."""

    pieces: Iterable[Features]
    recipe: Recipe
    _counts: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[Features]:
        if not self.recipe.train.packing:
            yield from self.pieces
            return
        for features in self.pieces if self.recipe.data.streaming else _joined(self.pieces):
            rows = pack(features, self.recipe.data.max_length)
            self._counts.update(examples=len(features), rows=len(rows), tokens=rows.num_tokens)
            yield rows

    @property
    def summary(self) -> dict[str, Any]:
        """What packing came to, once all is written; empty where nothing was packed."""
        num_rows = self._counts["rows"]
        if not num_rows:
            return {}
        return {
            "packing": {
                "num_examples": self._counts["examples"],
                "num_rows": num_rows,
                "fill_share": self._counts["tokens"] / (num_rows * self.recipe.data.max_length),
            }
        }


@dataclass(frozen=True)
class Training:
    """What was made of the training sets: the counts of each, the rows of all, and how they were packed."""

    counts: Mapping[str, Counts]
    num_rows: int
    packing: Mapping[str, Any]


@dataclass(frozen=True)
class Preparation:
    """One run's recipe, task and tokenizer, and the folder that everything is written to."""

    recipe: Recipe
    task: Task[Any]
    tokenizer: PreTrainedTokenizerBase
    model: Path
    folder: PreparedFolder

    def read(self, spool: Path) -> Splits:
        """Read the data; where it is streamed, training examples are laid by in `spool`."""
        if self.recipe.data.streaming:
            return stream_splits(self.recipe, self.task.example_of, self.task.example_type, spool)
        return read_splits(self.recipe, self.task.example_of)

    def training(self, splits: Splits) -> Training:
        """Tokenise and write the training sets, one after the other; DataError where no row comes of them."""
        counts = {one.name: Counts.of(splits, one.name) for one in splits.train_sets}
        tokenising = Tokenising(self.recipe, splits.labels, self.model)
        untrained = set(splits.labels)

        def alone(examples: Sequence[Example]) -> Features:
            return self.task.training_features(examples, self.tokenizer, self.recipe, splits.labels)

        with (
            Tokeniser(tokenising.load, alone, num_processes(self.recipe)) as tokeniser,
            atomic.file(self.folder.examples("train")) as file,
        ):
            pieces = self._pieces(splits.train_sets, tokeniser, counts, file, untrained)
            packed = Packed(pieces, self.recipe)
            num_rows = write_features(self.folder.features("train"), packed)
        if not num_rows:
            raise _nothing_to_train_on(total(counts))
        counts[MAIN].repaired.add(UNTRAINED_LABEL, number=len(untrained))
        return Training(counts, num_rows, packed.summary)

    def _pieces(
        self,
        sets: Sequence[TrainingSet],
        tokeniser: Tokeniser,
        counts: Mapping[str, Counts],
        file: BinaryIO,
        untrained: set[str],
    ) -> Iterator[Features]:
        """Yield the features of all pieces; what they hold is counted, and no longer `untrained`."""
        for one in sets:
            for examples, features in tokeniser.pieces_of(one.examples):
                file.writelines(example_lines(examples, self.task.example_type))
                counts[one.name].add(examples, features, named_by=self._named_by(tokeniser.alone))
                untrained.difference_update(*map(labels_of, examples))
                yield features

    def held_out(self, side: str, splits: Splits) -> Counts:
        """Tokenise and write what is tested or validated on; return its counts."""
        examples: Sequence[Example] = getattr(splits, side)

        def features_of(examples: Sequence[Example]) -> Features:
            return self.task.evaluation_features(examples, self.tokenizer, self.recipe, splits.labels)

        features = features_of(examples)
        if not len(features):
            raise DataError(
                f"not one of {len(examples):,} {side} examples gives a row, so there is nothing to score",
                where="data",
                remedy="Longer texts are needed; check which columns they come from (`columns`).",
            )
        write_examples(self.folder.examples(side), examples, self.task.example_type)
        Dataset.from_dict(features.columns).save_to_disk(self.folder.features(side))
        counts = Counts.of(splits, side)
        counts.add(examples, features, named_by=self._named_by(features_of))
        return counts

    def _named_by(self, features_of: Tokenise) -> "Tokenise | None":
        """What finds the examples behind a loss: only where they are told, since it takes time."""
        return features_of if self.recipe.data.cleaning.strict else None


def prepare(run: RunFolder) -> None:
    """Read, clean, divide and tokenise the data, once, for every later stage.

    Raises:
        DataError: The data is missing, broken, empty, does not fit max_length, changed since submission, or
            is not clean though the recipe demands it.
        ModelError: The model cannot be found.
    """
    if run.prepare_summary.is_file():
        print("prepare was done before: nothing to do")
        return
    check_unchanged(run)
    recipe, task = recipe_and_task(run)
    model = model_folder(recipe.model)
    if recipe.teacher is not None:
        # Merged or converted here, where that is to be done, and not by every rank at once.
        model_folder(recipe.teacher)
    tokenizer = load_tokenizer(model)
    with atomic.folder(run.prepared.root) as partial:
        prepared = PreparedFolder(partial)
        preparation = Preparation(recipe, task, tokenizer, model, prepared)
        tokenizer.save_pretrained(prepared.tokenizer)
        summary = _prepare(preparation)
        summary["fingerprint"] = {
            "model": folder_sha256(model),
            "tokenizer": folder_sha256(prepared.tokenizer),
            "features": folder_sha256(prepared.features("test"), (".arrow",)),
        }
        atomic.write_json(prepared.summary, summary)
    print("\n".join(summary_lines(summary)))


def _prepare(preparation: Preparation) -> dict[str, Any]:
    """Write all sides; return what the summary says of them."""
    recipe, folder = preparation.recipe, preparation.folder.root
    strict = recipe.data.cleaning.strict
    with TemporaryDirectory(dir=folder) as spool:
        splits = preparation.read(Path(spool))
        if strict:
            # Before anything is tokenised, which takes longer.
            refuse_losses(splits.dropped, splits.repaired, splits.first)
        training = preparation.training(splits)
    sides = {"train": replace(total(training.counts), num_features=training.num_rows)}
    sides |= {side: preparation.held_out(side, splits) for side in HELD_OUT if getattr(splits, side)}
    if strict:
        found = {**training.counts, **{side: sides[side] for side in HELD_OUT if side in sides}}
        dropped, repaired = (
            {side: getattr(counts, kind).counts for side, counts in found.items()}
            for kind in ("dropped", "repaired")
        )
        refuse_losses(dropped, repaired, {side: counts.first for side, counts in found.items()})
    return {
        "task": recipe.task,
        "labels": list(splits.labels),
        "max_length": recipe.data.max_length,
        "model_folder": str(preparation.model),
        **summarise(splits, sides, training.counts),
        **training.packing,
    }


def _joined(pieces: Iterable[Features]) -> Iterator[Features]:
    """All pieces as one, if there is a row in any."""
    columns: dict[str, list[Any]] = {}
    for features in pieces:
        for name, values in features.columns.items():
            columns.setdefault(name, []).extend(values)
    if columns:
        yield Features(columns)


def _nothing_to_train_on(counts: Counts) -> DataError:
    reasons = "; ".join(f"{number:,} × {reason}" for reason, number in counts.dropped.counts.items())
    return DataError(
        f"no training example gives a row: {reasons or 'the task made none'}",
        where="data",
        remedy="Raise data.max_length, or say in `columns` where that is which is to be learned.",
    )
