"""predict: answer new rows with a run's model, a piece of the input at a time."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from itertools import islice
from typing import Any, cast

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.data.examples import Example
from rankfold.data.jsonl import as_object, parse_json
from rankfold.data.lines import Line
from rankfold.data.store import iterate_stored
from rankfold.data.tables import TableRow, check_characters, column_value, is_absent
from rankfold.errors import UserError
from rankfold.evaluation.work import UnitWork
from rankfold.modeling.load import load_tokenizer
from rankfold.nbest.units import Unit
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder
from rankfold.stages.evaluate import load_variant
from rankfold.stages.inputs import check_trained, prepared_summary, recipe_and_task
from rankfold.tasks.base import Merged, RecordedExamples, Task

INPUT = "input"
"""What stands where an evaluation would name its shard."""


def predict(
    run: RunFolder,
    lines: Iterable[Line],
    *,
    text: bool = False,
    base: bool = False,
    batch_size: int | None = None,
) -> Iterator[bytes]:
    """Yield a line of JSON for each row: `{"id": …, "prediction": …, "nbest": […]}`, in order.

    What a row gets is to the byte what the run's own evaluation would say of it, were the input its test set.
    Memory holds one work unit and the rows of an example that reaches into the next.

    Args:
        run: A run that has trained.
        lines: One JSON object a line with the fields of the task's examples, or the recipe's columns. A row
            without an `id`, or with an empty one, gets its number, counted from 1.
        text: Lines are not JSON, but each the text of an example; its id is the number of the line.
        base: Answer with the model as it was before training.
        batch_size: Rows that are read, computed and answered at a time. Empty: the recipe's.

    Raises:
        DataError: A line is not a row of the task; says which. Lines before it may have been answered.
        NumericalError: The model gave NaN or infinity.
        UserError: The run has not trained yet, or its task takes no lines of text.
    """
    check_trained(run)
    recipe, task = recipe_and_task(run)
    named = recipe.data.test or recipe.data.source
    columns = named.columns if named else {}
    rows = _texts(lines, recipe.task, task) if text else _objects(lines, columns)
    if batch_size is not None:
        smaller = {"unit_size": batch_size, "per_device_eval_batch_size": batch_size}
        evaluation = recipe.evaluation.model_copy(update=smaller)
        recipe = recipe.model_copy(update={"evaluation": evaluation})
    # What the data decides was decided by the test set.
    recipe = task.settle(recipe, iterate_stored(run.prepared.examples("test"), task.example_type))
    answering = _Answering(
        task,
        recipe,
        prepared_summary(run)["labels"],
        load_tokenizer(run.prepared.tokenizer),
        load_variant(run, recipe, task, "base" if base else "fine_tuned"),
    )
    examples = (task.example_of(row.values, row.where) for row in rows)
    while piece := list(islice(examples, recipe.evaluation.unit_size)):
        yield from answering.answer(piece)
    yield from answering.rest()


def _objects(lines: Iterable[Line], columns: Mapping[str, str]) -> Iterator[TableRow]:
    filled = (line for line in lines if line.text.strip())
    for number, line in enumerate(filled, start=1):
        values = as_object(parse_json(line.text, line.path, line.number), line.where)
        check_characters(values, line.where)
        row = TableRow(line.where, values)
        named = {name: column_value(column, row) for name, column in columns.items() if _fits(column, values)}
        found = {**values, **named}
        yield TableRow(line.where, found | ({"id": str(number)} if is_absent(found.get("id")) else {}))


def _fits(column: str, values: Mapping[str, Any]) -> bool:
    """Whether a row has a column: rows that are to be predicted need not have what was to be learned."""
    return column.startswith("*") or column in values or column.split(".")[0].removesuffix("[]") in values


def _texts(lines: Iterable[Line], name: str, task: Task[Any]) -> Iterator[TableRow]:
    if task.facts.input_field is None:
        raise UserError(
            f"{name} needs more than a text of each example",
            where="--format text",
            remedy=f"Leave it out, and write a JSON object a line, with {_listed_fields(task.example_type)}.",
        )
    input_field = task.facts.input_field
    return (
        TableRow(line.where, {"id": str(line.number), input_field: line.text})
        for line in lines
        if line.text.strip()
    )


def _listed_fields(kind: type[Example]) -> str:
    needed = (one for one in fields(cast(Any, kind)) if one.name != "id")
    return ", ".join(one.name for one in needed if one.default is MISSING and one.default_factory is MISSING)


@dataclass
class _Answering:
    """What has been read and not answered, by its place in the whole of the input.

    Attributes:
        examples: Those not answered; the first is example `first_example`.
        features: Their rows, from row `first_row` on; those before `stop` have been computed.
        payloads: The work units with a row of `examples`.
    """

    task: Task[Any]
    recipe: Recipe
    labels: list[str]
    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    examples: list[Example] = field(default_factory=list)
    features: dict[str, list[Any]] = field(default_factory=dict)
    payloads: dict[Unit, bytes] = field(default_factory=dict)
    first_example: int = 0
    first_row: int = 0
    stop: int = 0
    num_units: int = 0

    def answer(self, examples: list[Example]) -> Iterator[bytes]:
        """Take in more examples, and yield the lines of all that whole work units can answer."""
        made = self.task.evaluation_features(examples, self.tokenizer, self.recipe, self.labels).columns
        before = self.first_example + len(self.examples)
        made["example"] = [before + example for example in made.get("example", [])]
        for name, values in made.items():
            self.features.setdefault(name, []).extend(values)
        self.examples += examples
        yield from self._lines(self.recipe.evaluation.unit_size)

    def rest(self) -> Iterator[bytes]:
        """Yield the lines of what was left for want of a whole work unit."""
        if self.examples:
            yield from self._lines(1)

    def _lines(self, least: int) -> Iterator[bytes]:
        """Compute work units as long as there are `least` rows for one, and answer what they complete."""
        rows = Dataset.from_dict(self.features)
        end = self.first_row + len(rows)
        while end - self.stop >= least:
            unit = Unit(self.num_units, self.stop, min(self.stop + self.recipe.evaluation.unit_size, end))
            here = range(unit.start - self.first_row, unit.stop - self.first_row)
            work = UnitWork(unit, rows.select(here).to_list(), shard=INPUT, advance=lambda _: None)
            self.payloads[unit] = self.task.predict(self.model, self.tokenizer, work, self.recipe)
            self.stop, self.num_units = unit.stop, unit.index + 1
        owners = self.features.get("example", [])
        if self.stop == end:
            num_examples, num_rows = len(self.examples), len(rows)
        else:
            # The example of the next row to compute is the first that is not complete.
            first_incomplete = owners[self.stop - self.first_row]
            num_examples, num_rows = first_incomplete - self.first_example, owners.index(first_incomplete)
        if num_examples:
            yield from self._answered(num_examples, rows.with_format("arrow")[:num_rows])
            self._forget(num_examples, num_rows)

    def _answered(self, num_examples: int, rows: Any) -> Iterator[bytes]:
        answered = self.examples[:num_examples]
        stop = self.first_row + len(rows)
        recorded = RecordedExamples(
            payloads=[payload for unit, payload in self.payloads.items() if unit.start < stop],
            examples=answered,
            features=rows,
            first_example=self.first_example,
            first_row=self.first_row,
        )
        merged = self.task.merge(recorded, self.recipe, self.labels)
        return _joined(answered, merged)

    def _forget(self, num_examples: int, num_rows: int) -> None:
        self.examples = self.examples[num_examples:]
        self.features = {name: values[num_rows:] for name, values in self.features.items()}
        self.first_example += num_examples
        self.first_row += num_rows
        self.payloads = {
            unit: payload for unit, payload in self.payloads.items() if unit.stop > self.first_row
        }


def _joined(examples: Iterable[Example], merged: Merged) -> Iterator[bytes]:
    """Put an example's prediction and its n-best line into one object, without reading either."""
    members, nbest = merged.predictions.splitlines(), merged.nbest.splitlines()
    for example, member, line in zip(examples, members, nbest, strict=True):
        key = json.dumps(example.id, ensure_ascii=False).encode()
        beginning = b'{"id": ' + key
        if not (member.startswith(key + b": ") and line.startswith(beginning)):
            raise ValueError(f"the lines of example {example.id!r} do not begin with its id")
        prediction = b', "prediction": ' + member[len(key) + 2 :]
        yield beginning + prediction + line[len(beginning) :] + b"\n"
