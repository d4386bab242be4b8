"""The four stages of a tiny run, in this process, from data files to scores."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset
from tiny_runs import evaluate_all, new_run, results

from rankfold.errors import OperationalError, StoppedError
from rankfold.evaluation.work import UnitWork
from rankfold.lifeline import Lifeline
from rankfold.modeling.load import load_tokenizer
from rankfold.recipe.schema import Recipe
from rankfold.run_folder import RunFolder
from rankfold.stages.evaluate import evaluate
from rankfold.stages.merge import merge, merge_part
from rankfold.stages.prepare import prepare
from rankfold.stages.train import train
from rankfold.tasks.extractive_qa import ExtractiveQA
from rankfold.tasks.generative_ner import GenerativeNER
from rankfold.tasks.token_classification import TokenClassification


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The index of every unit that a model computes."""
    units: list[int] = []
    for task in (ExtractiveQA, GenerativeNER, TokenClassification):
        monkeypatch.setattr(task, "predict", _counting(task.predict, units))
    return units


def _counting(original: Any, units: list[int]) -> Any:
    def predict(self: Any, model: Any, tokenizer: Any, work: UnitWork, recipe: Any) -> Any:
        units.append(work.unit.index)
        return original(self, model, tokenizer, work, recipe)

    return predict


def test_a_run_leaves_everything_that_its_report_reads(finished: RunFolder) -> None:
    names = {"predictions.json", "nbest.jsonl", "details.jsonl", "metrics.json"}
    assert set(results(finished)) == {
        f"{variant}/{name}" for variant in ("base", "fine_tuned") for name in names
    }
    summary = json.loads(finished.prepare_summary.read_text())
    assert summary["test"]["num_examples"] == 10
    assert summary["train"]["num_examples"] == 8
    assert json.loads(finished.train_summary.read_text())["global_step"] == 3
    assert finished.report_html.is_file()
    assert finished.report_markdown.is_file()


def test_four_shards_give_the_bytes_of_one(run: RunFolder) -> None:
    of_one = results(run)
    shutil.rmtree(run.root / "shards")
    shutil.rmtree(run.root / "results")
    evaluate_all(run, 4)
    merge(run)
    assert results(run) == of_one


def test_every_stage_run_again_computes_nothing(
    run: RunFolder, predicted: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    def files() -> dict[Path, int]:
        kept = [run.prepared.root, run.model, run.root / "shards", run.checkpoints]
        return {path: path.stat().st_mtime_ns for folder in kept for path in folder.rglob("*")}

    before = files()
    prepare(run)
    train(run)
    evaluate_all(run, 1)
    assert files() == before
    assert predicted == []
    said = capsys.readouterr().out
    assert said.count("was done before: nothing to do") == 2
    assert said.count("0 of ") == 2


def test_merging_again_writes_the_same_bytes(run: RunFolder) -> None:
    before = results(run)
    merge(run)
    assert results(run) == before


def test_only_a_missing_unit_is_computed_again_at_whatever_number_of_shards(
    run: RunFolder, predicted: list[int]
) -> None:
    before = results(run)
    (run.shards("base") / "unit-00002.json").unlink()
    payload = next(run.shards("fine_tuned").glob("unit-00001.*.bin"))
    payload.write_bytes(payload.read_bytes()[:-1])
    evaluate_all(run, 3)
    assert predicted == [2, 1]
    merge(run)
    assert results(run) == before


def test_an_evaluation_that_is_asked_to_stop_ends_its_unit_and_goes_on_with_the_others(
    run: RunFolder, predicted: list[int]
) -> None:
    class AskedInTheFirstBatch(Lifeline):
        def beat(self) -> None:
            if predicted:
                self.ask_to_stop("time limit")

    before = results(run)
    shutil.rmtree(run.shards("base"))
    with pytest.raises(StoppedError, match="time limit") as caught:
        evaluate(run, "base", 0, 1, AskedInTheFirstBatch())
    assert caught.value.where == "evaluate-base-0"
    assert [path.name for path in run.shards("base").glob("*.json")] == ["unit-00000.json"]
    evaluate(run, "base", 0, 1)
    assert predicted == list(range(len(predicted)))
    assert len(predicted) > 1
    merge(run)
    assert results(run) == before


def test_three_merge_jobs_give_the_bytes_of_one(run: RunFolder) -> None:
    of_one = results(run)
    values = yaml.safe_load(run.recipe.read_text())
    values["evaluation"]["merge_shards"] = 3
    run.recipe.write_text(yaml.safe_dump(values))
    shutil.rmtree(run.root / "results")
    for part in (2, 0, 1):
        merge_part(run, part, 3)
    merge(run)
    assert results(run) == of_one
    assert not list(run.root.glob("merged/*/*"))


def test_a_part_that_no_job_has_left_is_merged_by_the_last(run: RunFolder) -> None:
    of_one = results(run)
    values = yaml.safe_load(run.recipe.read_text())
    values["evaluation"]["merge_shards"] = 3
    run.recipe.write_text(yaml.safe_dump(values))
    merge_part(run, 1, 3)
    merge(run)
    assert results(run) == of_one


def test_parts_of_other_gold_are_not_joined(run: RunFolder) -> None:
    values = yaml.safe_load(run.recipe.read_text())
    values["evaluation"]["merge_shards"] = 2
    run.recipe.write_text(yaml.safe_dump(values))
    merge_part(run, 0, 2)
    examples = run.prepared.examples("test")
    key = "answers" if values["task"] == "extractive_qa" else "entities"
    stored = [json.loads(line) for line in examples.read_text().splitlines()]
    stored[0][key] = stored[1][key]
    examples.write_text("".join(json.dumps(row) + "\n" for row in stored))
    merge(run)
    of_parts = results(run)
    values["evaluation"]["merge_shards"] = 1
    run.recipe.write_text(yaml.safe_dump(values))
    merge(run)
    assert results(run) == of_parts


def test_what_only_the_merge_uses_may_change_without_the_model(run: RunFolder, predicted: list[int]) -> None:
    values = yaml.safe_load(run.recipe.read_text())
    values["evaluation"] |= {"null_score_diff_threshold": 0.5, "num_bootstrap_resamples": 10}
    if values["task"] == "extractive_qa":
        values["evaluation"]["max_answer_length"] = 3
    run.recipe.write_text(yaml.safe_dump(values))
    evaluate_all(run, 2)
    merge(run)
    assert predicted == []


def test_the_features_say_what_was_prepared_and_the_tokenizer_cuts_nothing(finished: RunFolder) -> None:
    summary = json.loads(finished.prepare_summary.read_text())
    features = Dataset.load_from_disk(str(finished.prepared.features("test")))
    assert summary["test"]["num_features"] == len(features)
    assert summary["test"]["num_tokens"] == sum(map(len, features["input_ids"]))
    tokenizer = load_tokenizer(finished.prepared.tokenizer)
    assert json.loads(tokenizer.backend_tokenizer.to_str())["truncation"] is None


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        (train, "prepare"),
        (lambda run: evaluate(run, "base", 0, 1), "prepare"),
        (merge, "prepare"),
    ],
    ids=["train", "evaluate", "merge"],
)
def test_a_stage_that_comes_too_early_names_the_one_before(
    tmp_path: Path, causal_folder: Path, stage: Any, missing: str
) -> None:
    with pytest.raises(OperationalError, match=f"the stage {missing} has not ended well"):
        stage(new_run(tmp_path, "generative_ner", causal_folder))


@pytest.mark.parametrize("finished", ["extractive_qa"], indirect=True)
def test_training_takes_from_the_test_set_what_the_recipe_leaves_to_the_data(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool | None] = []

    def stop(run: RunFolder, recipe: Recipe, *_: Any, **__: Any) -> None:
        given.append(recipe.evaluation.version_2_with_negative)
        raise KeyboardInterrupt

    run.train_summary.unlink()
    monkeypatch.setattr("rankfold.stages.train.fine_tune", stop)
    with pytest.raises(KeyboardInterrupt):
        train(run)
    assert given == [False]


def test_the_trained_model_is_not_evaluated_before_it_is_there(run: RunFolder) -> None:
    run.train_summary.unlink()
    with pytest.raises(OperationalError, match="the stage train has not ended well"):
        evaluate(run, "fine_tuned", 0, 1)


def test_without_a_baseline_the_model_as_it_came_is_not_merged(run: RunFolder) -> None:
    values = yaml.safe_load(run.recipe.read_text())
    values["evaluation"]["baseline"] = False
    run.recipe.write_text(yaml.safe_dump(values))
    shutil.rmtree(run.root / "results")
    shutil.rmtree(run.shards("base"))
    merge(run)
    assert {name.split("/")[0] for name in results(run)} == {"fine_tuned"}


def test_a_failure_while_preparing_leaves_no_prepared_folder(
    tmp_path: Path, causal_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path, "generative_ner", causal_folder)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rankfold.stages.prepare.write_examples", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(run)
    assert {path.name for path in run.root.iterdir()} == {"recipe.yaml", "run.json"}
