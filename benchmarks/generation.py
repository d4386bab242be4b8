"""Several sequences a text, with their probabilities: sharing each prompt against reading it again.

    python benchmarks/generation.py [--texts 16] [--max-new-tokens 32] [--rounds 3]

Without sharing, `generate` reads a prompt once for every beam or sample, and once more for every
probability. Both ways take turns on the same prompts; one text at a time is measured once, for scale. On a
CPU the clock is the process's own and there is one thread, so that what else the machine does counts
little. The model is the quickstart's, before training.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from rankfold.data.chat import prompt_ids, stop_ids
from rankfold.entities.prompt import messages, wording
from rankfold.evaluation.generation import generate
from rankfold.modeling.load import load_model, load_tokenizer
from rankfold.modeling.sources import model_folder
from rankfold.recipe.load import load_recipe
from rankfold.recipe.schema import Evaluation, Recipe

REPOSITORY = Path(__file__).resolve().parent.parent
RECIPE = REPOSITORY / "recipes" / "quickstart.yaml"
TEXTS = REPOSITORY / "recipes" / "data" / "quickstart_ner_test.jsonl"
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "2 beams": {"num_beams": 2, "num_return_sequences": 2},
    "4 beams": {"num_beams": 4, "num_return_sequences": 4},
    "4 samples": {"do_sample": True, "num_return_sequences": 4},
}


@dataclass(frozen=True)
class Setup:
    """What is the same for every way of generating."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prompts: Sequence[Sequence[int]]
    stop_ids: Sequence[int]


def shared(setup: Setup, settings: Evaluation) -> int:
    """Generate as an evaluation does; return the number of generated tokens."""
    batches = generate(setup.model, setup.tokenizer, setup.prompts, settings, stop_ids=setup.stop_ids, seed=0)
    return sum(sequence.num_tokens for batch in batches for sequence in batch)


@torch.inference_mode()
def unshared(setup: Setup, settings: Evaluation) -> int:
    """Let `generate` repeat the prompts, and score whole sequences; return the generated tokens."""
    order = sorted(setup.prompts, key=len, reverse=True)
    size = settings.per_device_eval_batch_size
    return sum(
        unshared_batch(setup, order[start : start + size], settings) for start in range(0, len(order), size)
    )


def unshared_batch(setup: Setup, prompts: Sequence[Sequence[int]], settings: Evaluation) -> int:
    """Generate for one batch, then read prompts and answers again for the probabilities."""
    pad_id = int(setup.tokenizer.pad_token_id)
    ids, mask = padded(prompts, pad_id)
    config = GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.num_beams,
        num_return_sequences=settings.num_return_sequences,
        do_sample=settings.do_sample,
        eos_token_id=list(setup.stop_ids),
        pad_token_id=pad_id,
        **({"top_k": 0} if settings.do_sample else {}),
    )
    setup.model.generation_config = config
    device = setup.model.device
    sequences = setup.model.generate(
        input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=config
    )
    generated = sequences[:, ids.shape[1] :]
    ended = torch.isin(generated, torch.tensor(setup.stop_ids, device=device)).cumsum(dim=1)
    real = torch.cat([torch.ones_like(ended[:, :1]), ended[:, :-1] == 0], dim=1).long()
    prompt_mask = mask.to(device).repeat_interleave(settings.num_return_sequences, dim=0)
    log_probabilities(setup.model, sequences, torch.cat([prompt_mask, real], dim=1), generated)
    return int(real.sum())


def log_probabilities(model: PreTrainedModel, sequences: Tensor, mask: Tensor, generated: Tensor) -> Tensor:
    """Return float64 (num_sequences,) by one pass over whole sequences."""
    length = generated.shape[1]
    logits = model(
        input_ids=sequences,
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        logits_to_keep=length + 1,
        use_cache=False,
    ).logits[:, :-1]
    each = logits.float().log_softmax(dim=2).gather(2, generated.unsqueeze(2)).squeeze(2)
    total: Tensor = (each * mask[:, -length:]).double().sum(dim=1)
    return total


def padded(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask, padded on the left."""
    longest = max(map(len, prompts))
    rows = [[pad_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(rows), torch.tensor(mask)


def set_up(recipe: Recipe, num_texts: int) -> Setup:
    """Load the recipe's model and prepare prompts for the first texts."""
    folder = model_folder(recipe.model)
    tokenizer = load_tokenizer(folder)
    model = load_model(folder, recipe.model, "AutoModelForCausalLM").model.eval()
    words = wording(recipe.prompt)
    texts = [json.loads(line)["text"] for line in TEXTS.read_text("utf-8").splitlines()[:num_texts]]
    prompts = [prompt_ids(tokenizer, messages(text, recipe.data.labels, words)) for text in texts]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    return Setup(model.to(device), tokenizer, prompts, stop_ids(tokenizer))


def main() -> None:
    """Measure every search, print one table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    arguments = parser.parse_args()
    recipe = load_recipe(RECIPE).recipe
    setup = set_up(recipe, arguments.texts)
    print_setup(setup, arguments.rounds, arguments.max_new_tokens)
    for name in arguments.searches:
        changes = {"max_new_tokens": arguments.max_new_tokens, **SEARCHES[name]}
        batched = Evaluation(per_device_eval_batch_size=arguments.texts, **changes)
        single = Evaluation(per_device_eval_batch_size=1, **changes)
        one_by_one = measured([partial(unshared, setup, single)], setup, 1)
        in_batches = [partial(unshared, setup, batched), partial(shared, setup, batched)]
        print_row(name, [*one_by_one, *measured(in_batches, setup, arguments.rounds)])


def measured(ways: Sequence[Callable[[], int]], setup: Setup, rounds: int) -> list[tuple[float, int]]:
    """Return each way's median seconds, taken in turns, and how many tokens it generated."""
    clock = time.perf_counter if setup.model.device.type == "cuda" else time.process_time
    seconds: list[list[float]] = [[] for _ in ways]
    tokens = [0] * len(ways)
    for _ in range(rounds):
        for index, way in enumerate(ways):
            started = clock()
            tokens[index] = way()  # a number of the host's: the device has finished
            seconds[index].append(clock() - started)
    return [(statistics.median(taken), count) for taken, count in zip(seconds, tokens, strict=True)]


def print_setup(setup: Setup, rounds: int, max_new_tokens: int) -> None:
    """Say what the figures were taken on, and head the table."""
    device = torch.cuda.get_device_name() if setup.model.device.type == "cuda" else platform.machine()
    lengths = [len(prompt) for prompt in setup.prompts]
    print(
        f"{platform.platform()}, {device}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, {setup.model.config.model_type} of {setup.model.num_parameters():,} "
        f"parameters in {setup.model.dtype}"
    )
    print(
        f"{len(lengths)} prompts of {min(lengths)}–{max(lengths)} tokens, up to {max_new_tokens} new tokens, "
        f"medians of {rounds} rounds"
    )
    print(f"{'':<10} {'one by one':>22} {'batch, unshared':>22} {'batch, shared':>22} {'× unshared':>11}")


def print_row(name: str, taken: Sequence[tuple[float, int]]) -> None:
    """Print a search's seconds and tokens, and how many times faster sharing is."""
    cells = " ".join(f"{seconds:>10.2f} s {tokens:>5} tok" for seconds, tokens in taken)
    (unshared_seconds, _), (shared_seconds, _) = taken[1:]
    print(f"{name:<10} {cells} {unshared_seconds / shared_seconds:>11.2f}", flush=True)


if __name__ == "__main__":
    main()
