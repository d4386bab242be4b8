"""Entity recognition by a language model that writes the entities of a text as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rankfold.data.causal import collate_causal
from rankfold.data.chat import chat_ids, prompt_ids, stop_ids
from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.examples import EntityExample
from rankfold.data.features import Features
from rankfold.entities.candidates import Mode, ScoredSequence, TextReading, read_sequences
from rankfold.entities.prompt import answer_text, messages, wording
from rankfold.entities.rows import details_row, entity_rows, nbest_row
from rankfold.evaluation.sequences import check_finite, sequences_by_example, sequences_to_bytes
from rankfold.evaluation.work import UnitWork
from rankfold.json_lines import json_lines, member_lines
from rankfold.metrics.entities import count_entities, entity_metrics_of, example_f1
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Merged, RecordedExamples, Row, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rankfold.evaluation.generation import GeneratedSequence


class GenerativeNER(Task[EntityExample]):
    """Text in, `{"text": …, "label": …}` a line out, aligned to the text afterwards."""

    auto_class = "AutoModelForCausalLM"
    peft_task_type = "CAUSAL_LM"
    unit_name = "text"
    example_type = EntityExample
    merge_settings = frozenset({"n_best_size", "num_bootstrap_resamples"})
    facts = BUILT_IN["generative_ner"][1]

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
        return collate_causal(rows, tokenizer)

    def predict(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        work: UnitWork,
        recipe: Recipe,
    ) -> bytes:
        from rankfold.evaluation.generation import generate

        sequences: list[GeneratedSequence] = []
        for batch in generate(
            model,
            tokenizer,
            [row["input_ids"] for row in work.rows],
            recipe.evaluation,
            stop_ids=stop_ids(tokenizer),
            seed=recipe.seed + work.unit.index,
        ):
            check_finite(batch, work)
            sequences += batch
            work.advance(len({sequence.prompt for sequence in batch}))
        return sequences_to_bytes(sequences, first_example=work.unit.start)

    def merge(
        self,
        recorded: RecordedExamples[EntityExample],
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Merged:
        mode: Mode = "samples" if recipe.evaluation.do_sample else "beams"
        sequences, words = sequences_by_example(recorded.payloads), wording(recipe.prompt)
        read = [
            (
                example,
                index,
                read_sequences(sequences[index], example.text, mode=mode, words=words, labels=labels),
            )
            for index, example in enumerate(recorded.examples, start=recorded.first_example)
        ]
        n_best_size = recipe.evaluation.n_best_size
        return Merged(
            predictions=member_lines(
                (example.id, entity_rows(example.text, reading.predicted)) for example, _, reading in read
            ),
            nbest=json_lines(
                nbest_row(example.id, example.text, reading.candidates[:n_best_size], mode=mode)
                for example, _, reading in read
            ),
            details=json_lines(
                _details(example, reading, sequences[index]) for example, index, reading in read
            ),
        )

    def metrics(self, details: Iterable[Row], recipe: Recipe, labels: Sequence[str]) -> dict[str, Any]:
        return entity_metrics_of(
            details, labels, resamples=recipe.evaluation.num_bootstrap_resamples, seed=recipe.seed
        )


def _details(
    example: EntityExample, reading: TextReading, sequences: Sequence[ScoredSequence]
) -> dict[str, Any]:
    counts = count_entities(
        example.entities,
        [one.span for one in reading.predicted],
        invented_labels=[entity.label for entity in reading.invented],
        parse_failure=reading.parse_failure,
    )
    return details_row(
        example,
        reading.predicted,
        example_f1(counts),
        invented=reading.invented,
        parse_failure=reading.parse_failure,
        generated=[sequence.text for sequence in sequences],
    )
