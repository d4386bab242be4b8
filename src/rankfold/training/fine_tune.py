"""One training run: model, adapter, Trainer, and the model it leaves."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import TrainOutput

from rankfold.distributed import join
from rankfold.errors import ModelError, OperationalError
from rankfold.lifeline import Lifeline
from rankfold.modeling.adapters import add_adapter, count_parameters, unused_layers
from rankfold.modeling.freeze import freeze
from rankfold.modeling.load import LoadedModel, load_model, load_tokenizer
from rankfold.modeling.sources import model_folder
from rankfold.ranks import ranks
from rankfold.recipe.schema import Recipe, Train
from rankfold.recipe.steps import global_batch_size
from rankfold.run_folder import RunFolder, job_name
from rankfold.tasks.base import Task
from rankfold.training.arguments import collective_timeout, training_arguments
from rankfold.training.callbacks import ProgressCallback, SaveStepsCallback
from rankfold.training.checkpoints import resume_point
from rankfold.training.deepspeed import prepare_deepspeed
from rankfold.training.distillation import Loss, check_same_classes, distilled
from rankfold.training.liger_check import LigerCheck, num_liger_modules
from rankfold.training.packing_check import PackingCheck
from rankfold.training.save import save_model
from rankfold.training.trackers import name_the_run
from rankfold.training.tracking import TrackingCallback
from rankfold.training.trainer import FineTuningTrainer
from rankfold.training.unused import ready_for_zero, unused_weights, uses_change
from rankfold.training.validation import Validation, ValidationSet


def fine_tune(
    run: RunFolder,
    recipe: Recipe,
    task: Task[Any],
    *,
    base: Path,
    tokenizer: PreTrainedTokenizerBase,
    features: Dataset,
    world_size: int,
    labels: Sequence[str] = (),
    validation: ValidationSet | None = None,
    lifeline: Lifeline | None = None,
) -> dict[str, Any]:
    """Train, from the newest whole checkpoint on, and save; return the summary. Every rank calls this.

    Args:
        run: Where checkpoints, progress and the model go.
        recipe: The whole recipe.
        task: The recipe's task.
        base: Folder of the model to start from.
        tokenizer: The model's tokenizer, as prepare left it.
        features: The task's training features.
        world_size: How many ranks the job has.
        labels: The run's labels, as prepare found them.
        validation: What to evaluate along the way; None where the recipe's eval_strategy is no.
        lifeline: Hears that training gets on, and says when to stop.

    Raises:
        ModelError: The model cannot be loaded, has none of the adapter's layers or of those to freeze, does
            not mean by its labels and tokens what its teacher does, or Liger has no kernels for it.
        NumericalError: The loss became NaN or infinite, or an evaluation met either.
        OperationalError: The ranks do not see each other, or the saved model is not whole.
        OSError: There is no room for a checkpoint or the model.
        RecipeError: The task has no metric of the name `metric_for_best_model`.
        StoppedError: A rank was asked to stop; a checkpoint of the last step is there.
        UserError: The checkpoint was written by another number of ranks.
    """
    lifeline = lifeline or Lifeline()
    arguments = _arguments(run, recipe, task, world_size)
    checkpoint = resume_point(run.checkpoints)
    # Before the seed is set: whatever a teacher draws, the student begins and learns as without one.
    teacher = _teacher(recipe, task)
    set_seed(recipe.seed)
    loaded = load_model(base, recipe.model, task.auto_class, task.model_config(labels))
    uses_cache = getattr(loaded.model.config, "use_cache", False)
    if teacher is not None:
        check_same_classes(loaded.model, teacher, _vocabularies(tokenizer, recipe))
    model = _trainable(loaded, recipe, task, tokenizer)
    tracking = TrackingCallback(run, has_begun=checkpoint is not None)
    loss = _loss(task, teacher, recipe)
    trainer = FineTuningTrainer(
        model=model,
        args=arguments,
        loss=loss,
        num_items=task.num_items,
        shifts_labels=_shifts_labels(task),
        loss_couples_rows=task.loss_couples_rows,
        train_dataset=features,
        # No lambda: where a loader's processes are not forked, it travels to them as a pickle.
        data_collator=partial(task.collate, tokenizer=tokenizer),
        head_learning_rate=recipe.train.head_learning_rate,
        new_parameters=loaded.new_parameters,
        save_total_limit=recipe.train.save_total_limit,
        lifeline=lifeline,
        validation=Validation(task, recipe, tokenizer, labels, validation) if validation else None,
        callbacks=[tracking, *_callbacks(run, recipe.train)],
    )
    tracking.guard(trainer.callback_handler.callbacks)
    # ProgressCallback says the same in words.
    trainer.remove_callback(PrinterCallback)
    if recipe.distributed.strategy == "ddp" and world_size > 1:
        _expect_unused(trainer, loss, task.collate([features[ranks().rank % len(features)]], tokenizer))
    elif world_size > 1:
        ready_for_zero(model, recipe.distributed.strategy)
    lifeline.beat()
    output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    lifeline.beat()
    # The Trainer turned the cache of keys and values off, but generating wants it.
    loaded.model.config.use_cache = uses_cache
    save_model(trainer, tokenizer, run.model)
    return _summary(output, trainer, model, recipe) | {"tracker_errors": tracking.errors}


def _arguments(run: RunFolder, recipe: Recipe, task: Task[Any], world_size: int) -> TrainingArguments:
    """Start the process group, which ZeRO-3 needs while the model is built."""
    name_the_run(run)
    join(collective_timeout(recipe))
    prepare_deepspeed(recipe)
    arguments = training_arguments(recipe, output_dir=run.checkpoints, run_id=run.run_id, task=task.facts)
    if arguments.world_size != world_size:
        raise OperationalError(
            f"this rank sees {arguments.world_size} ranks, but the job has {world_size}",
            remedy="Each rank would train a model of its own. Report this with the rank's log.",
        )
    return arguments


def _expect_unused(trainer: FineTuningTrainer, loss: Loss, batch: dict[str, Any]) -> None:
    """Have ranks do without gradients of weights that the loss of a batch does not depend on."""
    if uses_change(trainer.model):
        trainer.accelerator.ddp_handler.find_unused_parameters = True
        return
    on_device = trainer._prepare_inputs(batch)

    def of_batch() -> Tensor:
        # As in training: some attention kernels take no float32.
        with trainer.accelerator.autocast():
            return loss(trainer.model, on_device)[0]

    if unused := unused_weights(trainer.model, of_batch):
        trainer.accelerator.ddp_handler.find_unused_parameters = True
        if ranks().is_main:
            named = ", ".join(unused[:3]) + (", …" if len(unused) > 3 else "")
            print(f"the loss does not depend on all weights: {named}", flush=True)


def _callbacks(run: RunFolder, train: Train) -> list[TrainerCallback]:
    callbacks = [
        ProgressCallback(run.progress(job_name("train"))),
        SaveStepsCallback(train.save_steps),
    ]
    if train.packing:
        callbacks.append(PackingCheck())
    if train.use_liger_kernel:
        callbacks.append(LigerCheck())
    if train.early_stopping_patience is not None:
        patience, threshold = train.early_stopping_patience, train.early_stopping_threshold
        callbacks.append(EarlyStoppingCallback(patience, threshold))
    return callbacks


def _teacher(recipe: Recipe, task: Task[Any]) -> PreTrainedModel | None:
    """The model to learn from, whose head must be one of its own."""
    if recipe.teacher is None:
        return None
    loaded = load_model(model_folder(recipe.teacher), recipe.teacher, task.auto_class)
    if loaded.new_parameters:
        raise ModelError(
            f"the teacher {recipe.teacher.name_or_path} has no {min(loaded.new_parameters)}, so it cannot "
            f"teach {recipe.task}",
            where="train.distillation.teacher",
            remedy="Train it for the task first, and write run:FOLDER of that run.",
        )
    return loaded.model


def _vocabularies(
    tokenizer: PreTrainedTokenizerBase, recipe: Recipe
) -> tuple[dict[str, int], dict[str, int]]:
    """The student's and the teacher's."""
    if recipe.teacher is None:
        raise ValueError("a recipe without a teacher")
    return tokenizer.get_vocab(), load_tokenizer(model_folder(recipe.teacher)).get_vocab()


def _loss(task: Task[Any], teacher: PreTrainedModel | None, recipe: Recipe) -> Loss:
    settings = recipe.train.distillation
    if teacher is None or settings is None:
        return task.loss
    return distilled(task.loss, teacher, settings, shifts_labels=_shifts_labels(task))


def _shifts_labels(task: Task[Any]) -> bool:
    """What the Trainer finds out by itself is wrong for models such as GPT2LMHeadModel."""
    return task.auto_class == "AutoModelForCausalLM"


def _trainable(
    loaded: LoadedModel, recipe: Recipe, task: Task[Any], tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel | PeftModel:
    """Freeze what is not to be trained, and add the adapter."""
    model, adapter = loaded.model, recipe.model.trained_adapter
    if recipe.model.quantization is not None:
        from rankfold.modeling.quantization import ready_to_train

        model = ready_to_train(model)
    for name in unused_layers(model, task.peft_task_type):
        # Ranks would wait for a gradient that never comes.
        model.get_submodule(name).requires_grad_(False)
    freeze(model, recipe.model)
    has_frozen = adapter is not None or recipe.model.freeze or recipe.model.num_frozen_layers
    if has_frozen and recipe.train.gradient_checkpointing:
        # With frozen embeddings nothing would tell autograd to go back through the blocks.
        model.enable_input_require_grads()
    if adapter is None:
        return model
    return add_adapter(
        model,
        adapter,
        task.peft_task_type,
        new_parameters=loaded.new_parameters,
        tokenizer=tokenizer,
    )


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
        # Of all attempts, without steps that an interruption lost.
        "train_runtime_s": output.metrics["train_runtime"],
        **trainer.speed(),
        "world_size": arguments.world_size,
        "global_batch_size": global_batch_size(recipe.train, arguments.world_size),
        "trainable_parameters": trainable,
        "total_parameters": total,
        **({"liger_modules": num_liger_modules(model)} if recipe.train.use_liger_kernel else {}),
        "log_history": [entry for entry in history if "loss" in entry],
        "eval_history": [entry for entry in map(_evaluation, history) if entry],
        "metric_for_best_model": arguments.metric_for_best_model,
        "best_metric": trainer.state.best_metric,
        "best_step": trainer.state.best_global_step,
    }


def _evaluation(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What one evaluation found, by the metrics' own names; empty for a log entry of another kind."""
    metrics = {name.removeprefix("eval_"): value for name, value in entry.items() if name.startswith("eval_")}
    return {"step": entry["step"], "epoch": entry["epoch"], **metrics} if metrics else {}
