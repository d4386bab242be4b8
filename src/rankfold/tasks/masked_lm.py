"""Continued pre-training of an encoder, which guesses masked tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rankfold.data.collate import IGNORED_LABEL, pad
from rankfold.data.documents import TEXTS_AT_A_TIME
from rankfold.data.examples import DocumentExample
from rankfold.data.features import Features
from rankfold.data.noise import batch_generators, generator_of, mask_tokens, noise_seed, num_masked
from rankfold.errors import ModelError, RecipeError
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Row
from rankfold.tasks.language_modelling import LanguageModelling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OF_THE_MODEL = ("input_ids", "token_type_ids")


class MaskedLM(LanguageModelling):
    """A document in rows of at most max_length tokens, of which a share of mlm_probability is guessed."""

    auto_class = "AutoModelForMaskedLM"
    # PEFT has no type for masked language models; this one adds nothing of its own.
    peft_task_type = "FEATURE_EXTRACTION"
    facts = BUILT_IN["masked_lm"][1]

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        return {"mlm_probability": str(recipe.data.mlm_probability)}

    def training_features(
        self,
        examples: Sequence[DocumentExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        found = list(_rows(examples, tokenizer, recipe))
        rows = [row for row in found if row["num_masked"]]
        without = len(examples) - len({row["example"] for row in rows})
        names = [name for name in found[0] if name != "example"]
        dropped = {"no token to mask": without} if without else {}
        return Features({name: [row[name] for row in rows] for name in names}, dropped=dropped)

    def evaluation_features(
        self,
        examples: Sequence[DocumentExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        rows = [
            {**row, **_masked(row, tokenizer, generator_of(row["noise_seed"]))}
            for row in _rows(examples, tokenizer, recipe)
        ]
        names = [*(name for name in _OF_THE_MODEL if name in rows[0]), "labels", "example"]
        return Features({name: [row[name] for row in rows] for name in names})

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Mask other tokens in every epoch: `batch_generators` says what the masks follow from."""
        generators = batch_generators([row["noise_seed"] for row in rows])
        masked = [
            {**row, **_masked(row, tokenizer, generator)}
            for row, generator in zip(rows, generators, strict=True)
        ]
        return self.scored_batch(masked, tokenizer)

    def scored_batch(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        from rankfold.evaluation.batches import model_inputs

        labels = pad(rows, "labels", IGNORED_LABEL, tokenizer.padding_side)
        return {**model_inputs(rows, tokenizer), "labels": labels}


def _rows(
    examples: Sequence[DocumentExample], tokenizer: PreTrainedTokenizerBase, recipe: Recipe
) -> Iterator[dict[str, Any]]:
    """Yield every row, unmasked, with what says how it is masked."""
    _check(tokenizer, recipe.data.max_length)
    for first in range(0, len(examples), TEXTS_AT_A_TIME):
        some = examples[first : first + TEXTS_AT_A_TIME]
        encoded = tokenizer(
            [example.text for example in some],
            truncation=True,
            max_length=recipe.data.max_length,
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
        )
        pieces = [0] * len(some)
        for row, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            special = encoded["special_tokens_mask"][row]
            yield {
                **{name: encoded[name][row] for name in _OF_THE_MODEL if name in encoded},
                "special_tokens_mask": special,
                "num_masked": num_masked(special.count(0), recipe.data.mlm_probability),
                "noise_seed": noise_seed(recipe.seed, some[owner].id, pieces[owner]),
                "example": first + owner,
            }
            pieces[owner] += 1


def _masked(row: Row, tokenizer: PreTrainedTokenizerBase, generator: Any) -> dict[str, list[int]]:
    candidates = [place for place, special in enumerate(row["special_tokens_mask"]) if not special]
    input_ids, labels = mask_tokens(
        row["input_ids"],
        candidates,
        row["num_masked"],
        generator,
        mask_id=int(tokenizer.mask_token_id),
        vocabulary_size=len(tokenizer),
    )
    return {"input_ids": input_ids, "labels": labels}


def _check(tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    if tokenizer.mask_token_id is None:
        raise ModelError(
            "the tokenizer has no mask token, so nothing can be masked",
            where="model.name_or_path",
            remedy="Choose an encoder such as BERT, or `task: causal_lm` for a decoder.",
        )
    special = tokenizer.num_special_tokens_to_add(pair=False)
    if max_length <= special:
        raise RecipeError(
            f"is {max_length}, which leaves no room for text beside {special} special tokens",
            where="data.max_length",
            remedy=f"Set it to more than {special}.",
        )
