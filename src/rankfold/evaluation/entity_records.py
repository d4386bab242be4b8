"""Running a tagging model over windows of texts and keeping entities instead of logits."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankfold.evaluation.span_records import model_inputs
from rankfold.nbest.entity_extract import TaggedWindows, extract_entities
from rankfold.nbest.entity_records import ENTITY_RECORD, EntityRecords, best_first
from rankfold.recipe.schema import Evaluation


@torch.inference_mode()
def entity_records(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    windows: Sequence[Mapping[str, Any]],
    settings: Evaluation,
    *,
    first_window: int,
    shard: str,
    advance: Callable[[int], None],
) -> EntityRecords:
    """Return the records of `windows`, in their order; `first_window` is the id of the first.

    Windows of similar length share a batch; which do depends on `windows` alone.

    Raises:
        NumericalError: A logit is NaN or infinite; names the window and the shard.
    """
    order = sorted(range(len(windows)), key=lambda row: -len(windows[row]["input_ids"]))
    size = settings.per_device_eval_batch_size
    parts = [np.empty(0, ENTITY_RECORD)]
    for rows in (order[start : start + size] for start in range(0, len(order), size)):
        batch = [windows[row] for row in rows]
        inputs = model_inputs(batch, tokenizer)
        output = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()})
        parts.append(
            extract_entities(
                output.logits.float().cpu().numpy(),
                tagged_windows(batch, [first_window + row for row in rows]),
                first_token=inputs["attention_mask"].argmax(dim=1).numpy(),
                n_best_size=settings.n_best_size,
                max_answer_length=settings.max_answer_length,
                constrained=settings.decoding_strategy == "constrained",
                shard=shard,
            )
        )
        advance(len(rows))
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
