"""The `evaluate` modules: loaded from the package's own files, offline, equal to the functions."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rankfold.metrics
from rankfold.data.examples import Answer, QuestionExample, Span
from rankfold.errors import OperationalError, UserError
from rankfold.metrics.cmrc import cmrc_scores
from rankfold.metrics.entities import EntityCounts, count_entities, entity_metrics
from rankfold.metrics.load import METRIC_NAMES, load_metric
from rankfold.metrics.squad import squad_scores

PACKAGE = Path(rankfold.metrics.__file__).parent

EXAMPLES = [
    QuestionExample("1", "", "", (Answer("the cat", 3), Answer("a black cat", 0))),
    QuestionExample("2", "", "", (Answer("北京大学", 7),)),
    QuestionExample("3", "", "", (Answer("1939", 0),)),
]
ANSWERS = {"1": "cat!", "2": "在北京大学", "3": ""}


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
        "import sys, rankfold.metrics.squad, rankfold.metrics.cmrc, rankfold.metrics.entities, "
        "rankfold.metrics.load; print({'evaluate', 'datasets', 'torch'} & set(sys.modules))"
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


def test_entities_equal_the_function(metrics: dict[str, Any]) -> None:
    paris, marie = Span(0, 5, "LOC"), Span(9, 14, "PER")
    counts = count_entities([paris, marie], [paris], invented_labels=["PER"]) + count_entities(
        [], [marie], parse_failure=True
    )
    as_entity = {span: {"start": span.start, "end": span.end, "label": span.label} for span in (paris, marie)}
    computed = metrics["rankfold_entities"].compute(
        predictions=[
            {"entities": [as_entity[paris]], "invented_labels": ["PER"], "parse_failure": False},
            {"entities": [as_entity[marie]], "invented_labels": [], "parse_failure": True},
        ],
        references=[{"entities": [as_entity[paris], as_entity[marie]]}, {"entities": []}],
        labels=["ORG"],
    )
    assert computed == entity_metrics(counts, ["ORG"])


def test_batches_add_up_to_the_whole(metrics: dict[str, Any]) -> None:
    metric = metrics["rankfold_squad"]
    for example in EXAMPLES:
        metric.add_batch(**as_inputs([example]))
    assert metric.compute() == squad_scores(ANSWERS, EXAMPLES, version_2_with_negative=False).metrics


def test_empty_inputs_are_defined(metrics: dict[str, Any]) -> None:
    computed = metrics["rankfold_squad"].compute(predictions=[], references=[])
    assert computed == {"exact_match": 0.0, "f1": 0.0, "total": 0}
    computed = metrics["rankfold_entities"].compute(predictions=[], references=[])
    assert computed == entity_metrics(EntityCounts())


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
