"""Runs ranked by a metric, with nothing but what tells them apart."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.cli import main
from launch.compare import Comparison, chosen_runs, compare
from launch.compare_text import comparison_lines
from launch.plan import Plan
from launch.processes import Process
from launch.states import DriverState, JobState, State, now, read_json
from rankfold import atomic
from rankfold.errors import UserError
from rankfold.known_metrics import Metric
from rankfold.run_folder import RunFolder
from rankfold.task_facts import BUILT_IN

MakeScored = Callable[..., RunFolder]


@pytest.fixture
def make_scored(make_run: Any, make_recipe: Any) -> MakeScored:
    """Make a run that has ended, with scores."""

    def make(
        number: int,
        f1: float | None,
        interval: tuple[float, float] | None = None,
        *,
        state: State = "completed",
        sweep: str | None = None,
        **sections: Any,
    ) -> RunFolder:
        run: RunFolder = make_run(f"small-{number}", **sections)
        values = make_recipe(**sections).model_dump(mode="json")
        run.recipe.write_text(yaml.safe_dump(values, allow_unicode=True))
        if sweep:
            atomic.write_json(run.run, read_json(run.run) | {"sweep": {"id": sweep, "values": {}}})
        for job in Plan.from_json(read_json(run.plan)).jobs:
            started = JobState(job.name, job.stage, "pending", 1, started="2026-01-01T00:00:00.000+00:00")
            state_file = started.end(state)
            ended = f"2026-01-01T00:0{number}:00.000+00:00"
            atomic.write_json(run.job_state(job.name), vars(state_file) | {"ended": ended})
        DriverState(Process.this(), "running", now(), {}).end(state).write(run)
        if f1 is not None:
            intervals = {"confidence_intervals": {"entity_f1": interval}} if interval else {}
            metrics = {"entity_f1": f1, "parse_failure_rate": 1 - f1, "num_gold": 9, "num_examples": 1200}
            atomic.write_json(run.metrics("fine_tuned"), metrics | intervals)
            atomic.write_json(run.train_summary, {"train_loss": f1 / 10, "global_step": 3})
        return run

    return make


def with_rate(rate: float) -> dict[str, Any]:
    return {"train": {"learning_rate": rate}}


def ranks(comparison: Comparison) -> list[tuple[int, str]]:
    return [(rank, run.run_id) for rank, run in comparison.ranked]


def test_the_best_comes_first_equal_scores_share_a_rank_and_the_unfinished_stand_below(
    make_scored: MakeScored,
) -> None:
    runs = [
        make_scored(1, 0.5, **with_rate(1e-4)),
        make_scored(2, 0.7, **with_rate(2e-4)),
        make_scored(3, 0.7, **with_rate(3e-4)),
        make_scored(4, 0.6, **with_rate(4e-4)),
        make_scored(5, 0.9, state="failed"),
        make_scored(6, None),
    ]
    comparison = compare("six runs", runs, None)
    assert ranks(comparison) == [(1, "small-2"), (1, "small-3"), (3, "small-4"), (4, "small-1")]
    assert [run.run_id for run in comparison.unranked] == ["small-5", "small-6"]
    assert comparison.settings[0].startswith("train.")
    assert comparison.as_good == []


def test_only_the_settings_that_differ_are_shown(make_scored: MakeScored) -> None:
    adapter = {"name_or_path": "some/model", "adapter": {"r": 4}}
    first = make_scored(1, 0.5, **with_rate(1e-4))
    second = make_scored(2, 0.25, model=adapter, **with_rate(3e-4))
    comparison = compare("2 runs", [first, second], None)
    assert "train.learning_rate" in comparison.settings
    assert not {"name", "seed", "task"} & {*comparison.settings}
    lines = list(comparison_lines(comparison, color=False))
    assert lines[0] == "2 runs by entity_f1, higher is better"
    header, best, other = lines[2:5]
    assert header.split()[:3] == ["rank", "run", "entity_f1"]
    assert best.split()[:3] == ["1", "small-1", "0.5"]
    assert " learning_rate " in header
    assert " 0.0001 " in best
    assert " 0.0003 " in other
    assert " 1:00 " in best


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        ("entity_f1", "small-2"),
        ("parse_failure_rate", "small-2"),
        ("train_loss", "small-1"),
        ("global_step", "small-1"),
    ],
)
def test_which_way_is_better_is_known(make_scored: MakeScored, metric: str, best: str) -> None:
    runs = [make_scored(1, 0.5), make_scored(2, 0.75)]
    assert ranks(compare("", runs, metric))[0] == (1, best)


def test_a_task_says_which_way_its_own_metric_is_better(
    make_scored: MakeScored, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_scored(1, 0.5), make_scored(2, 0.75)]
    place, facts = BUILT_IN["generative_ner"]
    # Stands for the task of another package, whose metrics are in no list of ours.
    own = replace(facts, metrics={"entity_f1": Metric("Mean error", better="lower")})
    monkeypatch.setitem(BUILT_IN, "generative_ner", (place, own))
    assert ranks(compare("", runs, None))[0] == (1, "small-1")


@pytest.fixture
def make_orphan(make_scored: MakeScored) -> MakeScored:
    """Make a run whose task was in a package that is gone."""

    def make(number: int, error: float, best: str | None = "mean_error", **sections: Any) -> RunFolder:
        run = make_scored(number, 0.5, **sections)
        recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
        run.recipe.write_text(yaml.safe_dump(recipe | {"task": "text_rating"}, allow_unicode=True))
        atomic.write_json(run.metrics("fine_tuned"), {"mean_error": error, "accuracy": error})
        atomic.write_json(run.train_summary, {"train_loss": error, "metric_for_best_model": best})
        atomic.write_json(run.prepare_summary, {"task": "text_rating", "labels": [], "max_length": 64})
        run.details("fine_tuned").write_text("")
        return run

    return make


def test_runs_whose_task_is_gone_are_shown_and_ranked_only_by_what_is_known(make_orphan: MakeScored) -> None:
    runs = [make_orphan(1, 0.5, **with_rate(1e-5)), make_orphan(2, 0.25, **with_rate(3e-4))]
    comparison = compare("2 runs", runs, None)
    assert (comparison.metric, comparison.better, comparison.ranked) == ("mean_error", None, ())
    title, _, header, one, other, *notes = comparison_lines(comparison, color=False)
    assert title == "2 runs by mean_error"
    assert " learning_rate " in header
    assert one.split()[:4] == ["–", "small-1", "0.5", "1e-05"]
    assert other.split()[:4] == ["–", "small-2", "0.25", "0.0003"]
    assert notes == [
        "note: no installed package has the task text_rating, so metrics of its own have the names of "
        "metrics.json",
        "note: whether more or less of mean_error is better is not known, so no run is ranked",
    ]
    assert comparison.to_json()["unranked"][0]["score"] == 0.5
    assert ranks(compare("", runs, "accuracy")) == [(1, "small-1"), (2, "small-2")]
    assert ranks(compare("", runs, "train_loss")) == [(1, "small-2"), (2, "small-1")]


def test_of_a_task_that_is_gone_a_metric_must_be_named_where_the_run_names_none(
    make_orphan: MakeScored,
) -> None:
    with pytest.raises(UserError, match="one of their metrics: train_loss, mean_error, accuracy"):
        compare("", [make_orphan(1, 0.5, best=None)], None)


@pytest.mark.parametrize("command", ["status", "why", "report", "logs"])
def test_other_commands_read_a_run_whose_task_is_gone(
    make_orphan: MakeScored, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_orphan(1, 0.5)
    assert main([command, "small-1", "--runs-dir", str(run.root.parent)]) == 0
    if command == "report":
        said = capsys.readouterr().out
        assert "| mean_error |" in said
        page = run.report_html.read_text(encoding="utf-8")
        assert "No installed package has the task text_rating" in page


def test_an_order_that_means_little_is_said(make_scored: MakeScored) -> None:
    runs = [
        make_scored(1, 0.70, (0.65, 0.75)),
        make_scored(2, 0.68, (0.63, 0.73)),
        make_scored(3, 0.66, (0.61, 0.69)),
        make_scored(4, 0.50, (0.45, 0.55)),
    ]
    comparison = compare("", runs, None)
    assert [run.run_id for run in comparison.as_good] == ["small-2"]
    [note] = [line for line in comparison_lines(comparison, color=False) if line.startswith("note")]
    assert "1 run is within the best one's 95 % interval" in note
    assert "the order of these 2 means little on 1,200 test examples" in note


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("entity_f2", "did you mean entity_f1?"),
        ("speed", "there are: entity_f1, global_step"),
        ("num_gold", "says nothing about which run is better"),
    ],
)
def test_a_metric_that_ranks_nothing_is_refused(make_scored: MakeScored, metric: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        compare("", [make_scored(1, 0.5)], metric)
    assert message in str(caught.value)


def test_runs_of_different_tasks_need_a_metric_that_all_have(make_scored: MakeScored) -> None:
    data = {"source": {"path": "/data/squad.json", "format": "squad"}}
    runs = [make_scored(1, 0.5), make_scored(2, 0.6, task="extractive_qa", data=data)]
    with pytest.raises(UserError, match="different tasks: extractive_qa, generative_ner"):
        compare("", runs, None)
    assert ranks(compare("", runs, "train_loss")) == [(1, "small-1"), (2, "small-2")]


def test_what_a_run_could_not_measure_does_not_rank_it(make_scored: MakeScored) -> None:
    run = make_scored(1, 0.5, task="embedding")
    atomic.write_json(run.metrics("fine_tuned"), {"spearman_cosine": 0.7, "recall_at_1": None})
    assert compare("1 run", [run], None).metric == "spearman_cosine"
    with pytest.raises(UserError, match="none of these runs has the metric recall_at_1"):
        compare("1 run", [run], "recall_at_1")


def test_a_sweep_is_found_by_its_newest_run_by_name_and_by_the_start_of_one(make_scored: MakeScored) -> None:
    first = [make_scored(number, 0.5, sweep="small-sweep-aaaaaa") for number in (1, 4)]
    second = [make_scored(number, 0.5, sweep="small-sweep-bbbbbb") for number in (2, 3)]
    make_scored(5, 0.5)
    folder = first[0].root.parent
    assert chosen_runs([], None, folder) == ("sweep small-sweep-aaaaaa", first)
    assert chosen_runs([], "small-sweep-b", folder) == ("sweep small-sweep-bbbbbb", second)
    assert chosen_runs(["small-5", str(first[0].root), "small-5"], None, folder)[0] == "2 runs"
    for sweep, message in (("small", "not one sweep 'small'"), ("x", "there is no sweep 'x'")):
        with pytest.raises(UserError, match=message):
            chosen_runs([], sweep, folder)


def test_a_comparison_as_json(make_scored: MakeScored, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_scored(1, 0.5, (0.4, 0.6), **with_rate(1e-4))
    make_scored(2, 0.25, state="failed", **with_rate(3e-4))
    folder = str(run.root.parent)
    assert main(["compare", "small-1", "small-2", "--runs-dir", folder, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["metric"], told["better"]) == ("entity_f1", "higher")
    [best], [other] = told["ranked"], told["unranked"]
    assert (best["rank"], best["run_id"], best["score"], best["interval"]) == (1, "small-1", 0.5, [0.4, 0.6])
    assert best["settings"]["train.learning_rate"] == 1e-4
    assert (best["seconds"], other["state"]) == (60.0, "failed")


def test_without_a_sweep_there_is_nothing_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "--runs-dir", str(tmp_path)]) == 2
    assert "there is no sweep in" in capsys.readouterr().err
