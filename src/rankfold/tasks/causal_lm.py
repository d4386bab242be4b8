"""Continued pre-training of a causal language model on documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rankfold.data.causal import collate_causal
from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.documents import chunks, tokens_of
from rankfold.data.examples import DocumentExample
from rankfold.data.features import Features
from rankfold.errors import ModelError, RecipeError
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Row
from rankfold.tasks.language_modelling import LanguageModelling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class CausalLM(LanguageModelling):
    """A document stands between two end-of-text tokens, as in pre-training, and each token follows the last.

    The first is a document's beginning-of-text token where the tokenizer sets one. A document that is longer
    than max_length becomes several rows, each beginning with the last token of the one before: so every token
    is predicted once, from no more than the row's own tokens.
    """

    auto_class = "AutoModelForCausalLM"
    peft_task_type = "CAUSAL_LM"
    facts = BUILT_IN["causal_lm"][1]
    scores_all = True

    def record_settings(self, recipe: Recipe) -> dict[str, str | int]:
        return {}

    def training_features(
        self,
        examples: Sequence[DocumentExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        rows = [ids for _, ids in _rows(examples, tokenizer, recipe.data.max_length)]
        # Nothing predicts a row's first token; packed behind another row, something seems to.
        return Features({"input_ids": rows, "labels": [_labels(ids) for ids in rows]})

    def evaluation_features(
        self,
        examples: Sequence[DocumentExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        rows = list(_rows(examples, tokenizer, recipe.data.max_length))
        return Features({"input_ids": [ids for _, ids in rows], "example": [example for example, _ in rows]})

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        return collate_causal(rows, tokenizer)

    def scored_batch(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        return collate_causal([{**row, "labels": _labels(row["input_ids"])} for row in rows], tokenizer)


def _labels(ids: Sequence[int]) -> list[int]:
    return [IGNORED_LABEL, *ids[1:]]


def _rows(
    examples: Sequence[DocumentExample], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Iterator[tuple[int, list[int]]]:
    """Yield (example, tokens) of every row, of at most max_length tokens."""
    if max_length < 2:
        raise RecipeError(
            f"is {max_length}; a token is predicted from the one before it",
            where="data.max_length",
            remedy="Set it to 2 or more.",
        )
    end = tokenizer.eos_token_id
    if end is None:
        raise ModelError(
            "the tokenizer has no end-of-text token, which parts documents",
            where="model.name_or_path",
            remedy="Set eos_token in its tokenizer_config.json.",
        )
    # Of nothing a tokenizer makes the tokens that it puts around every text.
    first = next(iter(tokenizer("")["input_ids"]), end)
    for example, tokens in enumerate(tokens_of(examples, tokenizer)):
        for ids in chunks([first, *tokens, end], max_length, shared=1):
            yield example, ids
