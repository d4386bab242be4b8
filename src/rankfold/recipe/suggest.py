"""What somebody meant by a key that recipes do not have."""

import difflib

from rankfold.recipe.describe import key_paths, keys_in_words
from rankfold.recipe.entries import listed

RENAMED = {
    "accumulate_grad_batches": "gradient_accumulation_steps",
    "base_model": "model.name_or_path",
    "batch_size": "per_device_train_batch_size",
    "beams": "num_beams",
    "clip_grad_norm": "max_grad_norm",
    "cpus": "cpus_per_task",
    "cpus_per_rank": "cpus_per_task",
    "cutoff_len": "max_length",
    "dataset": "data.source",
    "dtype": "torch_dtype",
    "epochs": "num_train_epochs",
    "eval_batch_size": "per_device_eval_batch_size",
    "eval_dataset": "data.validation",
    "evaluation_strategy": "eval_strategy",
    "gpus": "gpus_per_node",
    "grad_accum": "gradient_accumulation_steps",
    "gradient_accumulation": "gradient_accumulation_steps",
    "gradient_clipping": "max_grad_norm",
    "label_list": "labels",
    "lora": "model.adapter",
    "lora_r": "model.adapter.r",
    "lora_rank": "model.adapter.r",
    "lora_target": "target_modules",
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "max_epochs": "num_train_epochs",
    "max_eval_samples": "max_validation_examples",
    "max_predict_samples": "max_test_examples",
    "max_seq_len": "max_length",
    "max_seq_length": "max_length",
    "max_train_samples": "max_train_examples",
    "mem": "memory_gb",
    "mem_gb": "memory_gb",
    "memory": "memory_gb",
    "micro_batch_size": "per_device_train_batch_size",
    "model_id": "model.name_or_path",
    "model_max_length": "max_length",
    "model_name": "model.name_or_path",
    "model_name_or_path": "model.name_or_path",
    "n_best": "n_best_size",
    "ntasks_per_node": "tasks_per_node",
    "num_epochs": "num_train_epochs",
    "num_gpus": "gpus_per_node",
    "num_nodes": "nodes",
    "num_shards": "evaluation.shards",
    "optimizer": "optim",
    "peft": "model.adapter",
    "peft_config": "model.adapter",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "rank": "model.adapter.r",
    "run_name": "name",
    "scheduler": "lr_scheduler_type",
    "time": "time_limit_min",
    "time_limit": "time_limit_min",
    "timeout_min": "time_limit_min",
    "train_batch_size": "per_device_train_batch_size",
    "train_dataset": "data.train",
    "train_file": "data.train.path",
    "train_micro_batch_size_per_gpu": "per_device_train_batch_size",
    "validation": "data.validation",
    "validation_file": "data.validation.path",
    "walltime": "time_limit_min",
}
"""Names from older transformers and other tools → the key here, or its whole path."""

_VALUES = {
    "bf16": "bfloat16",
    "deepspeed": "zero2",
    "flash_attention": "flash_attention_2",
    "fp16": "float16",
    "fp32": "float32",
    "fsdp": "zero3",
    "half": "float16",
    "classification": "text_classification",
    "clm": "causal_lm",
    "mlm": "masked_lm",
    "ner": "generative_ner",
    "sft": "instruction",
    "summarization": "seq2seq",
    "translation": "seq2seq",
    "qa": "extractive_qa",
    "question_answering": "extractive_qa",
    "single": "none",
}
"""Other words for some of the values that a field offers."""

_RUN_FOLDER = "everything goes to the run's own folder; leave it out"
_STAGES = "every run prepares, trains, evaluates and merges; leave it out"
_PROFILE = "what differs between clusters is in a profile, slurm/profiles/*.yaml"
_QUANTISED = "set model.quantization, such as {bits: 4}, and a model.adapter"
_RANKS = "ranks follow from resources.train: nodes times gpus_per_node"

EXPLAINED = {
    "account": _PROFILE,
    "constraint": _PROFILE,
    "do_eval": _STAGES,
    "do_predict": _STAGES,
    "do_train": _STAGES,
    "extends": "only the top of a recipe file may extend another",
    "load_in_4bit": _QUANTISED,
    "load_in_8bit": _QUANTISED,
    "local_rank": _RANKS,
    "logging_dir": _RUN_FOLDER,
    "logging_strategy": "the loss is logged by steps; set train.logging_steps",
    "num_processes": _RANKS,
    "output_dir": _RUN_FOLDER,
    "overwrite_output_dir": _RUN_FOLDER,
    "partition": _PROFILE,
    "qos": _PROFILE,
    "quantization_config": _QUANTISED,
    "resume_from_checkpoint": "an interrupted run goes on from its newest checkpoint by itself",
    "save_strategy": "checkpoints are written by steps; set train.save_steps",
    "stage": "set distributed.strategy to zero1, zero2 or zero3",
    "warmup_ratio": "set train.warmup_steps; below 1 it is a share of all steps",
    "world_size": _RANKS,
    "zero_stage": "set distributed.strategy to zero1, zero2 or zero3",
}
"""Names that have no counterpart here → what to do instead."""


def close_option(value: str, options: list[str]) -> str | None:
    """Which of the options somebody meant by a value, if one comes close."""
    if _VALUES.get(value) in options:
        return _VALUES[value]
    return next(iter(difflib.get_close_matches(value, options, n=1)), None)


def suggestion(section: tuple[str, ...], key: str) -> str:
    """Say what to write instead of an unknown key of a section: a hint, a key, or all that is allowed."""
    name = key.lower().replace("-", "_")
    if name in EXPLAINED:
        return EXPLAINED[name]
    paths = list(key_paths())
    siblings = {path[-1]: path for path in paths if path[:-1] == section}
    meant = _meant(name, section, siblings, paths)
    if meant:
        return f"did you mean {listed(meant)}?"
    return f"allowed here: {keys_in_words(list(siblings))}"


def _meant(
    name: str,
    section: tuple[str, ...],
    siblings: dict[str, tuple[str, ...]],
    paths: list[tuple[str, ...]],
) -> list[str]:
    if "." in name:
        nested = [path for path in paths if ".".join(path) == name]
        return [f"{path[0]}: {{{': {'.join(path[1:])}: …{'}' * (len(path) - 1)}" for path in nested]
    wanted = tuple(RENAMED.get(name, name).split("."))
    if wanted[-1] in siblings and (len(wanted) == 1 or siblings[wanted[-1]] == wanted):
        return [".".join(siblings[wanted[-1]])]
    elsewhere = [path for path in paths if path[-len(wanted) :] == wanted]
    if elsewhere:
        below = [path for path in elsewhere if section and path[: len(section)] == section]
        # The most likely of the stages: `gpus_per_node` at the top is about training.
        training = [path for path in elsewhere if path[:2] == ("resources", "train")]
        return [".".join(path) for path in below or training or elsewhere]
    close = difflib.get_close_matches(name, siblings, n=1)
    if close:
        return [".".join(siblings[close[0]])]
    leaves = {path[-1]: path for path in reversed(paths)}
    return [".".join(leaves[leaf]) for leaf in difflib.get_close_matches(name, leaves, n=1, cutoff=0.8)]
