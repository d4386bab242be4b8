"""merge: fold every shard's records into predictions and scores, then write the report.

A merge may be an array of jobs: each folds a range of examples, and the last one joins their lines. Nothing
but a range is ever in memory until the report is written, and nothing here needs torch.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from rankfold import atomic
from rankfold.data.features import read_features
from rankfold.data.store import iterate_stored
from rankfold.nbest.coverage import UnitReader
from rankfold.nbest.ranges import example_ranges, part_of_examples
from rankfold.nbest.units import Fingerprint, plan_units
from rankfold.recipe.schema import Recipe
from rankfold.report.write import write_report
from rankfold.run_folder import VARIANTS, RunFolder
from rankfold.stages.inputs import prepared_summary, recipe_and_task, run_fingerprint
from rankfold.tasks.base import Merged, RecordedExamples, Row, Task
from rankfold.training.trackers import track_results

ROWS_AT_A_TIME = 8192
"""Windows or texts in memory at once: windows of 384 tokens and their offsets then take about 50 MB."""

MEMBERS = "predictions.members"
"""The file of a part that becomes an object, `predictions.json`, once all members are known."""


def merge(run: RunFolder) -> None:
    """Merge every shard into predictions and scores, tell trackers of them, then write the report.

    Raises:
        ShardError: A work unit is missing, damaged, from another run, or contradicts another.
    """
    recipe, _ = recipe_and_task(run)
    for merging in mergings(run, recipe):
        metrics = merging.write_results(recipe.evaluation.merge_shards)
        numbers = [f"{name} {value:.6g}" for name, value in metrics.items() if isinstance(value, int | float)]
        print(f"{merging.variant}: {', '.join(numbers)}")
    track_results(run, recipe.tracking.report_to)
    write_report(run)


def merge_part(run: RunFolder, part: int, num_parts: int) -> None:
    """Merge the examples of one part, for `merge` to join; errors as `merge`."""
    recipe, _ = recipe_and_task(run)
    for merging in mergings(run, recipe):
        merging.write_part(part, num_parts)


def mergings(run: RunFolder, settings: Recipe) -> "list[Merging]":
    """One merge for each variant that the run evaluates, under `settings`.

    Raises:
        ShardError: A variant's work units are not whole, so that none is merged while another cannot be.
    """
    recipe, task = recipe_and_task(run)
    labels = prepared_summary(run)["labels"]
    settled = task.settle(settings, iterate_stored(run.prepared.examples("test"), task.example_type))
    found = [
        Merging(run, variant, task, settled, labels, run_fingerprint(run, recipe, task, variant))
        for variant in (VARIANTS if recipe.evaluation.baseline else VARIANTS[1:])
    ]
    for merging in found:
        merging.reader()
    return found


@dataclass(frozen=True)
class Merging:
    """The merge of one variant's records.

    Attributes:
        settings: The recipe, or the recipe with other settings of the merge.
        fingerprint: What the records were computed from; `settings` do not matter to it.
    """

    run: RunFolder
    variant: str
    task: Task[Any]
    settings: Recipe
    labels: Sequence[str]
    fingerprint: Fingerprint

    def write_part(self, part: int, num_parts: int) -> Path:
        """Write one range of examples, and return its folder, whole or absent."""
        folder = self._parts / f"part-{part:05d}-of-{num_parts:05d}"
        with atomic.folder(folder) as partial, ExitStack() as files:
            predictions, nbest, details = (
                files.enter_context((partial / name).open("wb")) for name in self._names
            )
            for merged in self._merge(part, num_parts):
                predictions.write(merged.predictions)
                nbest.write(merged.nbest)
                details.write(merged.details)
        return folder

    def write_results(
        self,
        num_parts: int = 1,
        *,
        scored: Callable[[Row], bool] = lambda row: True,
        changed: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """Join the parts, computing those that no job has left, and score the examples `scored` takes.

        `changed` is written beside the scores: the settings that are not the recipe's. Returns the metrics.
        """
        parts = [self._parts / f"part-{part:05d}-of-{num_parts:05d}" for part in range(num_parts)]
        for part, folder in enumerate(parts):
            if num_parts == 1 or not folder.is_dir():
                self.write_part(part, num_parts)
        run, variant = self.run, self.variant
        with atomic.folder(run.results(variant)) as partial:
            members, *others = self._names
            _join_members([part / members for part in parts], partial / run.predictions(variant).name)
            for name in others:
                _join([part / name for part in parts], partial / name)
            rows = filter(scored, _rows(partial / run.details(variant).name))
            metrics = self.task.metrics(rows, self.settings, self.labels)
            atomic.write_json(partial / run.metrics(variant).name, metrics)
            if changed:
                atomic.write_json(partial / run.merge_settings(variant).name, changed)
        # Those of other merges too, which nobody will join any more.
        shutil.rmtree(self._parts.parent)
        return metrics

    def details(self) -> Iterator[Row]:
        """The details of every example, without leaving anything in the run's folder."""
        for merged in self._merge(0, 1):
            yield from map(json.loads, merged.details.splitlines())

    def reader(self) -> UnitReader:
        """Check that every work unit is there, and open them; errors as `UnitReader`."""
        # `unit_size` is the recipe's own: a merge cannot change how the rows were divided.
        units = plan_units(len(self._features), self.settings.evaluation.unit_size)
        return UnitReader(self.run.shards(self.variant), units, self.fingerprint)

    @property
    def _features(self) -> pa.Table:
        return read_features(self.run.prepared.features("test"))

    @property
    def _names(self) -> tuple[str, str, str]:
        return (MEMBERS, self.run.nbest(self.variant).name, self.run.details(self.variant).name)

    @property
    def _parts(self) -> Path:
        """Where this merge's parts are; a merge of other records, settings or gold has another folder."""
        with self.run.prepared.examples("test").open("rb") as file:
            examples = hashlib.file_digest(file, "sha256").hexdigest()
        settings = self.settings.evaluation.model_dump(mode="json")
        content = [self.fingerprint.digest, settings, list(self.labels), examples]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return self.run.merge_parts(self.variant, digest[:12])

    def _merge(self, part: int, num_parts: int) -> Iterator[Merged]:
        """Fold the part's examples, a range at a time."""
        features, reader = self._features, self.reader()
        num_examples = prepared_summary(self.run)["test"]["num_examples"]
        wanted = part_of_examples(num_examples, part, num_parts)
        stored = iterate_stored(self.run.prepared.examples("test"), self.task.example_type)
        examples = islice(stored, wanted.start, wanted.stop)
        example_of_row = features.column("example").to_numpy()
        for piece in example_ranges(example_of_row, wanted, max_rows=ROWS_AT_A_TIME):
            recorded = RecordedExamples(
                payloads=list(reader.payloads(piece.units(reader.units))),
                examples=list(islice(examples, len(piece.examples))),
                features=features.slice(piece.rows.start, len(piece.rows)),
                first_example=piece.examples.start,
                first_row=piece.rows.start,
            )
            yield self.task.merge(recorded, self.settings, self.labels)


def _rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


def _join(sources: Iterable[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for source in sources:
            with source.open("rb") as file:
                shutil.copyfileobj(file, joined)


def _join_members(sources: Iterable[Path], target: Path) -> None:
    """Write the members of all sources as one JSON object."""
    with target.open("wb") as joined:
        before = b"{\n"
        for source in sources:
            with source.open("rb") as file:
                for member in file:
                    joined.write(before + member.rstrip(b"\n"))
                    before = b",\n"
        joined.write(b"{}\n" if before == b"{\n" else b"\n}\n")
