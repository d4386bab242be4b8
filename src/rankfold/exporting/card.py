"""The card of an exported model: README.md with the front matter that the hub reads."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from rankfold.redact import redact
from rankfold.report.facts import RunFacts, VariantFacts
from rankfold.report.formats import format_count, format_instant
from rankfold.report.markdown import score_lines
from rankfold.report.terminal import inline

PIPELINES = {
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForSeq2SeqLM": "text2text-generation",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForMultipleChoice": "multiple-choice",
    "AutoModel": "feature-extraction",
}
"""The hub's name of what a model is for, by transformers' class."""

IN_TRANSFORMERS = ("token-classification", "text-classification", "text-generation", "fill-mask")
"""Those that transformers 5 still has a `pipeline` for, and whose answer is the task's."""

PACKAGES = ("transformers", "torch", "peft", "datasets", "tokenizers", "rankfold")
"""Those whose versions matter to who loads the model."""


_LICENCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclass(frozen=True)
class BaseModel:
    """The model that was trained on; `name` is its hub id, or what it was called where there is none."""

    name: str
    licence: str | None
    is_on_hub: bool
    revision: str | None


def render_card(
    facts: RunFacts,
    base: BaseModel,
    *,
    kind: Literal["model", "adapter"],
    auto_class: str,
    num_labels: int = 0,
    notes: Sequence[str] = (),
) -> str:
    """Say what the model is, how good it is, and where it comes from, as Markdown under YAML.

    `num_labels` is the size of its head, 0 where the task has none of its own.
    """
    sections = [
        _front_matter(facts, base, kind, auto_class),
        f"# {facts.name}\n\n{_about(facts, base, kind)}",
        *(f"> {inline(note)}" for note in notes),
        f"## Use\n\n{_use(kind, auto_class, num_labels, base)}",
        f"## Scores\n\n{_scores(facts)}",
        f"## Data\n\n{_data(facts)}",
        f"## How it was made\n\n{_making(facts)}",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(facts: RunFacts, base: BaseModel, kind: str, auto_class: str) -> str:
    pipeline = PIPELINES.get(auto_class)
    values: dict[str, Any] = {"library_name": "peft" if kind == "adapter" else "transformers"}
    if base.licence is not None and _LICENCE_ID.fullmatch(base.licence):
        # The hub writes licences small, packages as SPDX does; it refuses what is no such name.
        values["license"] = base.licence.lower()
    if base.is_on_hub:
        # The hub looks the name up, so that one it does not know would be an error there.
        values |= {"base_model": base.name, "base_model_relation": _relation(kind)}
    if pipeline is not None:
        values["pipeline_tag"] = pipeline
    values["tags"] = ["rankfold", facts.task]
    if facts.fine_tuned is not None:
        values["model-index"] = [
            {"name": facts.name, "results": [_results(facts, facts.fine_tuned, pipeline)]}
        ]
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    return f"---\n{text}---"


def _relation(kind: str) -> str:
    return "adapter" if kind == "adapter" else "finetune"


def _results(facts: RunFacts, scores: VariantFacts, pipeline: str | None) -> dict[str, Any]:
    headline = [key for key in facts.about_task.headline if key in scores.metrics]
    return {
        "task": {"type": pipeline or facts.task, "name": facts.about_task.title},
        "dataset": {"name": "its own test set", "type": "test"},
        "metrics": [
            {"type": key, "name": facts.about_task.metric(key).title, "value": round(scores.metrics[key], 6)}
            for key in headline
        ],
    }


def _about(facts: RunFacts, base: BaseModel, kind: str) -> str:
    what = "An adapter for" if kind == "adapter" else "Fine-tuned from"
    revision = f" at revision {base.revision}" if base.revision else ""
    licence = f", whose licence is {base.licence}" if base.licence else ", whose licence is not known here"
    return f"{facts.about_task.title}. {what} `{base.name}`{revision}{licence}."


def _use(kind: str, auto_class: str, num_labels: int, base: BaseModel) -> str:
    pipeline = PIPELINES.get(auto_class)
    if kind == "adapter":
        head = f", num_labels={num_labels}" if num_labels else ""
        lines = [
            "from peft import PeftModel",
            f"from transformers import {auto_class}, AutoTokenizer",
            "",
            f'base = {auto_class}.from_pretrained("{base.name}"{head})',
            'model = PeftModel.from_pretrained(base, ".")',
        ]
    elif pipeline in IN_TRANSFORMERS:
        lines = ["from transformers import pipeline", "", f'model = pipeline("{pipeline}", model=".")']
    else:
        lines = [
            f"from transformers import {auto_class}, AutoTokenizer",
            "",
            f'model = {auto_class}.from_pretrained(".")',
            'tokenizer = AutoTokenizer.from_pretrained(".")',
        ]
    return "\n".join(["```python", *lines, "```"])


def _scores(facts: RunFacts) -> str:
    if facts.fine_tuned is None:
        return "None: the run had not been evaluated when this was written."
    return "\n".join(score_lines(facts))


def _data(facts: RunFacts) -> str:
    if facts.data is None:
        return "Not known any more."
    lines = [
        f"- {split.name}: {format_count(split.num_examples)} examples, "
        f"{format_count(split.num_tokens)} tokens; {format_count(split.num_truncated)} cut at "
        f"{format_count(facts.data.max_length)} tokens"
        for split in facts.data.splits
    ]
    if facts.data.labels:
        lines.append(f"- labels: {', '.join(map(inline, facts.data.labels))}")
    return "\n".join(lines)


def _making(facts: RunFacts) -> str:
    # A command or recipe may hold a token that somebody should not have put there.
    command, recipe = redact(shlex.join(facts.command))[0], redact(facts.recipe)[0]
    lines = [f"Run `{facts.run_id}` of {format_instant(facts.created)}:", "", "```", command, "```"]
    if facts.code is not None and facts.code.revision is not None:
        changed = ", with uncommitted changes" if facts.code.dirty else ""
        lines += ["", f"Code: revision {facts.code.revision}{changed}."]
    if facts.environment is not None:
        versions = facts.environment.packages
        known = [f"{name} {versions[name]}" for name in PACKAGES if name in versions]
        lines += ["", f"Versions: Python {facts.environment.python}, {', '.join(known)}."]
    return "\n".join(
        [
            *lines,
            "",
            "<details><summary>Recipe</summary>",
            "",
            "```yaml",
            recipe.rstrip(),
            "```",
            "",
            "</details>",
        ]
    )
