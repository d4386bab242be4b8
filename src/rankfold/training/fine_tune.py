"""One training run: model, adapter, Trainer, and the model it leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, set_seed
from transformers.trainer_utils import TrainOutput

from rankfold.errors import OperationalError
from rankfold.modeling.adapters import add_adapter, count_parameters
from rankfold.modeling.load import load_model
from rankfold.recipe.schema import Recipe
from rankfold.recipe.steps import global_batch_size, optimizer_steps
from rankfold.run_folder import RunFolder, job_name
from rankfold.tasks.base import Task
from rankfold.training.arguments import training_arguments
from rankfold.training.deepspeed import prepare_deepspeed
from rankfold.training.save import save_model
from rankfold.training.trainer import (
    CompleteMarkerCallback,
    FineTuningTrainer,
    ProgressCallback,
    newest_complete_checkpoint,
)


def fine_tune(
    run: RunFolder,
    recipe: Recipe,
    task: Task[Any],
    *,
    base: Path,
    tokenizer: PreTrainedTokenizerBase,
    features: Dataset,
    world_size: int,
) -> dict[str, Any]:
    """Train and save; return the summary. Every rank calls this.

    Raises:
        ModelError: The model cannot be loaded, or has none of the adapter's layers.
        NumericalError: The loss became NaN or infinite.
        OperationalError: The ranks do not see each other, or the saved model is not whole.
    """
    prepare_deepspeed(recipe)
    # The arguments start the process group, which ZeRO-3 needs while the model is built.
    arguments = training_arguments(recipe, output_dir=run.checkpoints, run_id=run.run_id)
    if arguments.world_size != world_size:
        raise OperationalError(
            f"this rank sees {arguments.world_size} ranks, but the job has {world_size}",
            remedy="Each rank would train a model of its own. Report this with the rank's log.",
        )
    set_seed(recipe.seed)
    loaded = load_model(base, recipe.model, task.auto_class)
    uses_cache = getattr(loaded.model.config, "use_cache", False)
    model = _trainable(loaded.model, recipe, task)
    trainer = FineTuningTrainer(
        model=model,
        args=arguments,
        train_dataset=features,
        data_collator=lambda rows: task.collate(rows, tokenizer),
        head_learning_rate=recipe.train.head_learning_rate,
        new_parameters=loaded.new_parameters,
        callbacks=[ProgressCallback(run.progress(job_name("train"))), CompleteMarkerCallback()],
    )
    # ProgressCallback says the same in words.
    trainer.remove_callback(PrinterCallback)
    total_steps = optimizer_steps(recipe.train, num_rows=len(features), world_size=world_size)
    checkpoint = newest_complete_checkpoint(run.checkpoints, total_steps=total_steps)
    output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    # The Trainer turned the cache of keys and values off, but generating wants it.
    loaded.model.config.use_cache = uses_cache
    save_model(trainer, tokenizer, run.model)
    return _summary(output, trainer, model, recipe)


def _trainable(model: PreTrainedModel, recipe: Recipe, task: Task[Any]) -> PreTrainedModel | PeftModel:
    if recipe.model.adapter is None:
        return model
    if recipe.train.gradient_checkpointing:
        # With frozen embeddings nothing would tell autograd to go back through the blocks.
        model.enable_input_require_grads()
    return add_adapter(model, recipe.model.adapter, task.peft_task_type)


def _summary(
    output: TrainOutput,
    trainer: FineTuningTrainer,
    model: PreTrainedModel | PeftModel,
    recipe: Recipe,
) -> dict[str, Any]:
    trainable, total = count_parameters(model)
    arguments = trainer.args
    history: list[Mapping[str, Any]] = trainer.state.log_history
    return {
        "global_step": output.global_step,
        "train_loss": output.training_loss,
        "train_runtime_s": output.metrics["train_runtime"],
        "train_samples_per_second": output.metrics["train_samples_per_second"],
        "world_size": arguments.world_size,
        "global_batch_size": global_batch_size(recipe.train, arguments.world_size),
        "trainable_parameters": trainable,
        "total_parameters": total,
        "log_history": [entry for entry in history if "loss" in entry],
    }
