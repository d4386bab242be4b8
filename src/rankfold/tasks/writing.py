"""What tasks have in common whose model writes a text that is compared with a reference."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from rankfold.data.examples import Example
from rankfold.evaluation.sequences import check_finite
from rankfold.evaluation.work import UnitWork
from rankfold.json_lines import json_lines, member_lines
from rankfold.metrics.counts import ratio
from rankfold.metrics.language_modelling import TextLoss, language_modelling_metrics
from rankfold.metrics.written_text import ROUGE, example_scores, written_text_metrics
from rankfold.nbest.tables import table_to_bytes, tables_from_bytes
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Merged, RecordedExamples, Row, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


ExampleT = TypeVar("ExampleT", bound=Example)

REFERENCE = "reference"
"""Column of the evaluation features: the reference's token ids, none where an example has no reference."""

_LOSS = {"loss": pa.float64(), "num_tokens": pa.uint32(), "num_correct": pa.uint32()}
_SEQUENCE = {
    "text": pa.string(),
    "log_probability": pa.float64(),
    "num_tokens": pa.uint32(),
    "finished": pa.bool_(),
}
_SCHEMA = pa.schema(
    [
        ("reference", pa.struct(list(_LOSS.items()))),
        ("sequences", pa.list_(pa.struct(list(_SEQUENCE.items())))),
    ]
)
"""What the model says of the reference, and what it writes itself, the search's best first."""


class Writing(Task[ExampleT]):
    """The reference's probability, and texts that the model writes; one row an example."""

    unit_name = "text"
    merge_settings = frozenset({"n_best_size", "num_bootstrap_resamples"})

    @abstractmethod
    def text_of(self, example: ExampleT) -> str:
        """What the model is given, as a report shows it."""

    @abstractmethod
    def reference_of(self, example: ExampleT) -> str | None:
        """What the model should write; None where nobody says."""

    @abstractmethod
    def stop_ids(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        """The tokens that end what the model writes."""

    @abstractmethod
    def scored_batch(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Make the model's arguments for rows that have a reference, and `labels` that are the reference."""

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        evaluation = recipe.evaluation
        return {
            "max_new_tokens": evaluation.max_new_tokens,
            "num_return_sequences": evaluation.num_return_sequences,
            "num_beams": evaluation.num_beams,
            "do_sample": int(evaluation.do_sample),
            "temperature": str(evaluation.temperature),
            "top_p": str(evaluation.top_p),
        }

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> bytes:
        from rankfold.evaluation.generation import generate

        rows = work.rows
        sequences: list[list[Row]] = [[] for _ in rows]
        references = self._references(model, tokenizer, work, recipe)
        for batch in generate(
            model,
            tokenizer,
            [row["input_ids"] for row in rows],
            recipe.evaluation,
            stop_ids=self.stop_ids(tokenizer),
            seed=recipe.seed + work.unit.index,
        ):
            check_finite(batch, work)
            for sequence in sorted(batch, key=lambda one: one.index):
                sequences[sequence.prompt].append({name: getattr(sequence, name) for name in _SEQUENCE})
            work.advance(len({sequence.prompt for sequence in batch}))
        columns: dict[str, Sequence[Any]] = {"reference": references, "sequences": sequences}
        return table_to_bytes(columns, _SCHEMA, first_row=work.unit.start)

    def _references(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> list[Row | None]:
        """What the model says of each row's reference; None where a row has none."""
        from rankfold.evaluation.token_losses import token_losses

        rows = work.rows
        found: list[Row | None] = [None] * len(rows)
        scored = [place for place, row in enumerate(rows) if row[REFERENCE]]
        # Longest first, so that rows of one batch need little padding.
        order = sorted(scored, key=lambda place: -len(rows[place]["input_ids"]) - len(rows[place][REFERENCE]))
        size = recipe.evaluation.per_device_eval_batch_size
        for start in range(0, len(order), size):
            places = order[start : start + size]
            inputs = self.scored_batch([rows[place] for place in places], tokenizer)
            losses = token_losses(model, inputs, inputs.pop("labels"), self.facts.model_kind)
            names = [f"the reference of text {work.unit.start + place}" for place in places]
            losses.check_finite(names, work.shard)
            columns = [getattr(losses, name).tolist() for name in _LOSS]
            for place, *values in zip(places, *columns, strict=True):
                found[place] = dict(zip(_LOSS, values, strict=True))
        return found

    def merge(
        self,
        recorded: RecordedExamples[ExampleT],
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Merged:
        records = tables_from_bytes(recorded.payloads, recorded.rows).to_pylist()
        pairs = list(zip(recorded.examples, records, strict=True))
        n_best_size = recipe.evaluation.n_best_size
        mode = "samples" if recipe.evaluation.do_sample else "beams"
        return Merged(
            predictions=member_lines(
                (example.id, record["sequences"][0]["text"]) for example, record in pairs
            ),
            nbest=json_lines(
                {"id": example.id, "mode": mode, "nbest": record["sequences"][:n_best_size]}
                for example, record in pairs
            ),
            details=json_lines(self._details(example, record) for example, record in pairs),
        )

    def _details(self, example: ExampleT, record: Row) -> dict[str, Any]:
        gold, best = self.reference_of(example), record["sequences"][0]
        scores = dict.fromkeys(("score", *ROUGE)) if gold is None else example_scores(best["text"], gold)
        return {
            "id": example.id,
            "text": self.text_of(example),
            "gold": gold or "",
            "predicted": best["text"],
            **scores,
            "num_tokens": best["num_tokens"],
            "finished": best["finished"],
            "reference": record["reference"],
        }

    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        rows = list(details)
        scored = [row for row in rows if row["score"] is not None]
        drawn = {"resamples": recipe.evaluation.num_bootstrap_resamples, "seed": recipe.seed}
        losses = language_modelling_metrics((TextLoss(**row["reference"]) for row in scored), **drawn)
        texts = written_text_metrics(
            [row["predicted"] for row in scored], [row["gold"] for row in scored], scored, **drawn
        )
        intervals = [part.pop("confidence_intervals", {}) for part in (losses, texts)]
        found = {
            **losses,
            **texts,
            "mean_num_tokens": ratio(sum(row["num_tokens"] for row in rows), len(rows)),
            "finished_rate": ratio(sum(row["finished"] for row in rows), len(rows)),
            "num_examples": len(rows),
        }
        if recipe.evaluation.num_bootstrap_resamples:
            found["confidence_intervals"] = {**intervals[0], **intervals[1]}
        return found
