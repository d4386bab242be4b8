"""What test_embedding.py has every rank do: a step of training as the trainer makes it, on its share."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from models import recipe
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModel, AutoTokenizer

from rankfold.data.examples import TextPairExample
from rankfold.ranks import ranks
from rankfold.tasks.embedding import Embedding

TASK = Embedding()
TEXTS = (
    TextPairExample("a", "Who lives in Ulm?", "Anna Keller lives in Ulm.", ("Paul moved to Vienna.",)),
    TextPairExample("b", "Where does the river flow?", "The river flows to the sea."),
    TextPairExample("c", "Who paints bridges?", "Paul paints bridges.", ("The bakery Sonne.", "Ulm")),
    TextPairExample("d", "the old town", "The Black Forest", score=0.25),
    TextPairExample("e", "Who lives there?", "Anna Keller lives in Ulm."),
    TextPairExample("f", "张三住在", "张三住在北京"),
)


def step(shares: Sequence[int], encoder: Path, folder: Path) -> None:
    """Compute loss and gradients of `TEXTS`, of which each rank has as many as its share says."""
    # Read, since a tokenizer that every rank trains for itself is another one on every rank.
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder).eval()
    here = ranks()
    first = sum(shares[: here.rank])
    mine = TEXTS[first : first + shares[here.rank]]
    columns = TASK.training_features(mine, tokenizer, recipe("embedding"), ()).columns
    rows = [{name: values[row] for name, values in columns.items()} for row in range(len(mine))]
    wrapped = DistributedDataParallel(model) if here.world_size > 1 else model
    batch = TASK.collate(rows, tokenizer)
    total = torch.zeros(())
    for _ in range(2):  # DistributedDataParallel complains of weights without a gradient in the next step
        model.zero_grad()
        loss, _ = TASK.loss(wrapped, batch)
        # As the trainer: the mean over all ranks' anchors, times the ranks over which gradients are averaged.
        scaled = loss * (TASK.num_items(batch) / len(TEXTS) * here.world_size)
        scaled.backward()  # type: ignore[no-untyped-call]
        total = scaled.detach() / here.world_size
    if here.world_size > 1:
        torch.distributed.all_reduce(total)
    gradients = {
        name: [float(parameter.grad.double().sum()), float(parameter.grad.double().norm())]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    if here.is_main:
        (folder / f"{'-'.join(map(str, shares))}.json").write_text(
            json.dumps({"loss": float(total), "gradients": gradients})
        )
