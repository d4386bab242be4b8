"""Continued pre-training of an encoder-decoder, which restores what was cut out of a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from rankfold.data.collate import IGNORED_LABEL, attention_mask, pad
from rankfold.data.documents import chunks, tokens_of
from rankfold.data.examples import DocumentExample
from rankfold.data.features import Features
from rankfold.data.noise import (
    SpanNoise,
    batch_generators,
    cut_out,
    draw_spans,
    generator_of,
    noise_seed,
    span_noise,
)
from rankfold.errors import ModelError, RecipeError
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Row
from rankfold.tasks.language_modelling import LanguageModelling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_COLUMNS = ("input_ids", "num_noise_tokens", "num_noise_spans", "noise_seed")


class Denoising(LanguageModelling):
    """T5's span corruption: the input has a sentinel for each span, the target each span behind its own.

    A document is cut into pieces whose tokens and end fill max_length before anything is cut out, so that no
    input is longer. A piece of fewer than two tokens has nothing to cut out and is left out.
    """

    auto_class = "AutoModelForSeq2SeqLM"
    peft_task_type = "SEQ_2_SEQ_LM"
    facts = BUILT_IN["denoising"][1]

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        return {
            "noise_density": str(recipe.data.noise_density),
            "mean_noise_span_length": str(recipe.data.mean_noise_span_length),
        }

    def training_features(
        self,
        examples: Sequence[DocumentExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        rows = list(_rows(examples, tokenizer, recipe))
        without = len(examples) - len({row["example"] for row in rows})
        dropped = {"too short to cut a span out": without} if without else {}
        return Features({name: [row[name] for row in rows] for name in _COLUMNS}, dropped=dropped)

    def evaluation_features(
        self,
        examples: Sequence[DocumentExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        rows = list(_rows(examples, tokenizer, recipe))
        corrupted = [_corrupted(row, tokenizer, generator_of(row["noise_seed"])) for row in rows]
        return Features(
            {
                "input_ids": [inputs for inputs, _ in corrupted],
                "labels": [targets for _, targets in corrupted],
                "example": [row["example"] for row in rows],
            }
        )

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Cut out other spans in every epoch: `batch_generators` says what they follow from."""
        generators = batch_generators([row["noise_seed"] for row in rows])
        corrupted = [
            _corrupted(row, tokenizer, generator) for row, generator in zip(rows, generators, strict=True)
        ]
        return self.scored_batch(
            [{"input_ids": inputs, "labels": targets} for inputs, targets in corrupted], tokenizer
        )

    def scored_batch(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        input_ids = pad(rows, "input_ids", int(tokenizer.pad_token_id), "right")
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask(rows, input_ids, "right"),
            "labels": pad(rows, "labels", IGNORED_LABEL, "right"),
        }


def _rows(
    examples: Sequence[DocumentExample], tokenizer: PreTrainedTokenizerBase, recipe: Recipe
) -> Iterator[dict[str, Any]]:
    """Yield every row, whole, with what says how much is cut out of it."""
    data = recipe.data
    room = data.max_length - 1
    _check(tokenizer, room, span_noise(max(room, 2), data.noise_density, data.mean_noise_span_length))
    for example, tokens in enumerate(tokens_of(examples, tokenizer)):
        for piece, ids in enumerate(chunks(tokens, room)):
            if len(ids) < 2:
                continue
            noise = span_noise(len(ids), data.noise_density, data.mean_noise_span_length)
            yield {
                "input_ids": ids,
                "num_noise_tokens": noise.num_tokens,
                "num_noise_spans": noise.num_spans,
                "noise_seed": noise_seed(recipe.seed, examples[example].id, piece),
                "example": example,
            }


def _corrupted(row: Row, tokenizer: PreTrainedTokenizerBase, generator: Any) -> tuple[list[int], list[int]]:
    noise = SpanNoise(row["num_noise_tokens"], row["num_noise_spans"])
    spans = draw_spans(len(row["input_ids"]), noise, generator)
    sentinels = tokenizer.convert_tokens_to_ids([_sentinel(number) for number in range(len(spans))])
    return cut_out(row["input_ids"], spans, sentinels, int(tokenizer.eos_token_id))


def _sentinel(number: int) -> str:
    return f"<extra_id_{number}>"


def _check(tokenizer: PreTrainedTokenizerBase, room: int, most: SpanNoise) -> None:
    vocabulary = tokenizer.get_vocab()
    found = sum(1 for _ in takewhile(lambda number: _sentinel(number) in vocabulary, count()))
    if not found or tokenizer.eos_token_id is None:
        missing = "end-of-text token" if found else f"sentinels: {_sentinel(0)}, {_sentinel(1)} and so on"
        raise ModelError(
            f"the tokenizer has no {missing}",
            where="model.name_or_path",
            remedy="Choose a model that was pre-trained as T5 was, or add the tokens to its tokenizer and "
            "rows for them to its embeddings.",
        )
    if room < 2:
        raise RecipeError(
            f"is {room + 1}, which leaves no room to cut something out",
            where="data.max_length",
            remedy="Set it to 3 or more.",
        )
    if most.num_spans > found:
        raise RecipeError(
            f"a row of {room + 1} tokens has {most.num_spans} spans cut out, but the tokenizer has only "
            f"{found} sentinels",
            where="data.max_length",
            remedy="Lower data.max_length or data.noise_density, or raise data.mean_noise_span_length.",
        )
