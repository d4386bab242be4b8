"""A T5 and its tokenizer made on the spot, with sentinels; also in the size that learns a real task."""

from collections.abc import Iterable
from typing import Any

from models import CORPUS
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
NUM_SENTINELS = 20


def t5_tokenizer(
    texts: Iterable[str] = CORPUS * 3, *, vocab_size: int = 384, num_sentinels: int = NUM_SENTINELS
) -> PreTrainedTokenizerBase:
    """Byte-level BPE of `texts`, laid out as T5's: padding, end and unknown first, sentinels last."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=vocab_size,
            show_progress=False,
            special_tokens=[PAD, END, UNKNOWN],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN
    )
    # T5's sentinels count down to the end of the vocabulary: the first is the last token.
    sentinels = [f"<extra_id_{number}>" for number in reversed(range(num_sentinels))]
    made.add_special_tokens({"additional_special_tokens": sentinels})
    return made


def t5_model(tokenizer: PreTrainedTokenizerBase, **settings: Any) -> PreTrainedModel:
    """T5 v1.1's architecture with two layers a side and random weights; `settings` as T5Config's."""
    set_seed(0)
    shape = {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    config = T5Config(vocab_size=len(tokenizer), **(shape | settings))
    return T5ForConditionalGeneration(config).eval()
