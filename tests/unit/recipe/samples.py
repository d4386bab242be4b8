"""Recipes that several tests start from."""

from pathlib import Path

TINY = """\
name: tiny
task: generative_ner
model: {name_or_path: some/model}
data:
  train: {path: train.jsonl, format: spans}
  test: {path: test.jsonl, format: spans}
"""
"""The shortest recipe there is; six lines."""

QWEN_NER = """\
name: qwen-ner
task: generative_ner
model:
  name_or_path: Qwen/Qwen2-1.5B-Instruct
  torch_dtype: bfloat16
  adapter: {method: lora, r: 8, lora_alpha: 32, lora_dropout: 0.1,
            target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]}
data:
  source: {path: data/ccfbdci.jsonl, format: ccfbdci}
  split: {train: 0.9, test: 0.1, seed: 42}
  labels: [地点, 人名, 地理实体, 组织]
  max_length: 384
train:
  num_train_epochs: 2
  learning_rate: 1.0e-4
  per_device_train_batch_size: 4
  gradient_accumulation_steps: 4
  gradient_checkpointing: true
distributed: {strategy: zero2}
evaluation: {n_best_size: 20, num_return_sequences: 4, shards: 8}
resources:
  train: {nodes: 2, gpus_per_node: 4, cpus_per_gpu: 8, memory_gb: 256, time_limit_min: 240}
  evaluate: {gpus_per_node: 1, time_limit_min: 60}
tracking: {report_to: [swanlab]}
"""
"""The example of the design document."""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
