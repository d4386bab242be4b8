"""Logits of the ends of texts are made in one product, and are what they are without."""

from pathlib import Path
from typing import Any

import torch
from models import recipe
from torch.profiler import ProfilerActivity, profile

from rankfold.modeling.load import load_model

INPUTS = {"input_ids": torch.arange(2, 26).reshape(2, 12), "logits_to_keep": 4}


def loaded(folder: Path) -> Any:
    return (
        load_model(folder, recipe("causal_lm").model, "AutoModelForCausalLM")
        .model.eval()
        .requires_grad_(False)
    )


def test_the_weights_are_not_copied_for_each_text(causal_folder: Path) -> None:
    model = loaded(causal_folder)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        model.get_output_embeddings()(torch.zeros(2, 12, model.config.hidden_size)[:, -4:])
    names = {event.name for event in found.events()}
    assert "aten::mm" in names
    assert "aten::bmm" not in names


def test_logits_are_those_of_the_whole_texts(causal_folder: Path) -> None:
    model = loaded(causal_folder)
    whole = model(INPUTS["input_ids"]).logits
    assert torch.allclose(model(**INPUTS).logits, whole[:, -4:], atol=1e-6)
