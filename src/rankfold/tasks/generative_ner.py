"""Entity recognition by a language model that writes the entities of a text as JSON."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.data.chat import chat_ids, prompt_ids, stop_ids
from rankfold.data.collate import IGNORED_LABEL, attention_mask, pad
from rankfold.data.examples import EntityExample, Span
from rankfold.entities.align import align
from rankfold.entities.candidates import (
    ScoredSequence,
    SpanCandidate,
    best_sequence,
    nbest_row,
    span_candidates,
)
from rankfold.entities.parse import GeneratedEntity, parse_entities
from rankfold.entities.prompt import Wording, answer_text, messages, wording
from rankfold.errors import DataError, NumericalError
from rankfold.evaluation.generation import GeneratedSequence, generate
from rankfold.evaluation.sequences import sequences_by_example, sequences_to_bytes
from rankfold.metrics.entities import count_entities, example_f1
from rankfold.metrics.load import load_metric
from rankfold.nbest.units import Unit
from rankfold.recipe.schema import Recipe
from rankfold.tasks.base import Features, Results, Row, Task


class GenerativeNER(Task[EntityExample]):
    """Text in, `{"text": …, "label": …}` a line out, aligned to the text afterwards."""

    auto_class = "AutoModelForCausalLM"
    peft_task_type = "CAUSAL_LM"
    unit_name = "text"
    example_type = EntityExample

    def training_features(
        self,
        examples: Sequence[EntityExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        words, limit = wording(recipe.prompt), recipe.data.max_length
        columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
        truncated = dropped = 0
        for example in examples:
            answer = answer_text(example.entities, example.text, words)
            ids = chat_ids(tokenizer, messages(example.text, labels, words), answer)
            if len(ids.prompt) >= limit:
                dropped += 1
                continue
            truncated += len(ids.prompt) + len(ids.answer) > limit
            columns["input_ids"].append((ids.prompt + ids.answer)[:limit])
            # Only the answer is learned, its end of turn included.
            columns["labels"].append(([IGNORED_LABEL] * len(ids.prompt) + ids.answer)[:limit])
        if not columns["input_ids"]:
            raise DataError(
                f"not one of {len(examples)} training examples leaves room for an answer within "
                f"max_length {limit} tokens",
                where="data.max_length",
                remedy="Raise data.max_length or shorten the prompt.",
            )
        reasons = {"prompt alone fills max_length": dropped} if dropped else {}
        return Features(columns, num_truncated=truncated, dropped=reasons)

    def evaluation_features(
        self,
        examples: Sequence[EntityExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        words = wording(recipe.prompt)
        prompts = [prompt_ids(tokenizer, messages(example.text, labels, words)) for example in examples]
        # Never truncated: a text that the model has not read cannot be scored fairly.
        return Features({"input_ids": prompts, "example": list(range(len(examples)))})

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Pad on the left, so that answers stand together on the right and only they need logits.

        The vocabulary is large and prompts are long: logits of the prompts would take most of the memory
        and a good part of the time, to be thrown away by the loss.
        """
        input_ids = pad(rows, "input_ids", int(tokenizer.pad_token_id), "left")
        mask = attention_mask(rows, input_ids, "left")
        labels = pad(rows, "labels", IGNORED_LABEL, "left")
        longest_answer = int((labels != IGNORED_LABEL).sum(dim=1).max())
        # One more: the first answer token is predicted by the last of the prompt.
        kept = min(longest_answer + 1, labels.shape[1])
        return {
            "input_ids": input_ids,
            "attention_mask": mask,
            # Padding on the left must not move a token's position.
            "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
            "labels": labels[:, -kept:],
            "logits_to_keep": kept,
        }

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        features: Dataset,
        unit: Unit,
        recipe: Recipe,
        *,
        shard: str,
        advance: Callable[[int], None],
    ) -> bytes:
        sequences: list[GeneratedSequence] = []
        for batch in generate(
            model,
            tokenizer,
            features.select(range(unit.start, unit.stop))["input_ids"],
            recipe.evaluation,
            stop_ids=stop_ids(tokenizer),
            seed=recipe.seed + unit.index,
        ):
            _check_finite(batch, unit, shard)
            sequences += batch
            advance(len({sequence.prompt for sequence in batch}))
        return sequences_to_bytes(sequences, first_example=unit.start)

    def merge(
        self,
        units: Sequence[tuple[Unit, bytes]],
        examples: Sequence[EntityExample],
        features: Dataset,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Results:
        sequences = sequences_by_example(payload for _, payload in units)
        read = [_read(example, sequences[index], recipe, labels) for index, example in enumerate(examples)]
        return Results(
            predictions={one.example.id: one.prediction() for one in read},
            nbest=(nbest_row(one.example.id, one.example.text, one.candidates) for one in read),
            details=(one.details() for one in read),
            metrics=_metrics(read, labels),
        )


@dataclass(frozen=True)
class _Reading:
    """What was made of one example's generated sequences."""

    example: EntityExample
    generated: tuple[str, ...]
    predicted: tuple[Span, ...]
    invented: tuple[GeneratedEntity, ...]
    parse_failure: bool
    candidates: tuple[SpanCandidate, ...]

    def prediction(self) -> list[dict[str, Any]]:
        """The example's entry in predictions.json."""
        text = self.example.text
        return [
            {
                "text": text[span.start : span.end],
                "label": span.label,
                "start": span.start,
                "end": span.end,
            }
            for span in self.predicted
        ]

    def details(self) -> dict[str, Any]:
        scores = {candidate.span: candidate.score for candidate in self.candidates}
        counts = count_entities(
            self.example.entities,
            self.predicted,
            invented_labels=[entity.label for entity in self.invented],
            parse_failure=self.parse_failure,
        )
        return {
            "id": self.example.id,
            "text": self.example.text,
            "gold": [[span.start, span.end, span.label] for span in self.example.entities],
            "predicted": [[span.start, span.end, span.label, scores.get(span)] for span in self.predicted],
            "invented": [{"text": entity.text, "label": entity.label} for entity in self.invented],
            "parse_failure": self.parse_failure,
            "f1": example_f1(counts),
            "generated": list(self.generated),
        }


def _read(
    example: EntityExample,
    sequences: Sequence[ScoredSequence],
    recipe: Recipe,
    labels: Collection[str],
) -> _Reading:
    words: Wording = wording(recipe.prompt)
    best = best_sequence(sequences)
    parsed = parse_entities(best.text, words)
    aligned = align(parsed.entities, example.text, labels)
    candidates = span_candidates(
        sequences,
        example.text,
        mode="samples" if recipe.evaluation.do_sample else "beams",
        words=words,
        labels=labels,
        n_best_size=recipe.evaluation.n_best_size,
    )
    return _Reading(
        example=example,
        generated=tuple(sequence.text for sequence in sequences),
        predicted=tuple(sorted({place.span for place in aligned.spans})),
        invented=aligned.invented,
        parse_failure=parsed.failure,
        candidates=candidates,
    )


def _metrics(read: Sequence[_Reading], labels: Sequence[str]) -> dict[str, Any]:
    metrics: dict[str, Any] = load_metric("rankfold_entities").compute(
        predictions=[
            {
                "entities": _as_rows(one.predicted),
                "invented_labels": [entity.label for entity in one.invented],
                "parse_failure": one.parse_failure,
            }
            for one in read
        ],
        references=[{"entities": _as_rows(one.example.entities)} for one in read],
        labels=tuple(labels),
    )
    return metrics


def _as_rows(spans: Sequence[Span]) -> list[dict[str, Any]]:
    return [{"start": span.start, "end": span.end, "label": span.label} for span in spans]


def _check_finite(batch: Sequence[GeneratedSequence], unit: Unit, shard: str) -> None:
    for sequence in batch:
        if not math.isfinite(sequence.log_probability):
            raise NumericalError(
                f"the log-probability of sequence {sequence.index} of text {unit.start + sequence.prompt} "
                f"is {sequence.log_probability}, not a finite number",
                where=shard,
                remedy="Look at the training loss: the model may have diverged. If it trained well, "
                "evaluate it with model.torch_dtype: float32.",
            )
