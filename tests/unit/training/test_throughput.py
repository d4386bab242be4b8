import json
from pathlib import Path
from typing import Any

import pytest
import torch
from models import causal_model, chat_tokenizer
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel
from unit.training.line import Line, trainer

from rankfold.data.causal import collate_causal
from rankfold.errors import StoppedError
from rankfold.lifeline import Lifeline
from rankfold.tasks.generative_ner import GenerativeNER
from rankfold.training import flops, throughput
from rankfold.training.arguments import training_arguments
from rankfold.training.callbacks import ProgressCallback
from rankfold.training.checkpoints import resume_point
from rankfold.training.flops import peak_flops, training_flops
from rankfold.training.throughput import WORK, CountingCollator, Throughput, Work, work_of

TOKENIZER = chat_tokenizer()


def counted(rows: list[dict[str, Any]]) -> Work:
    collate = CountingCollator(lambda rows: collate_causal(rows, TOKENIZER), GenerativeNER().num_items)
    work = collate(rows)[WORK]
    assert isinstance(work, Work)
    return work


def test_padding_is_no_token() -> None:
    rows = [{"input_ids": [5] * 9, "labels": [-100] * 7 + [5] * 2}, {"input_ids": [5] * 3, "labels": [5] * 3}]
    assert counted(rows) == Work(items=4, examples=2, tokens=12, positions=32, squared_lengths=90)


def test_a_packed_row_holds_several_examples() -> None:
    row = {"input_ids": [5] * 9, "labels": [5] * 9, "position_ids": [0, 1, 0, 1, 2, 3, 0, 0, 1]}
    assert counted([row]) == Work(items=5, examples=4, tokens=9, positions=16, squared_lengths=25)


def test_every_text_of_a_row_counts() -> None:
    row = {"input_ids": [[1, 2], [1, 2, 3]], "positive_input_ids": [4], "token_type_ids": [0, 0]}
    batch = {"input_ids": torch.zeros(1, 2, 8), "positive_input_ids": torch.zeros(1, 8)}
    found = work_of([row], batch, 1)
    assert (found.tokens, found.positions, found.squared_lengths) == (6, 24, 14)


def test_what_a_collator_cuts_out_of_a_row_is_not_read() -> None:
    row = {"input_ids": [5] * 12}
    batch = {
        "input_ids": torch.zeros(1, 8),
        "attention_mask": torch.tensor([[1] * 6 + [0] * 2]),
    }
    found = work_of([row], batch, 1)
    assert (found.tokens, found.positions, found.squared_lengths) == (6, 8, 36)


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def step(of: Throughput, clock: Clock, work: Work, seconds: float) -> None:
    of.go_on()
    of.add(work)
    clock.now += seconds
    of.pause()


def test_only_the_time_of_steps_counts(clock: Clock) -> None:
    of = Throughput()
    step(of, clock, Work(examples=4, tokens=60, positions=100), 2.0)
    clock.now += 1000.0  # an evaluation
    step(of, clock, Work(examples=4, tokens=60, positions=60), 1.0)
    found = of.summary(lambda work: 30.0 * work.tokens, peak_flops=2400.0)
    assert found.pop("train_peak_memory_gb") > 0.05
    assert found == {
        "train_samples_per_second": 8 / 3,
        "train_tokens_per_second": 40.0,
        "train_seconds_per_step": 1.5,
        "train_num_tokens": 120,
        "train_padding_share": 0.25,
        "model_flops_utilization": 0.5,
    }


def test_what_is_told_along_the_way_is_the_speed_since_it_was_last_told(clock: Clock) -> None:
    of = Throughput()
    step(of, clock, Work(tokens=100), 1.0)
    assert of.tokens_per_second_since_log() == 100.0
    step(of, clock, Work(tokens=30), 3.0)
    assert of.tokens_per_second_since_log() == 10.0
    assert of.tokens_per_second_since_log() is None


def test_on_a_card_that_nobody_knows_nothing_is_said_of_its_use() -> None:
    assert "model_flops_utilization" not in Throughput().summary(lambda work: 1.0, peak_flops=None)


STEPS = 6
SETTINGS: dict[str, Any] = {
    "max_steps": STEPS,
    "gradient_accumulation_steps": 2,
    "logging_steps": 2,
    "save_steps": 100,
}


def test_counts_go_on_where_a_training_was_interrupted(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", Line(), **SETTINGS)
    whole.train()
    lifeline = Lifeline()
    stopped = trainer(tmp_path / "stopped", Line(), lifeline=lifeline, **SETTINGS)
    lifeline.ask_to_stop("time limit")
    with pytest.raises(StoppedError):
        stopped.train()
    resumed = trainer(tmp_path / "stopped", Line(), **SETTINGS)
    resumed.train(resume_from_checkpoint=str(resume_point(tmp_path / "stopped")))
    assert resumed.throughput.done == whole.throughput.done
    assert resumed.throughput.done.examples == STEPS * 2 * 2
    assert resumed.throughput.steps == whole.throughput.steps == STEPS
    assert resumed.throughput.seconds > stopped.throughput.seconds > 0


def test_speed_is_told_where_training_is_watched_and_is_no_part_of_its_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = trainer(
        tmp_path / "run", Line(), callbacks=[ProgressCallback(tmp_path / "progress.json")], **SETTINGS
    )
    of.train()
    assert "tokens/s" in capsys.readouterr().out
    assert json.loads((tmp_path / "progress.json").read_text())["tokens_per_second"] > 0
    assert not any("tokens_per_second" in entry for entry in of.state.log_history)


def multiplied(model: PreTrainedModel) -> int:
    """Weights that take part in products: all but norms' and biases', which are too few to matter."""
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_weight_and_token_takes_six_operations_and_a_frozen_weight_four() -> None:
    model = causal_model(TOKENIZER)
    weights = multiplied(model)  # the embedding is the output layer too
    attention = 12 * 2 * 32 * 50
    work = Work(tokens=10, squared_lengths=50)
    assert training_flops(model)(work) == 6 * weights * 10 + attention
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert training_flops(adapted)(work) == (4 * weights + 6 * trained) * 10 + attention


def test_an_embedding_that_is_only_looked_up_takes_no_operations() -> None:
    model = causal_model(TOKENIZER, tie_word_embeddings=False)
    looked_up = model.get_input_embeddings().weight.numel()
    assert training_flops(model)(Work(tokens=1)) == 6 * (multiplied(model) - looked_up)


def test_nothing_is_said_of_models_whose_operations_are_not_known() -> None:
    assert training_flops(Line())(Work(tokens=1)) is None


def test_the_peak_is_that_of_the_card_and_the_precision(tmp_path: Path) -> None:
    from models import recipe

    from rankfold.task_facts import task_facts

    def peak(card: str, dtype: torch.dtype, **train: Any) -> float | None:
        of = recipe("generative_ner", train=train)
        made = training_arguments(of, output_dir=tmp_path, run_id="t", task=task_facts("generative_ner"))
        return peak_flops(card, made, dtype)

    assert peak("NVIDIA H100 80GB HBM3", torch.float32, bf16=True) == 989e12
    assert peak("NVIDIA H100 PCIe", torch.bfloat16) == 756e12
    assert peak("NVIDIA A100-SXM4-80GB", torch.bfloat16) == 312e12
    assert peak("Tesla V100-SXM2-16GB", torch.float32) == 15.7e12
    assert peak("NVIDIA A1000", torch.bfloat16) is None
    assert peak("NVIDIA H100 80GB HBM3 MIG 1g.10gb", torch.bfloat16) is None
    assert all(half >= tf32 >= single for half, tf32, single in flops.PEAK_TFLOPS.values())
