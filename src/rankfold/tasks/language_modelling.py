"""What tasks have in common that learn a text as it is, and are scored by how probable they find it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rankfold.data.examples import DocumentExample
from rankfold.evaluation.work import UnitWork
from rankfold.json_lines import json_lines, member_lines
from rankfold.metrics.language_modelling import TextLoss, language_modelling_metrics_of, perplexity
from rankfold.nbest.tables import table_to_bytes, tables_from_bytes
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Merged, RecordedExamples, Row, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SCHEMA = pa.schema([("loss", pa.float64()), ("num_tokens", pa.uint32()), ("num_correct", pa.uint32())])

SHOWN_CHARACTERS = 500
"""Characters of a document in details.jsonl, enough to know which one it is."""


class LanguageModelling(Task[DocumentExample]):
    """A document in rows, of which each has a loss; the documents' are sums of theirs.

    Attributes:
        scores_all: Whether every token of a document is scored once, so that its bytes count.
    """

    unit_name = "window"
    example_type = DocumentExample
    merge_settings = frozenset({"num_bootstrap_resamples"})
    scores_all: bool = False

    @abstractmethod
    def scored_batch(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Make the model's arguments for rows of the evaluation features, `labels` among them."""

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> bytes:
        from rankfold.evaluation.token_losses import token_losses

        rows = work.rows
        columns: dict[str, list[Any]] = {name: [0] * len(rows) for name in _SCHEMA.names}
        # Longest first, so that rows of one batch need little padding.
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]["input_ids"]))
        size = recipe.evaluation.per_device_eval_batch_size
        for start in range(0, len(order), size):
            places = order[start : start + size]
            inputs = self.scored_batch([rows[place] for place in places], tokenizer)
            labels = inputs.pop("labels")
            found = token_losses(model, inputs, labels, self.facts.model_kind)
            found.check_finite([f"window {work.unit.start + place}" for place in places], work.shard)
            for name in columns:
                for place, value in zip(places, getattr(found, name).tolist(), strict=True):
                    columns[name][place] = value
            work.advance(len(places))
        return table_to_bytes(columns, _SCHEMA, first_row=work.unit.start)

    def merge(
        self,
        recorded: RecordedExamples[DocumentExample],
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Merged:
        losses = self._losses(recorded)
        pairs = list(zip(recorded.examples, losses, strict=True))
        return Merged(
            predictions=member_lines((example.id, _perplexity(loss)) for example, loss in pairs),
            nbest=json_lines({"id": example.id, **_sums(loss)} for example, loss in pairs),
            details=json_lines(_details_row(example, loss) for example, loss in pairs),
        )

    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        return language_modelling_metrics_of(
            details, resamples=recipe.evaluation.num_bootstrap_resamples, seed=recipe.seed
        )

    def _losses(self, recorded: RecordedExamples[DocumentExample]) -> list[TextLoss]:
        """The sums of each document's rows, added in the order of the rows."""
        sums = [[0.0, 0, 0] for _ in recorded.examples]
        if recorded.rows:
            records = tables_from_bytes(recorded.payloads, recorded.rows)
            columns = [records.column(name).to_pylist() for name in _SCHEMA.names]
            owners = recorded.features.column("example").to_pylist()
            for owner, *values in zip(owners, *columns, strict=True):
                of_document = sums[owner - recorded.first_example]
                for place, value in enumerate(values):
                    of_document[place] += value
        return [
            TextLoss(
                loss,
                int(num_tokens),
                int(num_correct),
                len(example.text.encode()) if self.scores_all else None,
            )
            for example, (loss, num_tokens, num_correct) in zip(recorded.examples, sums, strict=True)
        ]


def _sums(loss: TextLoss) -> dict[str, Any]:
    values = {"loss": loss.loss, "num_tokens": loss.num_tokens, "num_correct": loss.num_correct}
    return values if loss.num_bytes is None else {**values, "num_bytes": loss.num_bytes}


def _perplexity(loss: TextLoss) -> float | None:
    """None where nothing of the document was scored: 0 would be better than any model."""
    return perplexity(loss.loss, loss.num_tokens) if loss.num_tokens else None


def _details_row(example: DocumentExample, loss: TextLoss) -> dict[str, Any]:
    shown = example.text[:SHOWN_CHARACTERS]
    found = _perplexity(loss)
    return {
        "id": example.id,
        "text": shown if shown == example.text else f"{shown}…",
        "gold": "",
        "predicted": "" if found is None else f"with perplexity {found:.2f}, {loss.num_tokens} tokens",
        "score": None,
        **_sums(loss),
    }
