"""Running a question answering model over windows and keeping records instead of logits."""

from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.evaluation.batches import window_batches
from rankfold.evaluation.extract_on_device import extract_on_device
from rankfold.evaluation.work import UnitWork
from rankfold.nbest.extract import extract_records
from rankfold.nbest.records import WINDOW_RECORD, Records
from rankfold.recipe.schema import Evaluation


def window_records(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    work: UnitWork,
    settings: Evaluation,
) -> Records:
    """Return the records of a work unit's windows, in their order.

    Raises:
        NumericalError: A logit is NaN or infinite; names the window and the shard.
    """
    records: Records = np.zeros(len(work.rows), dtype=WINDOW_RECORD)
    for batch in window_batches(model, tokenizer, work.rows, settings.per_device_eval_batch_size):
        records[batch.rows] = records_of_logits(
            batch.output.start_logits,
            batch.output.end_logits,
            lengths=batch.lengths,
            first_token=batch.first_token,
            cls_index=np.array([window["cls_index"] for window in batch.windows]),
            window_ids=np.array(batch.rows) + work.unit.start,
            example_indices=np.array([window["example"] for window in batch.windows]),
            n_best_size=settings.n_best_size,
            shard=work.shard,
        )
        work.advance(len(batch.rows))
    return records


def records_of_logits(start_logits: Tensor, end_logits: Tensor, **windows: Any) -> Records:
    """Make the records of a batch where its logits are: on a CUDA device, or on the host without a copy.

    `windows` are the other arguments of `extract_records`; both ways give the same bytes.
    """
    if start_logits.is_cuda:
        return extract_on_device(start_logits, end_logits, **windows)
    starts, ends = (logits.float().cpu().numpy() for logits in (start_logits, end_logits))
    return extract_records(starts, ends, **windows)
