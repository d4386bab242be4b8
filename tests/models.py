"""Tiny models, tokenizers and recipes, made on the spot: no test of them needs a download."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordPiece
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer, WordPieceTrainer
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    set_seed,
)

from rankfold.recipe.schema import Recipe

CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = (
    "Anna Keller lives in Ulm and works for the bakery Sonne.",
    "The river Danube flows from the Black Forest to the sea.",
    "Who lives in the old town? Where does the river end?",
    "Paul moved from Berlin to Vienna, where he paints bridges.",
    "张三住在北京，李四在上海工作。",
    '{"text": "Ulm", "label": "place"}',
)
END_OF_TURN, END_OF_TEXT = "<|im_end|>", "<|endoftext|>"
PAD, UNKNOWN, CLS, SEP = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
CLS_FIRST = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
CLS_LAST = ("$A [SEP] [CLS]", "$A [SEP] $B:1 [SEP]:1 [CLS]:1")


def chat_tokenizer(template: str | None = CHATML) -> PreTrainedTokenizerBase:
    """Byte-level BPE whose turns end with `<|im_end|>` and whose padding is `<|endoftext|>`."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS * 3,
        BpeTrainer(
            vocab_size=384,
            show_progress=False,
            special_tokens=[END_OF_TEXT, "<|im_start|>", END_OF_TURN],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        chat_template=template,
    )


def encoder_tokenizer(
    templates: tuple[str, str] | None = CLS_FIRST, *, padding_side: str = "right"
) -> PreTrainedTokenizerBase:
    """WordPiece as BERT has it; `templates` place [CLS] and [SEP], None leaves both out."""
    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [PAD, UNKNOWN, CLS, SEP]
    trainer = WordPieceTrainer(vocab_size=200, show_progress=False, special_tokens=special)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    if templates is not None:
        ids = [(token, tokenizer.token_to_id(token)) for token in (CLS, SEP)]
        single, pair = templates
        tokenizer.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=CLS if templates else None,
        sep_token=SEP if templates else None,
        padding_side=padding_side,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def causal_model(tokenizer: PreTrainedTokenizerBase, **settings: Any) -> PreTrainedModel:
    """Qwen2 with two layers and random weights, large enough that its tokens differ in probability."""
    set_seed(0)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
    }
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), **(shape | settings))).eval()


def absolute_causal_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """GPT-2 with two layers and random weights: unlike Qwen2, it notices where a token stands."""
    set_seed(0)
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.2}
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape)).eval()


def encoder_model(tokenizer: PreTrainedTokenizerBase, *, kind: str = "bert") -> PreTrainedModel:
    """BERT or DistilBERT with two layers, random weights and no head."""
    set_seed(0)
    size = len(tokenizer)
    if kind == "distilbert":
        small = DistilBertConfig(vocab_size=size, dim=32, hidden_dim=64, n_layers=2, n_heads=4)
        return DistilBertModel(small).eval()
    config = BertConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.2,
    )
    return BertModel(config).eval()


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    """Write model and tokenizer as a hub model comes: configuration, safetensors, tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def unpack_qwen2_tokenizer(packed: Path, folder: Path) -> PreTrainedTokenizerBase:
    """Load Qwen2's real tokenizer from its gzipped files."""
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes(gzip.decompress((packed / f"{name}.gz").read_bytes()))
    for name in ("tokenizer_config.json", "config.json"):
        (folder / name).write_bytes((packed / name).read_bytes())
    return AutoTokenizer.from_pretrained(folder)


def recipe(task: str, folder: Path | str = "somewhere/model", /, **sections: dict[str, Any] | int) -> Recipe:
    """A recipe whose sections hold only what a test is about."""
    data_format = "squad" if task == "extractive_qa" else "spans"
    values: dict[str, Any] = {
        "name": "tiny",
        "task": task,
        "model": {"name_or_path": str(folder)},
        "data": {"source": {"path": "unread", "format": data_format}},
    }
    for name, section in sections.items():
        values[name] = values.get(name, {}) | section if isinstance(section, dict) else section
    return Recipe.model_validate_json(json.dumps(values))


def same_weights(first: Path, second: Path) -> bool:
    """Whether two model folders hold the same tensors, bit by bit."""
    from safetensors.torch import load_file

    one, other = (load_file(next(folder.glob("*.safetensors"))) for folder in (first, second))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def ignore(_: object) -> None:
    """For a callback that a test has no use for."""


def columns(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns, the way data sets are built."""
    listed = list(rows)
    return {name: [row[name] for row in listed] for name in listed[0]}
