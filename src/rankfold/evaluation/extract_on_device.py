"""Window records from logits that stay where the model computed them: 250 bytes a window are copied."""

import numpy as np
import torch
from torch import Tensor

from rankfold.nbest.extract import Integers, check_batch, not_finite, unfilled_records
from rankfold.nbest.order import INFINITE_MAGNITUDE, MAGNITUDE_MASK, NOTHING, key, unpack_index
from rankfold.nbest.records import Records

ALLOWED = (torch.float32, torch.float16, torch.bfloat16)


def extract_on_device(
    start_logits: Tensor,
    end_logits: Tensor,
    *,
    lengths: Integers,
    first_token: Integers,
    cls_index: Integers,
    window_ids: Integers,
    example_indices: Integers,
    n_best_size: int,
    shard: str,
) -> Records:
    """What `rankfold.nbest.extract.extract_records` does, byte for byte, in torch operations.

    `start_logits` and `end_logits` are (num_windows, max_length) in float32, float16 or bfloat16, on any
    device; everything else lies on the host and means what it means there.

    Raises:
        NumericalError: A real token's logit is NaN or infinite; names the window and the shard.
        UserError: `max_length` or `n_best_size` does not fit into a record.
        ValueError: Shapes, types or positions contradict each other.
    """
    if start_logits.dtype not in ALLOWED or end_logits.dtype not in ALLOWED:
        types = f"{start_logits.dtype}, {end_logits.dtype}"
        raise ValueError(f"logits must be float32, float16 or bfloat16, not {types}")
    check_batch(start_logits.shape, end_logits.shape, lengths, first_token, cls_index, n_best_size)
    logits = torch.stack([start_logits.float(), end_logits.float()])
    windows = torch.from_numpy(np.stack([lengths, first_token, cls_index]).astype(np.int64))
    best = _best(logits.view(torch.int32), windows.to(logits.device), n_best_size)
    positions, kept, nulls, broken = (part.cpu().numpy() for part in best)

    records = unfilled_records(window_ids, example_indices, lengths, n_best_size)
    for side, kind in enumerate(("start", "end")):
        if broken[side].any():
            raise not_finite(kind, logits[side].cpu().numpy(), lengths, first_token, window_ids, shard)
        places = slice(positions.shape[2])
        records[f"{kind}_positions"][:, places] = positions[side].view(np.uint16)
        records[f"{kind}_logits"][:, places] = kept[side].view(np.float32)
        records[f"null_{kind}_logit"] = nulls[side].view(np.float32)
    return records


def _best(bits: Tensor, windows: Tensor, n_best_size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Search the best tokens of every window, on both sides at once.

    Args:
        bits: (2, num_windows, max_length), int32, float32 logits by their bits.
        windows: (3, num_windows), int64: lengths, first tokens and positions of the null.

    Returns:
        Positions (2, num_windows, count), uint16 by their bits in an int16, and the bits of their logits,
        int32, both best first and zero where a window is shorter; the bits of the nulls' logits
        (2, num_windows); which windows have a logit that is not finite (2, num_windows).
    """
    length, first, cls_index = windows[:, None, :, None]  # each (1, num_windows, 1)
    max_length = bits.shape[2]
    tokens = torch.arange(max_length, device=bits.device) - first
    is_real = (tokens >= 0) & (tokens < length)
    broken = (is_real & ((bits & MAGNITUDE_MASK) >= INFINITE_MAGNITUDE)).any(dim=2)
    # The order that topk leaves open is the order of equal keys, and no two tokens have the same key.
    keys = key(bits.long(), tokens).where(is_real, NOTHING).topk(min(n_best_size, max_length)).values
    is_used = keys != NOTHING
    positions = unpack_index(keys).where(is_used, 0)
    kept = bits.gather(2, positions + first).where(is_used, 0)
    nulls = bits.gather(2, (cls_index + first).expand(2, -1, -1)).squeeze(2)
    return positions.to(torch.int16), kept, nulls, broken
