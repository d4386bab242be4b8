"""`launch plan` as people read it. Golden files: REWRITE_GOLDEN=1 pytest … writes them anew."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from launch import planning
from launch.cli import main
from launch.machine import Machine

GOLDEN = Path(__file__).parent / "golden"
RECIPE = """\
name: questions
task: extractive_qa
model: {name_or_path: some/encoder}
data:
  source: {path: "hub:some/squad", format: squad}
train:
  num_train_epochs: 2
  gradient_accumulation_steps: 2
evaluation: {shards: 3}
resources:
  train: {nodes: 2, gpus_per_node: 4, memory_gb: 64, time_limit_min: 240}
  evaluate: {gpus_per_node: 1}
"""
PROFILE = "partition: a100\nsetup: ['module load cuda', 'export NOTE=\"我的 笔记\"']\n"


@pytest.fixture(autouse=True)
def _small_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("LAUNCH_RUNS_DIR", raising=False)
    monkeypatch.setattr(planning, "this_machine", lambda: Machine(2))
    (tmp_path / "questions.yaml").write_text(RECIPE)
    (tmp_path / "lab.yaml").write_text(PROFILE)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("plan_local", ["--cluster", "local", "train.learning_rate=1e-4"]),
        ("plan_slurm", ["--cluster", "slurm", "--profile", "lab.yaml"]),
    ],
)
def test_a_plan_reads_like_its_golden_file_and_writes_nothing(
    name: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["plan", "questions.yaml", *arguments]) == 0
    text = capsys.readouterr().out
    text = text.replace(shlex.quote(sys.executable), "PYTHON").replace(str(tmp_path), "HERE")
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("REWRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert sorted(tmp_path.rglob("*")) == before


def test_all_shows_the_defaults_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "questions.yaml", "--all", "--no-scripts"]) == 0
    text = capsys.readouterr().out
    assert "train.max_grad_norm" in text
    assert "submitit" not in text


def test_json_has_recipe_sources_plan_and_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "questions.yaml", "--json", "--cluster", "slurm"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["recipe"]["name"] == "questions"
    assert plan["sources"]["name"] == "questions.yaml:1"
    assert plan["plan"]["world_size"] == 8
    # One for each sbatch, by its first job.
    first = {job["name"] for job in plan["plan"]["jobs"] if job["shard"] in (None, 0)}
    assert set(plan["scripts"]) == first


def test_data_that_is_not_here_leaves_the_steps_unknown_and_is_mentioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "questions.yaml").write_text(RECIPE.replace("hub:some/squad", "no.json"))
    assert main(["plan", "questions.yaml", "--no-scripts"]) == 0
    text = capsys.readouterr().out
    assert "optimizer steps     unknown until prepare" in text
    assert "note: the training examples cannot be counted: " in text


@pytest.mark.parametrize(
    ("packing", "said"),
    [
        ("false", "at least 2: what is longer than max_length becomes several rows"),
        ("true", "about 2 if each example were a row; prepare packs them"),
    ],
)
def test_steps_that_depend_on_how_long_texts_are_are_not_told_as_if_known(
    packing: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in ("texts.jsonl", "test.jsonl"):
        (tmp_path / file).write_text('{"text": "A text."}\n' * 16)
    (tmp_path / "texts.yaml").write_text(
        "name: texts\ntask: causal_lm\nmodel: {name_or_path: some/decoder}\n"
        "data:\n  train: {path: texts.jsonl, format: jsonl}\n  test: {path: test.jsonl, format: jsonl}\n"
        "train: {per_device_train_batch_size: 8, num_train_epochs: 1}\n"
    )
    assert main(["plan", "texts.yaml", "--no-scripts", f"train.packing={packing}", "--cluster", "local"]) == 0
    assert f"optimizer steps     {said}\n" in capsys.readouterr().out


QWEN = {
    "model_type": "qwen2",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
NER = """\
name: entities
task: generative_ner
model: {name_or_path: ./model, torch_dtype: bfloat16}
data:
  source: {path: no.jsonl, format: spans}
train: {bf16: true, gradient_checkpointing: true, per_device_train_batch_size: 1}
resources:
  train: {gpus_per_node: 4}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "entities.yaml").write_text(NER)
    (tmp_path / "lab.yaml").write_text("gpu_memory_gb: 16\n")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN))
    return folder


PLAN = ["plan", "entities.yaml", "--cluster", "slurm", "--profile", "lab.yaml", "--no-scripts"]


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(("gpu_memory_gb", "cheapest"), [(80, "ddp"), (16, "zero1"), (12, "zero2")])
def test_a_plan_names_the_strategy_with_the_least_communication_that_fits(
    gpu_memory_gb: int, cheapest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lab.yaml").write_text(f"gpu_memory_gb: {gpu_memory_gb}\n")
    assert main(PLAN) == 0
    text = capsys.readouterr().out
    assert "memory of a GPU: qwen2, 1,543.7 M parameters, 1,543.7 M of them trained" in text
    verdict = f"cheapest that fits 90% of {gpu_memory_gb} GB: {cheapest}; the recipe says ddp"
    assert verdict in text.splitlines()


@pytest.mark.usefixtures("model")
def test_a_plan_says_so_where_nothing_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab.yaml").write_text("gpu_memory_gb: 2\n")
    assert main(PLAN) == 0
    advice = "nothing fits 90% of 2 GB: lower train.per_device_train_batch_size or data.max_length"
    assert advice in capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("model")
def test_json_has_the_estimate_and_deepspeed_s_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["distributed.strategy=zero2", "distributed.deepspeed.wall_clock_breakdown=true"]
    assert main([*PLAN, "--json", *overrides]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["deepspeed"]["zero_optimization"]["stage"] == 2
    assert found["deepspeed"]["wall_clock_breakdown"] is True
    memory = found["memory"]
    assert (memory["total_parameters"], memory["gpu_memory_gb"]) == (1_543_714_304, 16)
    assert (memory["chosen"], memory["cheapest"]) == ("zero2", "zero1")
    for strategy in memory["strategies"]:
        parts = strategy["bytes"]
        assert sum(parts.values()) == 2 * parts["total"]
        assert strategy["fits"] == (parts["total"] <= 0.9 * 16e9)


@pytest.mark.usefixtures("model")
def test_a_plan_shows_deepspeed_s_configuration_by_the_keys_that_override_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*PLAN, "distributed={strategy: zero3, offload: parameters}"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if "zero_opt" in line)
    assert rows["zero_optimization.stage"] == "3"
    assert rows["zero_optimization.offload_param.device"] == "cpu"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (None, "its config.json cannot be read"),
        ({}, "its config.json names no model_type"),
        ({"model_type": "llama"}, "its config.json lacks 'hidden_size'"),
        (
            {"model_type": "mamba"},
            "mamba is an architecture that is not known here, and it has no safetensors",
        ),
        ({"model_type": "bert"}, "bert is an encoder, and generative_ner takes a language model"),
    ],
)
def test_where_nothing_is_known_about_a_model_nothing_is_guessed(
    config: dict[str, str] | None, reason: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "config.json").unlink()
    if config is not None:
        (model / "config.json").write_text(json.dumps(config))
    assert main(PLAN) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("memory  ")]
    assert line.startswith(f"memory              unknown: {model}: {reason}")


def test_an_unknown_architecture_has_parameters_from_its_files_and_no_verdict(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "config.json").write_text('{"model_type": "mamba"}')
    header = json.dumps({"a": {"shape": [1000, 3000]}, "b": {"shape": [1000]}, "__metadata__": {}}).encode()
    (model / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert main(PLAN) == 0
    text = capsys.readouterr().out
    assert "memory of a GPU: mamba, 3.0 M parameters, 3.0 M of them trained" in text
    assert "so nothing is said about what fits" in text
    assert "cheapest" not in text
