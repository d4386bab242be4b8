"""Reading a run's files, whole, half written and damaged."""

import json
from pathlib import Path

import pytest
from unit.report.sample_run import write, write_entity_run, write_question_run, write_start

from rankfold.errors import OperationalError
from rankfold.report.facts import AnswerResult, EntityResult, ExampleResult, RunFacts
from rankfold.report.mistakes import parse_failures, verdict_of, worst_first
from rankfold.report.read import read_facts
from rankfold.report.timing import stage_rows
from rankfold.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_entity_run(tmp_path / "run")


def started(root: Path) -> RunFolder:
    run = RunFolder(root)
    write_start(run, name="young", task="generative_ner", model="some/model")
    return run


def add_job(run: RunFolder, job: str, state: str, error: str | None = None) -> None:
    content = {"job": job, "stage": job.split("-")[0], "state": state, "seconds": 1.0, "error": error}
    write(run.job_state(job), content)


def state_after(root: Path, *states: str) -> str:
    run = started(root)
    for number, state in enumerate(states):
        add_job(run, f"evaluate-base-{number}", state)
    return read_facts(run).state


def test_a_whole_run_is_read(run: RunFolder) -> None:
    facts = read_facts(run)
    assert (facts.task, facts.model, facts.state) == (
        "generative_ner",
        "Qwen/Qwen2-1.5B-Instruct",
        "completed",
    )
    assert facts.data is not None
    assert facts.data.splits[0].dropped["text is empty"] == 3
    assert facts.training is not None
    assert len(facts.training.losses) == 128
    assert facts.evaluated is facts.fine_tuned
    assert facts.fine_tuned is not None
    assert all(isinstance(example, EntityResult) for example in facts.fine_tuned.examples)


def test_a_validation_set_stands_between_training_and_test_set(run: RunFolder) -> None:
    summary = json.loads(run.prepare_summary.read_text(encoding="utf-8"))
    write(run.prepare_summary, summary | {"validation": summary["test"]})
    data = read_facts(run).data
    assert data is not None
    assert [split.name for split in data.splits] == ["train", "validation", "test"]


def test_a_run_that_has_only_begun_has_nothing_but_its_identity(tmp_path: Path) -> None:
    facts = read_facts(started(tmp_path / "young"))
    assert (facts.name, facts.state, facts.jobs) == ("young", "pending", ())
    absent = (facts.code, facts.environment, facts.data, facts.training, facts.base, facts.fine_tuned)
    assert absent == (None,) * 6


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        (["pending"], "pending"),
        (["completed", "pending"], "running"),
        (["running", "failed"], "failed"),
        (["cancelled", "completed"], "cancelled"),
    ],
)
def test_the_state_of_a_run_is_that_of_its_jobs(tmp_path: Path, states: list[str], whole: str) -> None:
    assert state_after(tmp_path / "run", *states) == whole


def test_a_failed_job_outweighs_scores_from_before(run: RunFolder) -> None:
    add_job(run, "merge", "failed", "no space left")
    assert read_facts(run).state == "failed"


def test_jobs_are_in_the_order_they_run_with_shards_counted(run: RunFolder) -> None:
    names = [job.job for job in read_facts(run).jobs]
    assert names[:2] == ["prepare", "train"]
    assert names[-1] == "merge"
    assert names.index("evaluate-base-9") + 1 == names.index("evaluate-base-10")
    assert names.index("evaluate-base-10") < names.index("evaluate-fine_tuned-0")


def test_shards_are_one_row_of_the_time_table(run: RunFolder) -> None:
    add_job(run, "evaluate-base-3", "failed")
    rows = {row.name: row for row in stage_rows(read_facts(run))}
    assert rows["evaluate-base"].num_jobs == 11
    assert rows["evaluate-base"].state == "10 completed, 1 failed"
    assert (rows["evaluate-fine_tuned"].longest, rows["evaluate-fine_tuned"].altogether) == (
        "3 min 10 s",
        "33 min 55 s",
    )
    assert rows["merge"].state == "writes this report"


def test_a_score_that_is_not_a_number_reads_as_absent(run: RunFolder) -> None:
    run.metrics("base").write_text('{"entity_f1": NaN, "entity_recall": 0.5}', encoding="utf-8")
    base = read_facts(run).base
    assert base is not None
    assert base.metrics == {"entity_recall": 0.5}


def test_an_interval_that_is_not_of_numbers_is_left_out(run: RunFolder) -> None:
    metrics = '{"entity_f1": 0.5, "confidence_intervals": {"entity_f1": [NaN, 0.6], "f1": [0.5, 1]}}'
    run.metrics("base").write_text(metrics, encoding="utf-8")
    base = read_facts(run).base
    assert base is not None
    assert base.intervals == {"f1": (0.5, 1)}


def test_the_job_that_joins_the_parts_of_a_merge_comes_after_them(run: RunFolder) -> None:
    for part in range(11):
        add_job(run, f"merge-{part}", "completed")
    facts = read_facts(run)
    assert [job.job for job in facts.jobs[-3:]] == ["merge-9", "merge-10", "merge"]
    row = stage_rows(facts)[-1]
    assert (row.name, row.num_jobs, row.state) == ("merge", 12, "writes this report")


def test_a_loss_that_is_not_a_number_is_left_out_of_the_curve(run: RunFolder) -> None:
    history = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": float("nan")}, {"step": 3, "train_loss": 1.0}]
    write(run.train_summary, {"global_step": 3, "log_history": history})
    training = read_facts(run).training
    assert training is not None
    assert training.losses == ((1, 2.0),)


def test_the_worst_mistakes_come_first_and_ties_keep_the_order_of_the_data(run: RunFolder) -> None:
    facts = read_facts(run)
    assert facts.fine_tuned is not None
    ids = [result.id for result in worst_first(facts.fine_tuned)]
    assert ids[:5] == ["test-008", "test-005", "test-001", "test-006", "test-002"]
    assert ids[-3:] == ["test-011", "test-012", "test-013"]


def test_an_entity_that_is_not_in_the_text_counts_as_a_mistake(run: RunFolder) -> None:
    verdict = verdict_of(example(read_facts(run), "test-006"))
    assert (verdict.right, verdict.missed, verdict.wrong, verdict.invented) == (1, 1, 1, 1)
    assert verdict.num_mistakes == 3


def test_parse_failures_are_found_with_what_the_model_wrote(run: RunFolder) -> None:
    facts = read_facts(run)
    assert facts.fine_tuned is not None
    (failure,) = parse_failures(facts.fine_tuned)
    assert failure.generated[0].startswith("Sure!")


def test_answers_are_read_with_their_spans(tmp_path: Path) -> None:
    result = example(read_facts(write_question_run(tmp_path / "questions")), "q-1")
    assert isinstance(result, AnswerResult)
    assert result.start is not None
    assert result.context[result.start : result.end] == result.prediction == "Karin Månsdotter"


@pytest.mark.parametrize("name", ["run.json", "recipe.yaml"])
def test_a_folder_that_is_no_run_is_named(run: RunFolder, name: str) -> None:
    (run.root / name).unlink()
    with pytest.raises(OperationalError, match=name):
        read_facts(run)


def test_a_broken_line_is_named_with_its_number(run: RunFolder) -> None:
    with run.details("base").open("a", encoding="utf-8") as file:
        file.write('{"id": \n')
    with pytest.raises(OperationalError, match=r"details\.jsonl:15: not valid JSON"):
        read_facts(run)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "a JSON object is expected here, list was found"),
        ('{"train": {}}', "'max_length' is missing from this file"),
        ('{"max_length": 1, "train": 5}', "not of the expected kind"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_file_of_another_shape_is_named(run: RunFolder, content: str | bytes, message: str) -> None:
    run.prepare_summary.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OperationalError, match=message) as caught:
        read_facts(run)
    assert caught.value.where == str(run.prepare_summary)


@pytest.mark.parametrize("recipe", ["- a list", "model: [", "name: x"])
def test_a_recipe_that_is_none_is_named(run: RunFolder, recipe: str) -> None:
    run.recipe.write_text(recipe, encoding="utf-8")
    with pytest.raises(OperationalError, match=r"recipe\.yaml"):
        read_facts(run)


def test_a_line_separator_inside_a_text_does_not_end_the_line(run: RunFolder) -> None:
    lines = run.details("base").read_text(encoding="utf-8").split("\n")
    lines[0] = json.dumps(json.loads(lines[0]) | {"text": "one\u2028two"}, ensure_ascii=False)
    run.details("base").write_text("\n".join(lines), encoding="utf-8")
    base = read_facts(run).base
    assert base is not None
    assert base.examples[0].id == "test-000"


def example(facts: RunFacts, wanted: str) -> ExampleResult:
    assert facts.fine_tuned is not None
    return next(result for result in facts.fine_tuned.examples if result.id == wanted)
