"""Text to text by an encoder-decoder: translation, summarisation and the like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rankfold.data.collate import IGNORED_LABEL, attention_mask, pad
from rankfold.data.examples import SequencePairExample
from rankfold.data.features import Features
from rankfold.errors import ModelError
from rankfold.recipe.schema import Recipe
from rankfold.task_facts import BUILT_IN
from rankfold.tasks.base import Row
from rankfold.tasks.writing import REFERENCE, Writing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_TARGET = "no target"


class Seq2Seq(Writing[SequencePairExample]):
    """The encoder reads the source, the decoder learns to write the target."""

    auto_class = "AutoModelForSeq2SeqLM"
    peft_task_type = "SEQ_2_SEQ_LM"
    example_type = SequencePairExample
    facts = BUILT_IN["seq2seq"][1]

    def training_features(
        self,
        examples: Sequence[SequencePairExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        learned = [example for example in examples if example.target.strip()]
        sources, cut_sources = _source_ids(learned, tokenizer, recipe)
        targets = _target_ids(learned, tokenizer)
        limit = recipe.data.max_target_length
        cut = [len(ids) > limit or is_cut for ids, is_cut in zip(targets, cut_sources, strict=True)]
        # A target that is cut does not end there, so its end is not learned.
        columns = {"input_ids": sources, "labels": [ids[:limit] for ids in targets]}
        missing = len(examples) - len(learned)
        return Features(columns, num_truncated=sum(cut), dropped={NO_TARGET: missing} if missing else {})

    def evaluation_features(
        self,
        examples: Sequence[SequencePairExample],
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        labels: Sequence[str],
    ) -> Features:
        sources, cut = _source_ids(examples, tokenizer, recipe)
        targets = _target_ids(examples, tokenizer)
        references = [
            ids if self.reference_of(example) is not None else []
            for example, ids in zip(examples, targets, strict=True)
        ]
        columns: dict[str, list[Any]] = {
            "input_ids": sources,
            REFERENCE: references,
            "example": list(range(len(examples))),
        }
        return Features(columns, num_truncated=sum(cut))

    def collate(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        input_ids = pad(rows, "input_ids", int(tokenizer.pad_token_id), "right")
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask(rows, input_ids, "right"),
            "labels": pad(rows, "labels", IGNORED_LABEL, "right"),
        }

    def text_of(self, example: SequencePairExample) -> str:
        return example.source

    def reference_of(self, example: SequencePairExample) -> str | None:
        return example.target if example.target.strip() else None

    def stop_ids(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        return [_end_id(tokenizer)]

    def scored_batch(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        return self.collate([{**row, "labels": row[REFERENCE]} for row in rows], tokenizer)


def _source_ids(
    examples: Sequence[SequencePairExample], tokenizer: PreTrainedTokenizerBase, recipe: Recipe
) -> tuple[list[list[int]], list[bool]]:
    """Token ids of the sources, with their end where the tokenizer has one, and which were cut."""
    limit = recipe.data.max_length
    texts = [recipe.data.source_prefix + example.source for example in examples]
    if not texts:
        return [], []  # which transformers' tokenizers do not take
    encoded = tokenizer(texts, truncation=True, max_length=limit, return_overflowing_tokens=True)
    # What was cut off comes as more rows of the same text.
    owners: list[int] = encoded["overflow_to_sample_mapping"]
    sources: dict[int, list[int]] = {}
    cut = [False] * len(texts)
    for owner, ids in zip(owners, encoded["input_ids"], strict=True):
        cut[owner] = owner in sources
        sources.setdefault(owner, ids)
    return [sources[owner] for owner in range(len(texts))], cut


def _target_ids(
    examples: Sequence[SequencePairExample], tokenizer: PreTrainedTokenizerBase
) -> list[list[int]]:
    """Token ids of the whole targets; they end with the end of text, as the model would write them."""
    if not examples:
        return []
    encoded: list[list[int]] = tokenizer(text_target=[example.target for example in examples])["input_ids"]
    end = _end_id(tokenizer)
    return [ids if ids and ids[-1] == end else [*ids, end] for ids in encoded]


def _end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    for index in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if index is not None:
            return int(index)
    raise ModelError(
        f"the tokenizer of {tokenizer.name_or_path} has no token that ends a text, so nothing would end what "
        "is generated",
        where="model.name_or_path",
        remedy="Set eos_token in its tokenizer_config.json.",
    )
