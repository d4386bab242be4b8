"""Turn a GGUF file into an ordinary folder of safetensors that transformers can train."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rankfold import atomic


def convert_gguf(gguf: Path, target: Path) -> None:
    """Dequantise a causal language model to float32 and write it with its tokenizer to `target`.

    The Trainer refuses a model that says it is quantised, although its weights are plain floats
    once loaded, and so does `save_pretrained`: the marks are taken off before saving.
    """
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model.hf_quantizer = None
    for mark in ("is_quantized", "quantization_method"):
        if hasattr(model, mark):
            delattr(model, mark)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with atomic.folder_once(target) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
