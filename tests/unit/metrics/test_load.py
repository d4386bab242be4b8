"""The `evaluate` modules: loaded from the package's own files, offline, equal to the functions."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rankfold.metrics
from rankfold.data.examples import Answer, QuestionExample
from rankfold.errors import OperationalError, UserError
from rankfold.metrics.classification import (
    MultiLabelCounts,
    classification_metrics,
    count_confusion,
    count_multi_label,
    multi_label_metrics,
)
from rankfold.metrics.cmrc import cmrc_scores
from rankfold.metrics.counts import LabelCounts
from rankfold.metrics.entities import entity_metrics_of
from rankfold.metrics.language_modelling import TextLoss, language_modelling_metrics
from rankfold.metrics.load import METRIC_NAMES, load_metric
from rankfold.metrics.squad import squad_scores
from rankfold.metrics.tags import count_tags, tag_metrics
from rankfold.metrics.written_text import written_text_metrics

PACKAGE = Path(rankfold.metrics.__file__).parent

EXAMPLES = [
    QuestionExample("1", "", "", (Answer("the cat", 3), Answer("a black cat", 0))),
    QuestionExample("2", "", "", (Answer("北京大学", 7),)),
    QuestionExample("3", "", "", (Answer("1939", 0),)),
]
ANSWERS = {"1": "cat!", "2": "在北京大学", "3": ""}

TEXT = "Marie met Paul."
MARIE = {"start": 0, "end": 5, "label": "PER"}
PAUL = {"start": 10, "end": 14, "label": "PER"}
ENTITY_INPUTS: dict[str, list[Any]] = {
    "predictions": [
        {"entities": [MARIE], "invented": [{"text": "Rome", "label": "LOC"}], "parse_failure": False},
        {"entities": [], "invented": [], "parse_failure": True},
    ],
    "references": [{"text": TEXT, "entities": [MARIE, PAUL]}, {"text": TEXT, "entities": [PAUL]}],
}
ENTITY_ROWS = [
    {
        "text": TEXT,
        "gold": [[0, 5, "PER"], [10, 14, "PER"]],
        "predicted": [[0, 5, "PER", None]],
        "invented": [{"text": "Rome", "label": "LOC"}],
        "parse_failure": False,
    },
    {"text": TEXT, "gold": [[10, 14, "PER"]], "predicted": [], "invented": [], "parse_failure": True},
]
TAG_INPUTS = {
    "predictions": [["B-PER", "O", "I-LOC"], ["O"]],
    "references": [["B-PER", "I-PER", "B-LOC"], ["B-LOC"]],
}
CLASS_INPUTS = {"predictions": ["ham", "spam", "ham"], "references": ["ham", "ham", "eggs"]}
TEXT_INPUTS = {
    "predictions": ["the cat sat on a mat", "我喜欢吃苹果"],
    "references": ["the cat sat on the mat", "我爱吃苹果"],
}
LOSS_INPUTS: dict[str, list[Any]] = {
    "predictions": [{"loss": 12.5, "num_correct": 3}, {"loss": 2.0, "num_correct": 1}],
    "references": [{"num_tokens": 5, "text": "the cat sat"}, {"num_tokens": 2, "text": "苹果"}],
}
LABEL_SET_INPUTS: dict[str, list[list[str]]] = {
    "predictions": [["ham"], [], ["eggs", "ham"]],
    "references": [["ham"], ["spam"], ["ham"]],
}


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a metric tried to use the network")


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Every metric, loaded once because importing `evaluate` takes seconds, without a network."""
    cache = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "create_connection", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setenv("HF_MODULES_CACHE", str(cache / "modules"))
        patch.setenv("HF_METRICS_CACHE", str(cache / "metrics"))
        yield {name: load_metric(name) for name in METRIC_NAMES}


def as_inputs(examples: list[QuestionExample]) -> dict[str, list[dict[str, Any]]]:
    return {
        "predictions": [{"id": example.id, "prediction_text": ANSWERS[example.id]} for example in examples],
        "references": [
            {
                "id": example.id,
                "answers": {
                    "text": [answer.text for answer in example.answers],
                    "answer_start": [answer.answer_start for answer in example.answers],
                },
            }
            for example in examples
        ],
    }


def test_every_module_in_the_package_has_a_name_and_every_name_a_module() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("modules/*/*.py")}
    assert folders == set(METRIC_NAMES)


def test_every_folder_of_the_modules_is_a_package_so_that_wheels_contain_it() -> None:
    for name in METRIC_NAMES:
        assert (PACKAGE / "modules" / name / "__init__.py").is_file()


def test_loading_leaves_nothing_but_python_files_in_the_package(metrics: dict[str, Any]) -> None:
    assert set(metrics) == set(METRIC_NAMES)
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.suffix for path in files} == {".py"}


def test_the_functions_need_neither_evaluate_nor_torch() -> None:
    program = (
        "import sys, rankfold.metrics.question_answering, rankfold.metrics.entities, rankfold.metrics.tags, "
        "rankfold.metrics.classification, rankfold.metrics.written_text, rankfold.metrics.load;"
        "print({'evaluate', 'datasets', 'torch', 'transformers', 'sacrebleu'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_squad_v1_equals_the_function(metrics: dict[str, Any]) -> None:
    computed = metrics["rankfold_squad"].compute(**as_inputs(EXAMPLES))
    assert computed == squad_scores(ANSWERS, EXAMPLES, version_2_with_negative=False).metrics
    assert 0 < computed["f1"] < 100


def test_squad_v2_equals_the_function_with_a_question_without_answer(metrics: dict[str, Any]) -> None:
    examples = [*EXAMPLES[:2], QuestionExample("3", "", "", ())]
    computed = metrics["rankfold_squad_v2"].compute(**as_inputs(examples))
    assert computed == squad_scores(ANSWERS, examples, version_2_with_negative=True).metrics
    assert computed["NoAns_exact"] == 100.0


def test_cmrc_equals_the_function(metrics: dict[str, Any]) -> None:
    computed = metrics["rankfold_cmrc"].compute(**as_inputs(EXAMPLES))
    assert computed == cmrc_scores(ANSWERS, EXAMPLES).metrics
    assert 0 < computed["f1"] < 100


def test_squad_v2_adds_the_best_thresholds_where_it_is_given_null_score_differences(
    metrics: dict[str, Any],
) -> None:
    differences = {"1": -2.0, "2": 0.5, "3": 1.0}
    computed = metrics["rankfold_squad_v2"].compute(**as_inputs(EXAMPLES), null_score_differences=differences)
    scores = squad_scores(ANSWERS, EXAMPLES, version_2_with_negative=True, null_score_differences=differences)
    assert computed == scores.metrics
    assert computed["best_exact_thresh"] == -2.0


def test_entities_equal_the_function(metrics: dict[str, Any]) -> None:
    computed = metrics["rankfold_entities"].compute(**ENTITY_INPUTS, labels=["ORG"], resamples=20, seed=3)
    assert computed == entity_metrics_of(ENTITY_ROWS, ["ORG"], resamples=20, seed=3)
    assert computed["entity_f1"] == 0.4
    assert "confidence_intervals" not in metrics["rankfold_entities"].compute(**ENTITY_INPUTS)


def test_tags_equal_the_function(metrics: dict[str, Any]) -> None:
    for scheme in (None, "IOB2"):
        counts = sum(
            (
                count_tags(gold, predicted, scheme)
                for gold, predicted in zip(*reversed(TAG_INPUTS.values()), strict=True)
            ),
            LabelCounts(),
        )
        computed = metrics["rankfold_tags"].compute(**TAG_INPUTS, scheme=scheme, labels=["ORG"])
        assert computed == tag_metrics(counts, ["ORG"])
        assert computed["num_correct"] == (1 if scheme is None else 0)


def test_classification_equals_the_function(metrics: dict[str, Any]) -> None:
    confusion = count_confusion(CLASS_INPUTS["references"], CLASS_INPUTS["predictions"])
    computed = metrics["rankfold_classification"].compute(**CLASS_INPUTS, labels=["spam"])
    assert computed == classification_metrics(confusion, ["spam"])
    assert computed["accuracy"] == 1 / 3


def test_multi_label_classification_equals_the_function(metrics: dict[str, Any]) -> None:
    counts = map(count_multi_label, LABEL_SET_INPUTS["references"], LABEL_SET_INPUTS["predictions"])
    computed = metrics["rankfold_multi_label_classification"].compute(**LABEL_SET_INPUTS, labels=["spam"])
    assert computed == multi_label_metrics(sum(counts, MultiLabelCounts()), ["spam"])
    assert computed["subset_accuracy"] == 1 / 3


def test_written_text_equals_the_function(metrics: dict[str, Any]) -> None:
    computed = metrics["rankfold_written_text"].compute(**TEXT_INPUTS, resamples=20, seed=3)
    predictions, references = TEXT_INPUTS.values()
    assert computed == written_text_metrics(predictions, references, resamples=20, seed=3)
    assert 0 < computed["chrf"] < 100


def test_perplexity_equals_the_function(metrics: dict[str, Any]) -> None:
    texts = [TextLoss(12.5, 5, 3, 11), TextLoss(2.0, 2, 1, 6)]
    computed = metrics["rankfold_perplexity"].compute(**LOSS_INPUTS)
    assert computed == language_modelling_metrics(texts, resamples=0, seed=0)
    assert computed["bits_per_byte"] > 1


def test_perplexity_has_no_bits_a_byte_where_there_are_no_texts(metrics: dict[str, Any]) -> None:
    without = [{**reference, "text": ""} for reference in LOSS_INPUTS["references"]]
    computed = metrics["rankfold_perplexity"].compute(
        predictions=LOSS_INPUTS["predictions"], references=without
    )
    assert "bits_per_byte" not in computed


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_batches_add_up_to_the_whole(name: str, metrics: dict[str, Any]) -> None:
    inputs = inputs_of(name)
    for place in range(len(inputs["references"])):
        metrics[name].add_batch(**{side: values[place : place + 1] for side, values in inputs.items()})
    assert metrics[name].compute() == metrics[name].compute(**inputs)


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_empty_inputs_score_nothing(name: str, metrics: dict[str, Any]) -> None:
    computed = metrics[name].compute(predictions=[], references=[])
    assert not computed.pop("per_label", {})
    computed.pop("sacrebleu", {})  # signatures
    for scheme in computed.pop("nervaluate", {}).values():
        computed |= scheme
    # Entities and answers to be found count as not found where there are none; elsewhere nothing is measured.
    assert set(computed.values()) <= {0, None}
    counted = ("rankfold_entities", "rankfold_tags", "rankfold_squad", "rankfold_cmrc")
    assert (None in computed.values()) == (name not in counted)


def inputs_of(name: str) -> dict[str, list[Any]]:
    """What a metric takes: every answer metric takes the same."""
    others: dict[str, dict[str, list[Any]]] = {
        "rankfold_entities": ENTITY_INPUTS,
        "rankfold_perplexity": LOSS_INPUTS,
        "rankfold_tags": dict(TAG_INPUTS),
        "rankfold_written_text": dict(TEXT_INPUTS),
        "rankfold_classification": dict(CLASS_INPUTS),
        "rankfold_multi_label_classification": dict(LABEL_SET_INPUTS),
    }
    return others.get(name) or as_inputs(EXAMPLES)


def test_an_unknown_metric_is_a_user_error_that_lists_the_names() -> None:
    with pytest.raises(UserError, match=", ".join(METRIC_NAMES)):
        load_metric("squad")


def test_a_cache_that_cannot_be_written_is_named_with_what_to_set(
    metrics: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import evaluate

    file = tmp_path / "not_a_folder"
    file.touch()
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", file / "metrics")
    with pytest.raises(OperationalError, match="HF_HOME"):
        load_metric("rankfold_squad")
