"""Trackers go on with the run of the attempt before, and hear what came out of it."""

import json
import sys
import types
from pathlib import Path
from typing import Any, cast

import pytest
from tiny_runs import evaluate_all, new_run
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, TensorBoardCallback
from unit.training.line import Line
from unit.training.line import trainer as line_trainer

from rankfold import atomic
from rankfold.errors import StoppedError
from rankfold.lifeline import Lifeline
from rankfold.report.markdown import render_markdown
from rankfold.report.read import read_facts
from rankfold.run_folder import RunFolder
from rankfold.stages.merge import merge
from rankfold.stages.prepare import prepare
from rankfold.stages.train import train
from rankfold.training.trackers import Results, name_the_run, read_results, track_results
from rankfold.training.tracking import TrackingCallback

VARIABLES = (
    "WANDB_RUN_ID",
    "WANDB_RESUME",
    "SWANLAB_RUN_ID",
    "SWANLAB_RESUME",
    "SWANLAB_LOG_DIR",
    "SWANLAB_MODE",
    "SWANLAB_PROJ_NAME",
    "TENSORBOARD_LOGGING_DIR",
    "MLFLOW_RUN_ID",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the variables is set, and none stays set."""
    for name in VARIABLES:
        # Where one is not set, deleting it alone would not be undone.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_every_attempt_names_the_same_run_and_what_the_user_set_stays(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "tiny-1")
    environment = {"WANDB_RUN_ID": "mine"}
    name_the_run(run, environment)
    assert environment == {
        "WANDB_RUN_ID": "mine",
        "WANDB_RESUME": "allow",
        "SWANLAB_RUN_ID": "tiny-1",
        "SWANLAB_RESUME": "allow",
        "SWANLAB_LOG_DIR": str(run.swanlab),
        "TENSORBOARD_LOGGING_DIR": str(run.tensorboard),
    }


@pytest.mark.parametrize(
    ("report_to", "main", "known"), [("mlflow", True, True), ("mlflow", False, False), ("none", True, False)]
)
def test_the_id_that_mlflow_gave_is_known_to_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report_to: str, main: bool, known: bool
) -> None:
    run = RunFolder(tmp_path / "tiny-1")
    active = types.SimpleNamespace(info=types.SimpleNamespace(run_id="0f3a"))
    monkeypatch.setitem(sys.modules, "mlflow", cast(Any, types.SimpleNamespace(active_run=lambda: active)))
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    arguments.report_to = [report_to]
    state = TrainerState(is_world_process_zero=main)
    TrackingCallback(run).on_train_begin(arguments, state, TrainerControl())
    environment: dict[str, str] = {}
    name_the_run(run, environment)
    assert environment.get("MLFLOW_RUN_ID") == ("0f3a" if known else None)


class StopsAfter(Lifeline):
    """Asks to stop at the first safe point after so many signs of life."""

    def __init__(self, beats: int) -> None:
        super().__init__()
        self._left = beats

    def beat(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.ask_to_stop("time limit")


@pytest.mark.slow
def test_an_interrupted_run_is_one_run_in_its_trackers_with_scores_and_predictions(
    tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import swanlab

    monkeypatch.setenv("SWANLAB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    run = new_run(
        tmp_path,
        "token_classification",
        encoder_folder,
        train={"max_steps": 6, "logging_steps": 1, "per_device_train_batch_size": 4},
        tracking={"report_to": ["tensorboard", "swanlab"]},
    )
    prepare(run)
    with pytest.raises(StoppedError):
        train(run, StopsAfter(5))
    # A job ends its process, which ends what SwanLab has open.
    swanlab.finish()
    train(run)
    evaluate_all(run, 1)
    merge(run)
    assert not run.tracker_errors.exists()
    _check_tensorboard(run)
    _check_swanlab(run)
    # Nothing is left beside the run.
    assert {path.name for path in tmp_path.iterdir()} == {"run", "train.json", "test.json"}


def _check_tensorboard(run: RunFolder) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    written = EventAccumulator(str(run.tensorboard), purge_orphaned_data=False).Reload()
    assert [scalar.step for scalar in written.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    metrics = json.loads(run.metrics("fine_tuned").read_bytes())
    [score] = written.Scalars("results/fine_tuned/entity_f1")
    assert (score.step, score.value) == (6, pytest.approx(metrics["entity_f1"]))
    [predictions] = written.Tensors("predictions")
    text = predictions.tensor_proto.string_val[0].decode()
    assert text.startswith("| id | text | gold | predicted | score |\n| --- |")
    assert "| t0 | Anna moved to Ulm in 0. | Ulm (place) |" in text
    assert len(text.splitlines()) == 12


def _check_swanlab(run: RunFolder) -> None:
    attempts = [_swanlab_records(folder) for folder in sorted(run.swanlab.glob("run-*"))]
    # Training, training again, merging.
    assert len(attempts) == 3
    records = [record for attempt in attempts for record in attempt]
    starts = [record.start for record in records if record.HasField("start")]
    assert [(start.project, start.id) for start in starts] == [("rankfold", "run")] * 3
    scalars = [record.scalar for record in records if record.HasField("scalar")]
    assert [scalar.step for scalar in scalars if scalar.key == "train/loss"] == [1, 2, 3, 4, 5, 6]
    metrics = json.loads(run.metrics("fine_tuned").read_bytes())
    [score] = [scalar for scalar in scalars if scalar.key == "results/fine_tuned/entity_f1"]
    assert (score.step, score.value.number) == (6, metrics["entity_f1"])
    [table] = [record.media for record in records if record.HasField("media")]
    [item] = table.value.items
    [written] = run.swanlab.rglob(item.filename)
    assert (table.key, "Anna moved to Ulm in 0." in written.read_text()) == ("predictions", True)


def _swanlab_records(folder: Path) -> list[Any]:
    """Every record of an attempt, in the order in which they were written."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    [file] = folder.glob("*.swanlab")
    reader = DataStoreReader()
    reader.open(file)
    records = [Record.FromString(content) for content in reader]
    reader.close()
    return records


@pytest.fixture
def merged(tmp_path: Path) -> RunFolder:
    """As much of a merged run as a tracker is told of; 101 of its 102 examples have a score."""
    run = RunFolder(tmp_path / "tiny-1")
    row = {"text": "Ja | nein", "gold": "a", "predicted": "b"}
    rows = [{"id": str(number), **row, "score": 0.0 if number else None} for number in range(102)]
    atomic.write_json(run.train_summary, {"global_step": 7})
    for variant in ("base", "fine_tuned"):
        atomic.write_json(run.metrics(variant), {"accuracy": 0.5, "per_label": {}, "best": None})
        atomic.write_text(run.details(variant), "".join(json.dumps(row) + "\n" for row in rows))
    return run


def test_a_tracker_gets_the_numbers_of_both_models_and_the_first_predictions(merged: RunFolder) -> None:
    results = read_results(merged)
    assert results.step == 7
    assert results.metrics == {"results/base/accuracy": 0.5, "results/fine_tuned/accuracy": 0.5}
    assert len(results.predictions) == 100
    assert results.predictions[:2] == [("0", "Ja | nein", "a", "b", ""), ("1", "Ja | nein", "a", "b", "0")]


def test_questions_and_entities_are_shown_as_text(merged: RunFolder) -> None:
    question = {"id": "q", "question": "Who?", "context": "Anna.", "prediction": "Anna", "f1": 1.0}
    answers = [{"text": "Anna", "answer_start": 0}, {"text": "Anna.", "answer_start": 0}]
    entities = {"id": "e", "text": "Anna in Ulm", "gold": [[8, 11, "place"]], "invented": [], "f1": 0.5}
    rows = [{**question, "answers": answers}, {**entities, "predicted": [[0, 4, "place", 0.9]]}]
    atomic.write_text(merged.details("fine_tuned"), "".join(json.dumps(row) + "\n" for row in rows))
    assert read_results(merged).predictions == [
        ("q", "Who? | Anna.", "Anna | Anna.", "Anna", "1"),
        ("e", "Anna in Ulm", "Ulm (place)", "Anna (place)", "0.5"),
    ]


def test_a_tracker_that_fails_is_told_and_the_others_still_hear(
    merged: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rankfold.training import trackers

    heard: list[str] = []

    def fails(run: RunFolder, results: Results) -> None:
        raise ConnectionError("no route to https://bob:hunter2@tracker.example\nmore")

    def hears(run: RunFolder, results: Results) -> None:
        heard.append(results.run_id)

    monkeypatch.setitem(trackers._TELL, "swanlab", fails)
    monkeypatch.setitem(trackers._TELL, "tensorboard", hears)
    track_results(merged, ["swanlab", "tensorboard"])
    assert heard == ["tiny-1"]
    reason = json.loads(merged.tracker_errors.read_bytes())["swanlab"]
    assert reason.startswith("ConnectionError: no route to https://")
    assert "hunter2" not in reason
    assert f"warning: swanlab was not told the results: {reason}" in capsys.readouterr().out
    monkeypatch.setitem(trackers._TELL, "swanlab", hears)
    track_results(merged, ["swanlab", "tensorboard"])
    assert not merged.tracker_errors.exists()


@pytest.mark.parametrize("broken", ["train_summary", "details", "tracking"])
def test_results_that_cannot_be_read_cost_the_trackers_alone(merged: RunFolder, broken: str) -> None:
    if broken == "details":
        merged.details("fine_tuned").write_text('{"id": "1"}\n')
    else:
        getattr(merged, broken).write_text("{")
    track_results(merged, ["tensorboard", "swanlab"])
    errors = json.loads(merged.tracker_errors.read_bytes())
    assert list(errors) == ["tensorboard", "swanlab"]
    assert all(why.startswith("what to tell cannot be read: ") for why in errors.values())


class FailsAt(TensorBoardCallback):  # type: ignore[misc]
    """A tracker that loses its server at one event, and hears of others."""

    def __init__(self, event: str) -> None:
        super().__init__()
        self.heard: list[str] = []
        for name in ("on_train_begin", "on_log", "on_save", "on_train_end"):
            setattr(self, name, lambda *_, name=name, **__: self._hear(name, event))

    def _hear(self, name: str, fails_at: str) -> None:
        self.heard.append(name)
        if name == fails_at:
            raise ConnectionError(f"no route in {name} to https://bob:hunter2@tracker.example")


@pytest.mark.parametrize(
    ("event", "has_begun"),
    [("on_train_begin", True), ("on_log", False), ("on_save", False), ("on_train_end", False)],
)
def test_a_tracker_that_fails_hears_no_more_and_ends_no_training_that_has_begun(
    event: str,
    has_begun: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, "mlflow", FailsAt)
    tracker, tracking = FailsAt(event), TrackingCallback(RunFolder(tmp_path), has_begun=has_begun)
    trainer = line_trainer(
        tmp_path, Line(), max_steps=4, logging_steps=1, save_steps=2, callbacks=[tracker, tracking]
    )
    tracking.guard(trainer.callback_handler.callbacks)
    trainer.train()
    assert trainer.state.global_step == 4
    assert tracker.heard == [*tracker.heard[:-1], event]
    assert tracker.heard.count(event) == 1
    why = f"ConnectionError: no route in {event} to https://"
    assert tracking.errors["mlflow"].startswith(why)
    assert "hunter2" not in tracking.errors["mlflow"]
    assert capsys.readouterr().out.count("warning: mlflow is told no more of this training: ") == 1


def test_a_tracker_that_fails_before_the_first_step_of_all_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, "mlflow", FailsAt)
    tracking = TrackingCallback(RunFolder(tmp_path))
    trainer = line_trainer(tmp_path, Line(), max_steps=1, callbacks=[FailsAt("on_train_begin"), tracking])
    tracking.guard(trainer.callback_handler.callbacks)
    with pytest.raises(ConnectionError, match="no route in on_train_begin"):
        trainer.train()


def test_what_opens_and_closes_trackers_may_fail_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "swanlab", cast(Any, types.SimpleNamespace()))
    monkeypatch.setitem(sys.modules, "mlflow", cast(Any, types.SimpleNamespace(active_run=lambda: None)))
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    arguments.report_to = ["swanlab", "mlflow"]
    tracking = TrackingCallback(RunFolder(tmp_path), has_begun=True)
    for event in ("on_init_end", "on_train_begin", "on_train_end"):
        getattr(tracking, event)(arguments, TrainerState(), TrainerControl())
    assert list(tracking.errors) == ["swanlab", "mlflow"]


def test_the_report_says_which_tracker_does_not_know_the_whole_training(merged: RunFolder) -> None:
    identity = {"run_id": "tiny-1", "name": "tiny", "created": "2026-01-02", "command": []}
    atomic.write_json(merged.run, identity)
    atomic.write_json(merged.recipe, {"task": "text_classification", "model": {"name_or_path": "m"}})
    atomic.write_json(merged.train_summary, {"tracker_errors": {"wandb": "CommError: timed out"}})
    text = render_markdown(read_facts(merged))
    assert "wandb was not told the whole training: CommError: timed out" in text


def test_the_report_says_which_tracker_does_not_know_the_scores(merged: RunFolder) -> None:
    atomic.write_json(
        merged.run, {"run_id": "tiny-1", "name": "tiny", "created": "2026-01-02", "command": []}
    )
    atomic.write_json(merged.recipe, {"task": "text_classification", "model": {"name_or_path": "m"}})
    track_results(merged, ["mlflow"])
    text = render_markdown(read_facts(merged))
    assert "mlflow was not told these results: it is not installed where the merge ran" in text
