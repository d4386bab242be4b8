"""Running a tagging model over windows of texts and keeping entities instead of logits."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.evaluation.batches import window_batches
from rankfold.evaluation.work import UnitWork
from rankfold.nbest.entity_extract import TaggedWindows, extract_entities
from rankfold.nbest.entity_records import ENTITY_RECORD, EntityRecords, best_first
from rankfold.recipe.schema import Evaluation


def entity_records(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    work: UnitWork,
    settings: Evaluation,
) -> EntityRecords:
    """Return the records of a work unit's windows, in their order.

    Raises:
        NumericalError: A logit is NaN or infinite; names the window and the shard.
    """
    parts = [np.empty(0, ENTITY_RECORD)]
    for batch in window_batches(model, tokenizer, work.rows, settings.per_device_eval_batch_size):
        parts.append(
            extract_entities(
                batch.output.logits.float().cpu().numpy(),
                tagged_windows(batch.windows, [work.unit.start + row for row in batch.rows]),
                first_token=batch.first_token,
                n_best_size=settings.n_best_size,
                max_answer_length=settings.max_answer_length,
                constrained=settings.decoding_strategy == "constrained",
                shard=work.shard,
            )
        )
        work.advance(len(batch.rows))
    return best_first(np.concatenate(parts), "window_id")


def tagged_windows(windows: Sequence[Mapping[str, Any]], window_ids: Sequence[int]) -> TaggedWindows:
    """Rows of the evaluation features as arrays."""

    def column(name: str) -> Any:
        return np.array([window[name] for window in windows])

    def ragged(name: str) -> Any:
        return np.fromiter(chain.from_iterable(window[name] for window in windows), np.int64)

    return TaggedWindows(
        window_ids=np.array(window_ids, np.int64),
        examples=column("example"),
        continues=column("continues"),
        owned=np.stack([column("own_start"), column("own_stop")], axis=1),
        row_starts=np.array([0, *accumulate(len(window["positions"]) for window in windows)], np.int64),
        positions=ragged("positions"),
        char_starts=ragged("char_starts"),
        char_ends=ragged("char_ends"),
    )
