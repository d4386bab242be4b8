"""Losses of given tokens, of encoder-decoders that do not shift labels but with a loss of their own."""

import pytest
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration, set_seed

from rankfold.data.collate import IGNORED_LABEL
from rankfold.evaluation.token_losses import token_losses

LABELS = [[7, 9, 11, 2], [8, 2, IGNORED_LABEL, IGNORED_LABEL]]


def test_a_model_that_shifts_labels_only_beside_its_loss_scores_them_all_the_same() -> None:
    set_seed(0)
    halves = {
        f"{side}_{name}": size
        for side in ("encoder", "decoder")
        for name, size in {"layers": 1, "attention_heads": 2, "ffn_dim": 32}.items()
    }
    model = M2M100ForConditionalGeneration(M2M100Config(vocab_size=32, d_model=16, init_std=0.5, **halves))
    model.eval()
    assert not hasattr(model, "prepare_decoder_input_ids_from_labels")
    inputs = {"input_ids": torch.tensor([[5, 6, 2], [6, 2, 1]])}
    inputs["attention_mask"] = (inputs["input_ids"] != 1).long()
    found = token_losses(model, inputs, torch.tensor(LABELS), "encoder-decoder")
    for row, labels in enumerate(LABELS):
        wanted = [label for label in labels if label != IGNORED_LABEL]
        alone = {name: values[row : row + 1] for name, values in inputs.items()}
        begun = torch.tensor([[model.config.decoder_start_token_id, *wanted[:-1]]])
        with torch.inference_mode():
            logits = model(**alone, decoder_input_ids=begun).logits[0].double()
        expected = -logits.log_softmax(dim=1)[range(len(wanted)), wanted].sum()
        assert found.loss[row] == pytest.approx(float(expected), rel=1e-5)
        assert found.num_tokens[row] == len(wanted)
