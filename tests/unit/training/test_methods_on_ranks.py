"""Each method and task on two ranks: it learns what one rank learns, and what it leaves is whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from models import causal_model, chat_tokenizer, encoder_model, encoder_tokenizer, save
from ranks import on_ranks
from safetensors import safe_open
from tiny_t5 import t5_model, t5_tokenizer
from transformers import (
    LongformerConfig,
    LongformerForMaskedLM,
    PreTrainedTokenizerBase,
    SwitchTransformersConfig,
    SwitchTransformersForConditionalGeneration,
)
from unit.training.methods_on_ranks import RANKS, Case, records, reloaded, train_each, trained

from rankfold.run_folder import RunFolder
from rankfold.training.unused import unused_weights

TOLERANCE = 1e-4
"""Relative. Sums over ranks are taken in another order; seen: 5e-6."""

LOWEST = {"num_frozen_layers": 1}
SPARINGLY = {"gradient_checkpointing": True}
# An expert that sees no token has a gradient of zeros under ZeRO-3, and none without: AdamW makes them two.
WITHOUT_MEMORY = {"optim": "sgd"}
CASES = {
    "prefix": Case("causal", "instruction", "prefix_tuning"),
    "prompt-checkpointed": Case("causal", "instruction", "prompt_tuning", train=SPARINGLY),
    "p-tuning": Case("t5", "seq2seq", "p_tuning"),
    "denoising": Case("t5", "denoising"),
    "ia3": Case("bert", "multiple_choice", "ia3"),
    "embedding": Case("bert", "embedding", "prompt_tuning"),
    "frozen": Case("bert", "masked_lm", model=LOWEST),
    "distilled": Case("bert", "text_classification", learns_from="teacher"),
    "unused": Case("longformer", "masked_lm"),
    "unused-lora": Case("longformer", "masked_lm", "lora"),
    "experts": Case("switch", "denoising"),
    "zero2-prefix": Case("causal", "instruction", "prefix_tuning", "zero2"),
    "zero2-frozen": Case("t5", "seq2seq", strategy="zero2", model=LOWEST),
    "zero2-distilled": Case("bert", "text_classification", strategy="zero2", learns_from="teacher"),
    "zero2-unused": Case("longformer", "masked_lm", strategy="zero2"),
    "zero3-lora": Case("bert", "masked_lm", "lora", "zero3"),
    "zero3-lora-checkpointed": Case("causal", "instruction", "lora", "zero3", train=SPARINGLY),
    "zero3-experts": Case("switch", "denoising", strategy="zero3", train=WITHOUT_MEMORY),
    "zero3-frozen": Case("bert", "text_classification", strategy="zero3", model=LOWEST),
}
# Merged, or with experts of a token or two: the last bit may be another.
SAID_THE_SAME = [name for name in CASES if "zero3-lora" not in name and "experts" not in name]
WITH_FROZEN = [name for name, case in CASES.items() if case.method != "full" or case.model]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny models that are trained, and a teacher."""
    folder = tmp_path_factory.mktemp("bases")
    chat, words, sentinels = chat_tokenizer(), encoder_tokenizer(), t5_tokenizer()
    words.add_special_tokens({"mask_token": "[MASK]"})
    save(causal_model(chat), chat, folder / "causal")
    save(encoder_model(words), words, folder / "bert")
    save(t5_model(sentinels), sentinels, folder / "t5")
    save(longformer(len(words)), words, folder / "longformer")
    save(switch(sentinels), sentinels, folder / "switch")
    trained(folder / "taught", Case("bert", "text_classification"), folder)
    RunFolder(folder / "taught").model.rename(folder / "teacher")
    return folder


def longformer(vocab_size: int) -> LongformerForMaskedLM:
    """Its weights for global attention are there, and no token here has any."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LongformerConfig(vocab_size=vocab_size, attention_window=8, pad_token_id=0, **shape)
    return LongformerForMaskedLM(config).eval()


def switch(tokenizer: PreTrainedTokenizerBase) -> SwitchTransformersForConditionalGeneration:
    """Each of its experts sees tokens of the first two texts, and not of all others."""
    torch.manual_seed(40)
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 4, "num_experts": 3}
    decoder = {"num_decoder_layers": 1, "decoder_start_token_id": tokenizer.pad_token_id}
    sparse = {"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}
    config = SwitchTransformersConfig(
        vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **shape, **decoder, **sparse
    )
    return SwitchTransformersForConditionalGeneration(config).eval()


@pytest.fixture(scope="module")
def on_two_ranks(bases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every case was trained."""
    folder = tmp_path_factory.mktemp("ranks")
    on_ranks(RANKS, train_each, folder, folder, CASES, bases)
    return folder


def result(folder: Path, case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{case}.json").read_text())
    return found


@pytest.fixture(scope="module")
def on_one_rank(bases: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], list[float]]:
    """The losses of a case on one rank, where strategies make no difference."""
    found: dict[str, list[float]] = {}

    def losses(case: Case) -> list[float]:
        alone = replace(case, strategy="ddp")
        if str(alone) not in found:
            # Texts of a batch are compared with each other, those of accumulated ones are not.
            size = (
                "per_device_train_batch_size" if case.task == "embedding" else "gradient_accumulation_steps"
            )
            # Computing activations again must change nothing either.
            settings = {size: RANKS, "gradient_checkpointing": False}
            folder = tmp_path_factory.mktemp("alone")
            found[str(alone)] = trained(folder, alone, bases, **settings)["losses"]
        return found[str(alone)]

    return losses


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_learn_what_one_learns(
    case: str, on_two_ranks: Path, on_one_rank: Callable[[Case], list[float]]
) -> None:
    alone = on_one_rank(CASES[case])
    assert result(on_two_ranks, case)["losses"] == pytest.approx(alone, rel=TOLERANCE)
    assert alone[-1] != pytest.approx(alone[0], rel=10 * TOLERANCE)


@pytest.mark.parametrize("case", SAID_THE_SAME)
def test_what_was_trained_on_two_ranks_says_the_same_when_it_is_loaded(
    case: str, bases: Path, on_two_ranks: Path
) -> None:
    model = reloaded(on_two_ranks / case, CASES[case], bases)
    assert records(model, CASES[case], bases).hex() == result(on_two_ranks, case)["records"]


@pytest.mark.parametrize("case", WITH_FROZEN)
def test_what_is_frozen_stays_as_it_was(case: str, on_two_ranks: Path) -> None:
    frozen = result(on_two_ranks, case)["frozen"]
    assert len(frozen) >= 12
    assert all(frozen.values()), frozen


def test_sharded_weights_are_saved_under_their_own_names(on_two_ranks: Path) -> None:
    (file,) = RunFolder(on_two_ranks / "zero3-frozen").model.glob("*.safetensors")
    with safe_open(file, framework="pt") as tensors:
        names = set(tensors.keys())
    assert "bert.embeddings.LayerNorm.weight" in names
    assert not any(name.endswith((".gamma", ".beta")) for name in names)


def test_looking_for_unused_weights_finds_those_that_are_trained_and_changes_nothing() -> None:
    model = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in ("used", "frozen", "unused")})
    model["frozen"].requires_grad_(False)
    state = torch.get_rng_state()
    found = unused_weights(model, lambda: model["frozen"](model["used"](torch.randn(3, 2))).square().sum())
    assert found == ["unused.weight", "unused.bias"]
    assert not any(weight.requires_grad for weight in model["frozen"].parameters())
    assert all(weight.requires_grad for name in ("used", "unused") for weight in model[name].parameters())
    assert torch.equal(torch.get_rng_state(), state)
