"""`launch merge`: the records of a finished run, merged again under other settings."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_runs import results

from launch.cli import main
from launch.machine import Machine
from launch.plan import make_plan
from launch.states import JobState, now
from rankfold import atomic
from rankfold.recipe.load import load_recipe
from rankfold.run_folder import RunFolder
from rankfold.stages.merge import merge


@pytest.fixture
def ended(run: RunFolder) -> RunFolder:
    """A whole run, every job of which has completed."""
    recipe = load_recipe(run.recipe).recipe
    plan = make_plan(recipe, cluster="local", machine=Machine(2), num_train_examples=8)
    atomic.write_json(run.plan, plan.to_json())
    for job in plan.jobs:
        JobState(job.name, job.stage, "pending", job.ranks).begin().end("completed").write(run)
    return run


only_questions = pytest.mark.parametrize("finished", ["extractive_qa"], indirect=True)


def merged(run: RunFolder, *arguments: str) -> int:
    return main(["merge", str(run.root), *arguments])


def test_merging_again_under_the_recipe_changes_nothing(
    ended: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results(ended)
    assert merged(ended) == 0
    assert results(ended) == before
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "base: no score changed",
        "fine_tuned: no score changed",
        f"report: {ended.report_html}",
    ]


def test_a_setting_gives_what_a_recipe_with_it_would_have_given(
    ended: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert merged(ended, "evaluation.n_best_size=2") == 0
    again = results(ended)
    settings = {name: again.pop(name) for name in list(again) if name.endswith("merge_settings.json")}
    assert [json.loads(content) for content in settings.values()] == [{"evaluation.n_best_size": 2}] * 2
    assert "evaluation.n_best_size" in ended.report_markdown.read_text()

    assert merged(ended) == 0
    assert not ended.merge_settings("base").exists()
    values = yaml.safe_load(ended.recipe.read_text())
    values["evaluation"]["n_best_size"] = 2
    if values["task"] != "generative_ner":
        # The records of these keep more than two, and another recipe would have kept two.
        assert all(len(json.loads(line)["nbest"]) <= 2 for line in again["base/nbest.jsonl"].splitlines())
        return
    ended.recipe.write_text(yaml.safe_dump(values))
    merge(ended)
    assert results(ended) == again


@only_questions
def test_no_answer_is_longer_than_the_new_limit(ended: RunFolder) -> None:
    assert merged(ended, "evaluation.max_answer_length=1") == 0
    values = yaml.safe_load(ended.recipe.read_text())
    values["evaluation"]["max_answer_length"] = 1
    again = results(ended)
    ended.recipe.write_text(yaml.safe_dump(values))
    merge(ended)
    expected = results(ended)
    assert {name: again[name] for name in expected} == expected


def test_neither_torch_nor_its_friends_are_imported(ended: RunFolder) -> None:
    code = (
        "import sys; from launch.cli import main; code = main(['merge', sys.argv[1]]); "
        "heavy = {'torch', 'transformers', 'datasets', 'evaluate', 'accelerate', 'peft'} & set(sys.modules); "
        "sys.exit(code or (str(sorted(heavy)) if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ended.root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rate=0.5", "train.learning_rate cannot change after the evaluation"),
        ("evaluation.unit_size=3", "evaluation.unit_size cannot change after the evaluation"),
        ("evaluation.n_best_size=21", "must be a whole number from 1 to 20; found 21"),
        ("evaluation.nbest_size=5", "did you mean evaluation.n_best_size?"),
    ],
)
def test_what_a_merge_cannot_change_is_refused_and_nothing_is_touched(
    ended: RunFolder, override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results(ended)
    assert merged(ended, override) == 2
    assert message in capsys.readouterr().err
    assert results(ended) == before


def test_more_candidates_than_the_records_keep_are_refused(
    ended: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load(ended.recipe.read_text())
    values["evaluation"]["n_best_size"] = 3
    ended.recipe.write_text(yaml.safe_dump(values))
    assert merged(ended, "evaluation.n_best_size=4") == 2
    assert "n_best_size 4 is more than the 3 that the records keep" in capsys.readouterr().err


def test_no_variant_is_merged_while_another_is_not_whole(
    ended: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results(ended)
    (ended.shards("fine_tuned") / "unit-00001.json").unlink()
    assert merged(ended, "evaluation.n_best_size=2") == 1
    assert "missing: unit 1" in capsys.readouterr().err
    assert results(ended) == before


def test_a_run_that_was_never_prepared_says_so(ended: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(ended.prepared.root)
    assert merged(ended) == 1
    assert "the stage prepare has not ended well" in capsys.readouterr().err


def test_a_run_that_still_works_is_left_alone(ended: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    JobState("merge", "merge", "running", 1, started=now()).write(ended)
    assert merged(ended) == 2
    assert "is running, and its own merge would write the same files" in capsys.readouterr().err


@only_questions
def test_a_threshold_is_chosen_on_some_contexts_and_scored_on_the_others(
    ended: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    override = "evaluation.version_2_with_negative=true"
    assert merged(ended, override, "--tune-threshold", "--tuning-share", "0.4") == 0
    settings = json.loads(ended.merge_settings("fine_tuned").read_text())
    num_tuned = settings["tuned_on"]["examples"]
    metrics = json.loads(ended.metrics("fine_tuned").read_text())
    assert 0 < num_tuned < 10
    assert metrics["total"] == 10 - num_tuned
    assert f"scored on the other {10 - num_tuned}" in capsys.readouterr().out

    threshold = settings["evaluation.null_score_diff_threshold"]
    for line in ended.details("fine_tuned").read_text().splitlines():
        row = json.loads(line)
        difference = row["null_score_difference"]
        assert (row["prediction"] == "") == (difference is None or difference > threshold)


def test_without_unanswerable_questions_there_is_no_threshold_to_choose(
    ended: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results(ended)
    assert merged(ended, "--tune-threshold") == 2
    assert "a null threshold decides on questions without an answer" in capsys.readouterr().err
    assert results(ended) == before


@pytest.mark.parametrize("share", ["0", "1", "x", "nan"])
def test_a_share_that_is_none_is_refused(
    tmp_path: Path, share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["merge", str(tmp_path), "--tune-threshold", "--tuning-share", share])
    assert caught.value.code == 2
    assert f"{share!r} is not a number between 0 and 1" in capsys.readouterr().err
