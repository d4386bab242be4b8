"""Text embeddings: an encoder that brings texts that belong together close to each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from rankfold.data.examples import TextPairExample
from rankfold.data.features import Features
from rankfold.data.text_pairs import encode_texts
from rankfold.errors import DataError, NumericalError
from rankfold.evaluation.work import UnitWork
from rankfold.json_lines import json_lines, member_lines
from rankfold.metrics.embeddings import VECTOR, EmbeddedPair, embedding_metrics_of, texts_of
from rankfold.nbest.tables import table_to_bytes, tables_from_bytes
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Merged, RecordedExamples, Row, Task

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_RECORDS = pa.schema([("vector", pa.binary())])
"""A text's vector, as `metrics.embeddings.VECTOR` has it."""


class Embedding(Task[TextPairExample]):
    """A vector a text; contrastive learning with the texts of all ranks, or regression on given scores."""

    auto_class = "AutoModel"
    peft_task_type = "FEATURE_EXTRACTION"
    unit_name = "text"
    example_type = TextPairExample
    loss_couples_rows = True
    merge_settings = frozenset({"num_bootstrap_resamples"})
    facts = BUILT_IN["embedding"][1]

    def example_of(self, row: Row, where: str) -> TextPairExample:
        example = super().example_of(row, where)
        if example.score is not None and not -1 <= example.score <= 1:
            raise DataError(
                f"score is {example.score}; it is compared with a cosine, so it must be from -1 to 1",
                where=where,
                remedy="Divide the scores by the largest there may be, such as 5 for 0 to 5.",
            )
        if example.score is not None and example.positive is None:
            raise DataError(
                "there is a score, but no second text in `positive`",
                where=where,
                remedy="Say which column it is in: columns: {positive: COLUMN}.",
            )
        return example

    def metric_for_best_model(self, examples: Iterable[TextPairExample]) -> str:
        """Where every pair has a score nothing is to be found: the best model agrees best with the scores."""
        pairs = [example.score is not None for example in examples if example.positive is not None]
        return "spearman_cosine" if pairs and all(pairs) else super().metric_for_best_model(examples)

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        return {"pooling": recipe.model.pooling}

    def training_features(
        self,
        examples: Sequence[TextPairExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        """A row an example, its texts' tokens one text after the other: anchor, positive, negatives."""
        pairs = [example for example in examples if example.positive is not None]
        # A score says how close two texts are, which makes no other text a negative.
        texts = [texts_of(pair) if pair.score is None else texts_of(pair)[:2] for pair in pairs]
        tokens = iter(_tokenise([text for each in texts for text in each], tokenizer, recipe))
        columns: dict[str, list[Any]] = {
            name: [] for name in ("input_ids", "lengths", "keys", "score", "temperature", "pooling")
        }
        num_truncated = 0
        for pair, each in zip(pairs, texts, strict=True):
            found = [next(tokens) for _ in each]
            num_truncated += any(is_truncated for _, is_truncated in found)
            columns["input_ids"].append([token for ids, _ in found for token in ids])
            columns["lengths"].append([len(ids) for ids, _ in found])
            columns["keys"].append([_key(ids) for ids, _ in found])
            columns["score"].append(pair.score)
            # A batch is all that the loss gets to see.
            columns["temperature"].append(recipe.train.contrastive_temperature)
            columns["pooling"].append(recipe.model.pooling)
        lost = len(examples) - len(pairs)
        return Features(columns, num_truncated, {"no positive": lost} if lost else {})

    def evaluation_features(
        self,
        examples: Sequence[TextPairExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        """A row a text, those of an example one after the other: anchor, positive, negatives."""
        owners = [(place, text) for place, example in enumerate(examples) for text in texts_of(example)]
        tokens = _tokenise([text for _, text in owners], tokenizer, recipe)
        truncated = {place for (place, _), (_, cut) in zip(owners, tokens, strict=True) if cut}
        columns: dict[str, list[Any]] = {
            "input_ids": [ids for ids, _ in tokens],
            "example": [place for place, _ in owners],
        }
        return Features(columns, len(truncated))

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """All texts in one padded batch, so that the model runs once: anchors, positives, negatives."""
        import torch

        from rankfold.evaluation.batches import model_inputs
        from rankfold.modeling.embeddings import pooling_weights

        anchors, positives, negatives = [], [], []
        for row in rows:
            anchor, positive, *others = _pieces(row)
            anchors.append(anchor)
            positives.append(positive)
            negatives += others
        texts = [*anchors, *positives, *negatives]
        inputs = model_inputs(texts, tokenizer)
        scores = [float("nan") if row["score"] is None else row["score"] for row in rows]
        return {
            **inputs,
            "pooling_weights": pooling_weights(inputs["attention_mask"], rows[0]["pooling"]),
            "keys": torch.tensor([text["key"] for text in texts]),
            "scores": torch.tensor(scores),
            "temperature": torch.tensor([row["temperature"] for row in rows]),
        }

    def num_items(self, batch: Mapping[str, Tensor]) -> int:
        return len(batch["scores"])

    def loss(self, model: Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """The mean over this rank's anchors; every rank calls this in the same step.

        Where there is a score, it is the squared difference from the cosine (Reimers and Gurevych 2019).
        """
        import torch

        output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        with torch.autocast(batch["scores"].device.type, enabled=False):
            # A bfloat16 cosine is off by up to 0.004, which the temperature makes twenty times as much.
            return self._loss_of(output, batch), output

    def _loss_of(self, output: Any, batch: Mapping[str, Tensor]) -> Tensor:
        import torch

        from rankfold.modeling.embeddings import contrastive_losses, text_vectors

        vectors = text_vectors(output.last_hidden_state, batch["pooling_weights"])
        scores, keys = batch["scores"], batch["keys"]
        num = len(scores)
        anchors, candidates = vectors[:num], vectors[num:]
        contrasted = torch.isnan(scores)
        negatives = keys.new_zeros(len(candidates) - num)
        contrastive = contrastive_losses(
            anchors,
            candidates,
            anchor_keys=keys[:num],
            candidate_keys=keys[num:],
            candidate_owners=torch.cat([keys[:num], negatives]),
            is_candidate=torch.cat([contrasted, negatives == 0]),
            temperature=batch["temperature"],
        )
        cosines = (anchors * candidates[:num]).sum(dim=1)
        squared = (cosines - scores.nan_to_num()) ** 2
        loss = torch.where(contrasted, contrastive, squared).mean()
        return loss + _nothing_of_the_pooler(output)

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> bytes:
        import torch

        from rankfold.evaluation.batches import model_inputs, window_batches
        from rankfold.modeling.embeddings import pooling_weights, text_vectors

        texts = work.rows
        vectors: list[bytes] = [b""] * len(texts)
        for batch in window_batches(model, tokenizer, texts, recipe.evaluation.per_device_eval_batch_size):
            mask = model_inputs(batch.windows, tokenizer)["attention_mask"].to(model.device)
            with torch.inference_mode():
                weights = pooling_weights(mask, recipe.model.pooling)
                found = text_vectors(batch.output.last_hidden_state, weights).cpu().numpy()
            for row, vector in zip(batch.rows, found, strict=True):
                if not np.isfinite(vector).all():
                    raise NumericalError(
                        "the model gave NaN or infinity",
                        where=f"text {work.unit.start + row}, {work.shard}",
                        remedy="Check the weights; use bfloat16 or float32 rather than float16.",
                    )
                vectors[row] = vector.astype(VECTOR).tobytes()
            work.advance(len(batch.rows))
        return table_to_bytes({"vector": vectors}, _RECORDS, first_row=work.unit.start)

    def merge(
        self,
        recorded: RecordedExamples[TextPairExample],
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Merged:
        records = tables_from_bytes(recorded.payloads, recorded.rows)
        vectors = iter(records.column("vector").to_pylist())
        found = [
            EmbeddedPair(example, [next(vectors) for _ in texts_of(example)]) for example in recorded.examples
        ]
        return Merged(
            predictions=member_lines((one.example.id, one.prediction) for one in found),
            nbest=json_lines(one.nbest for one in found),
            details=json_lines(one.details for one in found),
        )

    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        resamples = recipe.evaluation.num_bootstrap_resamples
        return embedding_metrics_of(details, resamples=resamples, seed=recipe.seed)


def _tokenise(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, recipe: Recipe
) -> list[tuple[list[int], bool]]:
    """Each text's tokens, and whether it lost some."""
    encoded = encode_texts(texts, [None] * len(texts), tokenizer, recipe.data.max_length)
    return list(zip(encoded.model_inputs["input_ids"], encoded.is_truncated, strict=True))


def _key(tokens: Sequence[int]) -> int:
    """Equal where the model cannot tell two texts apart."""
    digest = hashlib.blake2b(np.array(tokens, dtype="<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _pieces(row: Row) -> list[dict[str, Any]]:
    """The texts of a training row, apart again."""
    stops = np.cumsum(row["lengths"]).tolist()
    starts = [0, *stops[:-1]]
    return [
        {"input_ids": row["input_ids"][start:stop], "key": key}
        for start, stop, key in zip(starts, stops, row["keys"], strict=True)
    ]


def _nothing_of_the_pooler(output: Any) -> Tensor | float:
    """Zero, by way of a layer that our vectors do not use: DDP waits for the gradients of every weight."""
    pooled = getattr(output, "pooler_output", None)
    return 0.0 if pooled is None else 0.0 * cast("Tensor", pooled).sum()
