"""Vectors of texts: from vectors of tokens to normalised ones, and from every rank to all."""

from typing import Literal

import torch
import torch.distributed
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

Pooling = Literal["mean", "cls", "last"]


def pooling_weights(attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """How much each token counts in the vector of its text, float32 (num_texts, longest), rows of sum 1.

    `cls` is the first real token and `last` the last one, whichever side the padding is on.
    """
    mask = attention_mask.float()
    if pooling == "mean":
        return mask / mask.sum(dim=1, keepdim=True)
    counted = mask.cumsum(dim=1) * mask
    chosen = counted == (1 if pooling == "cls" else counted.amax(dim=1, keepdim=True))
    return chosen.float()


def text_vectors(tokens: Tensor, weights: Tensor) -> Tensor:
    """Pool (num_texts, longest, width) vectors of tokens into float32 (num_texts, width) of length 1."""
    # Virtual tokens of a learned prompt stand in front, and are no part of the text.
    own = tokens[:, -weights.shape[1] :].float()
    return normalize(torch.bmm(weights.unsqueeze(1), own).squeeze(1), dim=1)


def contrastive_losses(
    anchors: Tensor,
    candidates: Tensor,
    *,
    anchor_keys: Tensor,
    candidate_keys: Tensor,
    candidate_owners: Tensor,
    is_candidate: Tensor,
    temperature: Tensor,
) -> Tensor:
    """Cross entropy of each anchor's own positive among all candidates of all ranks, (num_anchors,).

    In-batch negatives as in Henderson et al. 2017 and, across ranks, Karpukhin et al. 2020. What is equal to
    the anchor or its positive is no negative of it, and neither is another positive of the same anchor.

    Args:
        anchors: (num_anchors, width), of this rank.
        candidates: (num_candidates, width), of this rank: the anchors' positives in their order, then others.
        anchor_keys: (num_anchors,), equal for equal texts.
        candidate_keys: (num_candidates,), likewise.
        candidate_owners: (num_candidates,), key of the anchor whose positive it is; 0 for other texts.
        is_candidate: (num_candidates,), whether a candidate counts.
        temperature: (num_anchors,), by which similarities are divided.
    """
    # Lengths differ where the last batch of an epoch is shorter, or a text has more negatives.
    sizes = _sizes_of_ranks(len(candidates), candidates.device)
    facts = torch.stack([candidate_keys, candidate_owners, is_candidate.long()], dim=1)
    keys, owners, counts = _GatherRows.apply(facts, sizes).unbind(dim=1)  # type: ignore[no-untyped-call]
    everything = _GatherRows.apply(candidates, sizes)  # type: ignore[no-untyped-call]
    own = sum(sizes[: _rank()]) + torch.arange(len(anchors), device=anchors.device)
    left_out = (
        (keys.unsqueeze(0) == keys[own].unsqueeze(1))
        | (keys.unsqueeze(0) == anchor_keys.unsqueeze(1))
        | (owners.unsqueeze(0) == anchor_keys.unsqueeze(1))
        | (counts == 0).unsqueeze(0)
    )
    left_out = left_out.scatter(1, own.unsqueeze(1), value=False)
    similarities = (anchors @ everything.T) / temperature.unsqueeze(1)
    return cross_entropy(similarities.masked_fill(left_out, -torch.inf), own, reduction="none")


class _GatherRows(torch.autograd.Function):
    """All ranks' rows in the order of the ranks; each rank's gradient reaches the rank whose row it is."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: Tensor, sizes: list[int]) -> Tensor:
        ctx.mine = slice(sum(sizes[: _rank()]), sum(sizes[: _rank() + 1]))  # type: ignore[attr-defined]
        if len(sizes) == 1:
            return rows.clone()
        # The collective wants equal sizes.
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in sizes]
        torch.distributed.all_gather(gathered, padded)
        return torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous()
        if _world_size() > 1:
            gradient = gradient.clone()
            torch.distributed.all_reduce(gradient)
        return gradient[ctx.mine], None  # type: ignore[attr-defined]


def _sizes_of_ranks(size: int, device: torch.device) -> list[int]:
    if _world_size() == 1:
        return [size]
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(_world_size())]
    torch.distributed.all_gather(sizes, torch.tensor([size], device=device))
    return [int(each) for each in sizes]


def _world_size() -> int:
    return torch.distributed.get_world_size() if _in_group() else 1


def _rank() -> int:
    return torch.distributed.get_rank() if _in_group() else 0


def _in_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
