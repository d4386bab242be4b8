"""The four stages of a tiny run, in this process, from data files to scores."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset

from rankfold import stages
from rankfold.atomic import write_json
from rankfold.errors import OperationalError, ShardError
from rankfold.modeling.load import load_tokenizer
from rankfold.run_folder import RunFolder
from rankfold.tasks.extractive_qa import ExtractiveQA
from rankfold.tasks.generative_ner import GenerativeNER

CITIES = ("Ulm", "Berlin", "Vienna", "Bonn", "Trier")


def entities_file(path: Path, number: int) -> dict[str, str]:
    rows = []
    for index in range(number):
        city = CITIES[index % len(CITIES)]
        text = f"Anna moved to {city} in {index}."
        entities = [{"start": 14, "end": 14 + len(city), "label": "place"}]
        rows.append({"id": f"t{index}", "text": text, "entities": entities})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path), "format": "spans"}


def questions_file(path: Path, number: int) -> dict[str, str]:
    paragraphs = []
    for index in range(number):
        city = CITIES[index % len(CITIES)]
        context = f"{'The river flows. ' * (index % 4)}Anna moved to {city}. The old town."
        answers = [{"text": city, "answer_start": context.index(city)}]
        qas = [{"id": f"q{index}", "question": "Where?", "answers": answers}]
        paragraphs.append({"context": context, "qas": qas})
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    return {"path": str(path), "format": "squad"}


def new_run(folder: Path, task: str, model: Path, **sections: Any) -> RunFolder:
    """A run as `launch submit` leaves it for the first stage."""
    write_data = questions_file if task == "extractive_qa" else entities_file
    values: dict[str, Any] = {
        "name": "tiny",
        "task": task,
        "model": {"name_or_path": str(model)},
        "data": {
            "train": write_data(folder / "train.json", 8),
            "test": write_data(folder / "test.json", 10),
            "max_length": 32 if task == "extractive_qa" else 256,
            "doc_stride": 8,
        },
        "train": {"max_steps": 3, "learning_rate": 0.01, "per_device_train_batch_size": 4},
        "evaluation": {
            "unit_size": 2,
            "per_device_eval_batch_size": 2,
            "max_new_tokens": 6,
            **({} if task == "extractive_qa" else {"num_beams": 2, "num_return_sequences": 2}),
        },
    }
    run = RunFolder(folder / "run")
    run.root.mkdir()
    run.recipe.write_text(yaml.safe_dump(values | sections))
    identity = {
        "run_id": "run",
        "name": "tiny",
        "created": "2026-01-02T03:04:05+00:00",
        "command": ["launch"],
    }
    write_json(run.run, identity | {"recipe_sha256": "0" * 64})
    return run


def evaluate_all(run: RunFolder, num_shards: int) -> None:
    for variant in ("base", "fine_tuned"):
        for shard in range(num_shards):
            stages.evaluate(run, variant, shard, num_shards)


def results(run: RunFolder) -> dict[str, bytes]:
    folder = run.root / "results"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.json*"))}


@pytest.fixture(scope="module", params=["extractive_qa", "generative_ner"])
def finished(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    encoder_folder: Path,
    causal_folder: Path,
) -> RunFolder:
    """A whole run with one shard; tests copy it."""
    task: str = request.param
    model = encoder_folder if task == "extractive_qa" else causal_folder
    run = new_run(tmp_path_factory.mktemp(task), task, model)
    stages.prepare(run)
    stages.train(run)
    evaluate_all(run, 1)
    stages.merge(run)
    return run


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy that a test may break."""
    return RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run")))


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The index of every unit that a model computes."""
    units: list[int] = []
    for task in (ExtractiveQA, GenerativeNER):
        monkeypatch.setattr(task, "predict", _counting(task.predict, units))
    return units


def _counting(original: Any, units: list[int]) -> Any:
    def predict(
        self: Any, model: Any, tokenizer: Any, features: Any, unit: Any, *rest: Any, **more: Any
    ) -> Any:
        units.append(unit.index)
        return original(self, model, tokenizer, features, unit, *rest, **more)

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
    stages.merge(run)
    assert results(run) == of_one


def test_every_stage_run_again_computes_nothing(
    run: RunFolder, predicted: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    def files() -> dict[Path, int]:
        kept = [run.prepared.root, run.model, run.root / "shards", run.checkpoints]
        return {path: path.stat().st_mtime_ns for folder in kept for path in folder.rglob("*")}

    before = files()
    stages.prepare(run)
    stages.train(run)
    evaluate_all(run, 1)
    assert files() == before
    assert predicted == []
    said = capsys.readouterr().out
    assert said.count("was done before: nothing to do") == 2
    assert said.count("0 of ") == 2


def test_merging_again_writes_the_same_bytes(run: RunFolder) -> None:
    before = results(run)
    stages.merge(run)
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
    stages.merge(run)
    assert results(run) == before


def test_the_merge_says_which_unit_is_missing(run: RunFolder) -> None:
    (run.shards("base") / "unit-00002.json").unlink()
    with pytest.raises(ShardError, match=r"missing: unit 2 \(items 4 to 5\)") as caught:
        stages.merge(run)
    assert caught.value.where == str(run.shards("base"))
    assert "Run the evaluation again" in caught.value.remedy


def test_the_merge_says_which_unit_was_cut_short(run: RunFolder) -> None:
    payload = next(run.shards("fine_tuned").glob("unit-00001.*.bin"))
    payload.write_bytes(payload.read_bytes()[:-1])
    with pytest.raises(ShardError, match=r"unit-00001.json: truncated"):
        stages.merge(run)


def test_a_unit_that_came_twice_counts_once(run: RunFolder) -> None:
    before = results(run)
    manifest = run.shards("base") / "unit-00001.json"
    shutil.copy(manifest, manifest.with_name("unit-00001.again.json"))
    stages.merge(run)
    assert results(run) == before


def test_two_units_that_contradict_each_other_are_refused(run: RunFolder) -> None:
    manifest = json.loads((run.shards("base") / "unit-00001.json").read_text())
    other = next(run.shards("base").glob("unit-00000.*.bin")).read_bytes()
    name = "unit-00001.other.bin"
    (run.shards("base") / name).write_bytes(other)
    changed = {"payload": name, "num_bytes": len(other), "sha256": hashlib.sha256(other).hexdigest()}
    write_json(run.shards("base") / "unit-00001.other.json", manifest | changed)
    with pytest.raises(ShardError, match="duplicate conflicting: unit 1"):
        stages.merge(run)


def test_a_unit_of_another_model_is_refused(run: RunFolder) -> None:
    for path in run.shards("base").glob("unit-00001.*"):
        shutil.copy(path, run.shards("fine_tuned"))
    with pytest.raises(ShardError, match=r"from another run: model is"):
        stages.merge(run)


def test_what_only_the_merge_uses_may_change_without_the_model(run: RunFolder, predicted: list[int]) -> None:
    values = yaml.safe_load(run.recipe.read_text())
    values["evaluation"] |= {"max_answer_length": 3, "null_score_diff_threshold": 0.5}
    run.recipe.write_text(yaml.safe_dump(values))
    evaluate_all(run, 2)
    stages.merge(run)
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
        (stages.train, "prepare"),
        (lambda run: stages.evaluate(run, "base", 0, 1), "prepare"),
        (stages.merge, "prepare"),
    ],
    ids=["train", "evaluate", "merge"],
)
def test_a_stage_that_comes_too_early_names_the_one_before(
    tmp_path: Path, causal_folder: Path, stage: Any, missing: str
) -> None:
    with pytest.raises(OperationalError, match=f"the stage {missing} has not ended well"):
        stage(new_run(tmp_path, "generative_ner", causal_folder))


def test_the_trained_model_is_not_evaluated_before_it_is_there(run: RunFolder) -> None:
    run.train_summary.unlink()
    with pytest.raises(OperationalError, match="the stage train has not ended well"):
        stages.evaluate(run, "fine_tuned", 0, 1)


def test_without_a_baseline_the_model_as_it_came_is_not_merged(run: RunFolder) -> None:
    values = yaml.safe_load(run.recipe.read_text())
    values["evaluation"]["baseline"] = False
    run.recipe.write_text(yaml.safe_dump(values))
    shutil.rmtree(run.root / "results")
    shutil.rmtree(run.shards("base"))
    stages.merge(run)
    assert {name.split("/")[0] for name in results(run)} == {"fine_tuned"}


def test_a_failure_while_preparing_leaves_no_prepared_folder(
    tmp_path: Path, causal_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path, "generative_ner", causal_folder)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stages, "write_examples", full)
    with pytest.raises(OSError, match="No space left"):
        stages.prepare(run)
    assert {path.name for path in run.root.iterdir()} == {"recipe.yaml", "run.json"}
