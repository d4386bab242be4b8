"""How many rows a model may compute logits for in one pass."""

from transformers import PreTrainedModel

LOGITS_AT_A_TIME = 2**28
"""Logits of one pass: 1 GiB in float32. All of a batch's would take many times the model's memory."""


def rows_of_one_pass(model: PreTrainedModel, num_tokens: int) -> int:
    """As many rows of so many tokens as `LOGITS_AT_A_TIME` allows, at least one.

    It depends on the shapes alone, so that the same batch always gives the same bits.
    """
    num_logits = num_tokens * int(model.config.get_text_config().vocab_size)
    return max(1, LOGITS_AT_A_TIME // num_logits)
