"""What recipes, plans and reports have to know of a task before, and without, importing it.

A task that an installed package brings says the same in its own class. Those that come with this package
are listed here: importing their classes takes a login node half a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from rankfold.errors import RecipeError
from rankfold.known_metrics import Metric, metric_of

GROUP = "rankfold.tasks"
"""Entry points of this group are tasks that other packages bring."""

TABLES = ("jsonl", "json", "csv", "tsv", "parquet", "hub")
"""Formats of files whose rows are examples; the columns are the fields of the task's examples."""

ENTITIES = ("ccfbdci", "spans", "conll")


@dataclass(frozen=True)
class TaskFacts:
    """What is known of a task before it is imported.

    Attributes:
        title: Its name in a report.
        model_kind: What sort of model it trains.
        headline: Metrics at the top of a report, the most telling first.
        metric_for_best_model: The metric that says which checkpoint is best, unless the recipe does.
        formats: Formats of files it reads.
        examples: How a report shows an example: marked entities, marked answers, or two texts.
        input_field: The field of its examples that a text alone fills, where one can.
        has_windows: Long texts become several windows, which share `doc_stride` tokens.
        has_pieces: Long texts are cut into several rows, which share nothing.
        has_labels: `data.labels` means something.
        has_prompt: `prompt` means something.
        generates: The model writes text, so `max_new_tokens` and its like mean something.
        packs: Several training examples may stand in one row (`train.packing`).
        metrics: Its metrics that `known_metrics.METRICS` does not have, or shows otherwise.
        notes: What has to be said beside the scores, a paragraph each.
    """

    title: str
    model_kind: Literal["encoder", "decoder", "encoder-decoder"]
    headline: tuple[str, ...]
    metric_for_best_model: str
    formats: tuple[str, ...] = TABLES
    examples: Literal["entities", "answers", "texts"] = "texts"
    input_field: str | None = "text"
    has_windows: bool = False
    has_pieces: bool = False
    has_labels: bool = False
    has_prompt: bool = False
    generates: bool = False
    packs: bool = False
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def metric(self, key: str) -> Metric:
        """How one of the task's metrics is shown."""
        return metric_of(key, self.metrics)


_ENTITY_HEADLINE = ("entity_f1", "entity_precision", "entity_recall")

BUILT_IN: Mapping[str, tuple[str, TaskFacts]] = {
    "text_classification": (
        "rankfold.tasks.text_classification:TextClassification",
        TaskFacts(
            "Text classification",
            "encoder",
            ("accuracy", "macro_f1", "micro_f1", "chance_accuracy"),
            "macro_f1",
            has_labels=True,
            notes=(
                "Accuracy of chance is that of always giving the most frequent label of the test set. "
                "An example scores 1 where it is right; a mistake scores the probability that the right "
                "label had. With any number of labels an example scores their F1.",
            ),
        ),
    ),
    "token_classification": (
        "rankfold.tasks.token_classification:TokenClassification",
        TaskFacts(
            "Entity recognition by token classification",
            "encoder",
            _ENTITY_HEADLINE,
            "entity_f1",
            formats=ENTITIES,
            examples="entities",
            has_windows=True,
            has_labels=True,
        ),
    ),
    "extractive_qa": (
        "rankfold.tasks.extractive_qa:ExtractiveQA",
        TaskFacts(
            "Extractive question answering",
            "encoder",
            ("exact_match", "f1", "cmrc_exact_match", "cmrc_f1"),
            "f1",
            formats=("squad",),
            examples="answers",
            input_field=None,
            has_windows=True,
        ),
    ),
    "generative_ner": (
        "rankfold.tasks.generative_ner:GenerativeNER",
        TaskFacts(
            "Entity recognition by generation",
            "decoder",
            _ENTITY_HEADLINE,
            "entity_f1",
            formats=ENTITIES,
            examples="entities",
            has_labels=True,
            has_prompt=True,
            generates=True,
            packs=True,
        ),
    ),
    "instruction": (
        "rankfold.tasks.instruction:Instruction",
        TaskFacts(
            "Instruction tuning",
            "decoder",
            ("perplexity", "rougeL", "chrf", "exact_match_rate"),
            "perplexity",
            input_field="prompt",
            generates=True,
            packs=True,
            notes=(
                "Perplexity is that of the reference answers; the other scores compare what was generated. "
                "An example scores its chrF, from 0 to 1.",
            ),
        ),
    ),
    "causal_lm": (
        "rankfold.tasks.causal_lm:CausalLM",
        TaskFacts(
            "Continued pre-training, causal",
            "decoder",
            ("perplexity", "bits_per_byte", "token_accuracy"),
            "perplexity",
            has_pieces=True,
            packs=True,
        ),
    ),
    "masked_lm": (
        "rankfold.tasks.masked_lm:MaskedLM",
        TaskFacts(
            "Continued pre-training, masked",
            "encoder",
            ("perplexity", "token_accuracy"),
            "perplexity",
            has_pieces=True,
            notes=("Perplexity and accuracy are those of the masked tokens, the same ones for every model.",),
        ),
    ),
    "seq2seq": (
        "rankfold.tasks.seq2seq:Seq2Seq",
        TaskFacts(
            "Text to text",
            "encoder-decoder",
            ("chrf", "bleu", "rougeL"),
            "chrf",
            input_field="source",
            generates=True,
            notes=("An example scores its chrF, from 0 to 1.",),
        ),
    ),
    "denoising": (
        "rankfold.tasks.denoising:Denoising",
        TaskFacts(
            "Denoising by span corruption",
            "encoder-decoder",
            ("perplexity", "token_accuracy"),
            "perplexity",
            has_pieces=True,
            notes=(
                "Perplexity and accuracy are those of the text that was cut out, the same spans for every "
                "model, and of the sentinels between.",
            ),
        ),
    ),
    "multiple_choice": (
        "rankfold.tasks.multiple_choice:MultipleChoice",
        TaskFacts(
            "Multiple choice",
            "encoder",
            ("accuracy", "chance_accuracy"),
            "accuracy",
            input_field=None,
            notes=(
                "Accuracy of chance is that of choosing blindly: the mean of 1 / number of choices. "
                "An example scores 1 where it is right; a mistake scores the probability that the right "
                "choice had.",
            ),
        ),
    ),
    "embedding": (
        "rankfold.tasks.embedding:Embedding",
        TaskFacts(
            "Text embeddings",
            "encoder",
            ("ndcg_at_10", "recall_at_1", "recall_at_10", "spearman_cosine"),
            "ndcg_at_10",
            notes=(
                "Each text has to find its second text among those of all examples. An example scores the "
                "cosine of its two texts, and predicted is the closest of its own; with a given score it "
                "scores 1 less half the distance of cosine and score.",
            ),
        ),
    ),
}
"""Name → where its class is, and its facts."""


def task_names() -> tuple[str, ...]:
    """Every task there is, those of other packages last."""
    return (*BUILT_IN, *sorted(set(entry_points(group=GROUP).names) - BUILT_IN.keys()))


def task_facts(name: str) -> TaskFacts:
    """What is known of a task; imports the class of one that another package brings.

    Raises:
        RecipeError: No installed package has such a task, or the package that has it is broken.
    """
    if name in BUILT_IN:
        return BUILT_IN[name][1]
    facts: TaskFacts = task_class(name).facts
    return facts


def task_class(name: str) -> Any:
    """The class of a task; errors as `task_facts`."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name][0].partition(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=GROUP, name=name):
        return _loaded(point)
    raise RecipeError(
        f"no installed package provides the task {name!r}; there are {', '.join(task_names())}",
        where="task",
        remedy="Name one of these, or install the package that brings the task.",
    )


def _loaded(point: EntryPoint) -> Any:
    """The class that another package brings."""
    brought_by = point.dist.name if point.dist else point.value
    try:
        task = point.load()
    except Exception as error:  # whatever a module of others may raise while it is imported
        raise RecipeError(
            f"the task {point.name!r} of the package {brought_by} cannot be imported from {point.value}: "
            f"{type(error).__name__}: {error}",
            where="task",
            remedy=f"Repair or reinstall {brought_by}, or name another task.",
        ) from error
    if not isinstance(getattr(task, "facts", None), TaskFacts):
        raise RecipeError(
            f"the task {point.name!r} of the package {brought_by} is {point.value}, which has no `facts`",
            where="task",
            remedy="Let the entry point name a subclass of rankfold.tasks.base.Task, with `facts`.",
        )
    return task
