"""What DeepSpeed's configuration may hold: our own table, so that a recipe is checked without importing it.

DeepSpeed itself ignores most misspelled keys. A test compares the table with the installed version.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What a value may be.

    Args:
        words: The kind as a message says it.
        types: Python types that YAML gives; a bool is no number.
        options: The values allowed, where there are but a few.
        auto: Whether `auto` is allowed too: transformers fills it in from the model's size.
    """

    words: str
    types: tuple[type, ...] = ()
    options: tuple[str, ...] = ()
    auto: bool = False

    def allows(self, value: object) -> bool:
        if self.auto and value == "auto":
            return True
        if self.options:
            return value in self.options
        # DeepSpeed's own examples write 5e8 for a number of elements.
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        return isinstance(whole, self.types) and isinstance(whole, bool) == (bool in self.types)


TRUTH = Kind("true or false", (bool,))
WHOLE = Kind("a whole number", (int,))
WHOLE_OR_AUTO = Kind("a whole number or auto", (int,), auto=True)
NUMBER = Kind("a number", (int, float))
TEXT = Kind("text", (str,))
TEXTS = Kind("a list of text", (list,))
DTYPE = Kind("one of fp32, fp16 or bf16", options=("fp32", "fp16", "bf16"))
_DEVICE = Kind("one of none, cpu or nvme", options=("none", "cpu", "nvme"))

Table = dict[str, Any]
"""Key → its Kind, or the Table of a section."""

_OFFLOAD: Table = {"device": _DEVICE, "nvme_path": TEXT, "buffer_count": WHOLE, "pin_memory": TRUTH}

_ZERO: Table = {
    "contiguous_gradients": TRUTH,
    "reduce_scatter": TRUTH,
    "reduce_bucket_size": WHOLE_OR_AUTO,
    "use_multi_rank_bucket_allreduce": TRUTH,
    "allgather_partitions": TRUTH,
    "allgather_bucket_size": WHOLE,
    "overlap_comm": TRUTH,
    "compute_grad_norm": TRUTH,
    "load_from_fp32_weights": TRUTH,
    "offload_param": {**_OFFLOAD, "buffer_size": WHOLE, "max_in_cpu": WHOLE},
    "offload_optimizer": {
        **_OFFLOAD,
        "pipeline_read": TRUTH,
        "pipeline_write": TRUTH,
        "fast_init": TRUTH,
        "ratio": NUMBER,
        "super_offload": TRUTH,
        "cpuadam_cores_perc": NUMBER,
    },
    "sub_group_size": WHOLE,
    "stage3_prefetch_bucket_size": WHOLE_OR_AUTO,
    "stage3_param_persistence_threshold": WHOLE_OR_AUTO,
    "stage3_model_persistence_threshold": WHOLE,
    "stage3_max_live_parameters": WHOLE,
    "stage3_max_reuse_distance": WHOLE,
    "stage3_module_granularity_threshold": WHOLE,
    "stage3_use_all_reduce_for_fetch_params": TRUTH,
    "stage3_allgather_sequential": TRUTH,
    "ignore_unused_parameters": TRUTH,
    "round_robin_gradients": TRUTH,
    "parameter_alignment": TRUTH,
    "zero_hpz_partition_size": WHOLE,
    "zero_quantized_weights": TRUTH,
    "zero_quantized_nontrainable_weights": TRUTH,
    "zero_quantized_gradients": TRUTH,
    "memory_efficient_linear": TRUTH,
    "pipeline_loading_checkpoint": TRUTH,
    "override_module_apply": TRUTH,
    "log_trace_cache_warnings": TRUTH,
    "enable_sanity_checks": TRUTH,
    "leaf_module": {"classes": TEXTS, "names": TEXTS, "name_suffixes": TEXTS},
}

KNOWN: Table = {
    "activation_checkpointing": {
        "partition_activations": TRUTH,
        "number_checkpoints": WHOLE,
        "contiguous_memory_optimization": TRUTH,
        "cpu_checkpointing": TRUTH,
        "profile": TRUTH,
        "synchronize_checkpoint_boundary": TRUTH,
    },
    "aio": {
        "block_size": WHOLE,
        "intra_op_parallelism": WHOLE,
        "overlap_events": TRUTH,
        "queue_depth": WHOLE,
        "single_submit": TRUTH,
        "use_gds": TRUTH,
    },
    "bf16": {
        "immediate_grad_update": TRUTH,
        "check_grad_overflow": TRUTH,
        "bf16_master_weights_and_grads": TRUTH,
        "bf16_optimizer_states": TRUTH,
    },
    "comms_logger": {
        "enabled": TRUTH,
        "prof_all": TRUTH,
        "prof_ops": TEXTS,
        "verbose": TRUTH,
        "debug": TRUTH,
    },
    "communication_data_type": DTYPE,
    "data_types": {
        "grad_accum_dtype": DTYPE,
        "param_dtype": DTYPE,
        "buffer_dtype": DTYPE,
        "keep_in_fp32_modules": Kind("a list of text or auto", (list,), auto=True),
    },
    "disable_python_gc": TRUTH,
    "dump_state": TRUTH,
    "flops_profiler": {
        "enabled": TRUTH,
        "recompute_fwd_factor": NUMBER,
        "profile_step": WHOLE,
        "module_depth": WHOLE,
        "top_modules": WHOLE,
        "detailed": TRUTH,
        "output_file": TEXT,
    },
    "fp16": {
        "auto_cast": TRUTH,
        "loss_scale": NUMBER,
        "initial_scale_power": WHOLE,
        "loss_scale_window": WHOLE,
        "hysteresis": WHOLE,
        "consecutive_hysteresis": TRUTH,
        "min_loss_scale": WHOLE,
        "fp16_master_weights_and_grads": TRUTH,
    },
    "gradient_predivide_factor": NUMBER,
    "log_level": TEXT,
    "memory_breakdown": TRUTH,
    "prescale_gradients": TRUTH,
    "steps_per_print": WHOLE,
    "timers": {"throughput": {"enabled": TRUTH, "synchronized": TRUTH}},
    "vocabulary_size": WHOLE,
    "wall_clock_breakdown": TRUTH,
    "zero_force_ds_cpu_optimizer": TRUTH,
    "zero_optimization": _ZERO,
}
"""Everything that `distributed.deepspeed` may set."""

_TRAINER = "transformers' Trainer does this here"
_PARALLEL = "models are not divided this way here; use zero3"
_REMOVED = "DeepSpeed has removed it"
_MUON = "the optimizer Muon and ZenFlow are not supported here"

SET_BY_THE_RECIPE = MappingProxyType(
    {
        "bf16.enabled": "train.bf16",
        "bfloat16": "train.bf16",
        "fp16.enabled": "train.fp16",
        "gradient_accumulation_steps": "train.gradient_accumulation_steps",
        "gradient_clipping": "train.max_grad_norm",
        "optimizer": "train.optim, train.learning_rate and train.weight_decay",
        "scheduler": "train.lr_scheduler_type and train.warmup_steps",
        "train_batch_size": "train.per_device_train_batch_size, train.gradient_accumulation_steps and "
        "resources.train",
        "train_micro_batch_size_per_gpu": "train.per_device_train_batch_size",
        "zero_optimization.cpu_offload": "distributed.offload",
        "zero_optimization.cpu_offload_param": "distributed.offload",
        "zero_optimization.stage": "distributed.strategy",
        "comet": "tracking.report_to",
        "csv_monitor": "tracking.report_to",
        "tensorboard": "tracking.report_to",
        "wandb": "tracking.report_to",
        "torch_autocast": "train.bf16 or train.fp16",
    }
)
"""Dotted key of DeepSpeed → the recipe's own."""

REFUSED = MappingProxyType(
    {
        "amp": _REMOVED,
        "autotuning": "launch plan shows what each strategy needs; choose with distributed.strategy",
        "checkpoint": "checkpoints are the run's own business",
        "compile": "compiled training is not supported",
        "compression_training": _REMOVED,
        "curriculum_learning": _REMOVED,
        "data_efficiency": "the recipe's data is trained on as it is",
        "dataloader_drop_last": _TRAINER,
        "datastates_ckpt": "checkpoints are the run's own business",
        "disable_allgather": "ranks would train with weights of their own",
        "eigenvalue": _REMOVED,
        "elasticity": _REMOVED,
        "expert_parallel": _PARALLEL,
        "gradient_allreduce_op": "summed instead of averaged gradients would be another learning rate",
        "graph_harvesting": _REMOVED,
        "hybrid_engine": "generation while training is not supported",
        "managed_gradient_accumulation": _TRAINER,
        "nebula": _REMOVED,
        "pipeline": _PARALLEL,
        "progressive_layer_drop": _REMOVED,
        "quantize_training": _REMOVED,
        "seq_parallel_communication_data_type": _PARALLEL,
        "sequence_parallel_size": _PARALLEL,
        "sparse_attention": _REMOVED,
        "sparse_gradients": _REMOVED,
        "tensor_parallel": _PARALLEL,
        "use_data_before_expert_parallelism": _PARALLEL,
        "weight_quantization": "quantised training is not supported",
        "zero_allow_untested_optimizer": "it is always true, as train.optim may be any of transformers'",
        "zero_optimization.cpu_offload_use_pin_memory": "set pin_memory in offload_optimizer and "
        "offload_param",
        "zero_optimization.elastic_checkpoint": _REMOVED,
        "zero_optimization.legacy_stage1": _REMOVED,
        "zero_optimization.save_muon_momentum_buffer_in_memory": _MUON,
        "zero_optimization.stage3_gather_16bit_weights_on_model_save": "it is always true with zero3, or a "
        "shard would be saved as the model",
        "zero_optimization.stage3_gather_fp16_weights_on_model_save": "it is always true with zero3, or a "
        "shard would be saved as the model",
        "zero_optimization.zenflow": _MUON,
    }
)
"""Dotted key of DeepSpeed → why a recipe may not set it."""
