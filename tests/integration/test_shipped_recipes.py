"""The recipes that come with the product: all of them are planned, some are run small."""

import json
import re
from pathlib import Path

import pytest
from commands import launch, read, submit

from rankfold.recipe.load import load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
@pytest.mark.parametrize("cluster", ["slurm", "local"])
def test_every_recipe_is_loaded_and_planned(recipe: Path, cluster: str, tmp_path: Path) -> None:
    printed = launch("plan", str(recipe), "--cluster", cluster, "--json", runs=tmp_path).stdout
    plan = json.loads(printed)["plan"]
    assert [stage for stage in plan["jobs"] if stage["stage"] == "merge"]
    assert list(tmp_path.iterdir()) == []


def test_squad_v2_is_one_override_away(repository: Path) -> None:
    override = ["data.source.path=hub:rajpurkar/squad_v2"]
    recipe = load_recipe(repository / "recipes/distilbert_squad.yaml", override).recipe
    assert recipe.data.source is not None
    assert recipe.data.source.is_on_hub
    # Empty: whether questions may be unanswerable is read off the data.
    assert recipe.evaluation.version_2_with_negative is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_qwen_recipe_runs_with_zero2_on_two_ranks_and_a_tiny_qwen(
    repository: Path, tmp_path: Path
) -> None:
    import models

    tokenizer = models.chat_tokenizer()
    folder = models.save(models.causal_model(tokenizer), tokenizer, tmp_path / "tiny qwen 小")
    data = tmp_path / "ccfbdci.jsonl"
    data.write_text("".join(f"{_example(number)}\n" for number in range(40)), encoding="utf-8")
    run = submit(
        repository / "recipes/qwen_ner.yaml",
        f"model.name_or_path={folder}",
        f"data.source.path={data}",
        "train.max_steps=2",
        "train.gradient_accumulation_steps=2",
        "evaluation.shards=2",
        "evaluation.baseline=false",
        "evaluation.unit_size=2",
        "evaluation.per_device_eval_batch_size=2",
        "evaluation.max_new_tokens=8",
        "resources.train={nodes: 1, gpus_per_node: 0, tasks_per_node: 2, cpus_per_task: 1}",
        "resources.evaluate.gpus_per_node=0",
        "tracking.report_to=[]",
        runs=tmp_path / "runs",
    )

    log = (run / "jobs/train/rank0.log").read_text(encoding="utf-8")
    assert re.search(r"deepspeed|DeepSpeed", log)
    summary = read(run / "train_summary.json")
    assert (summary["world_size"], summary["global_batch_size"]) == (2, 4 * 2 * 2)
    assert len(read(run / "results/fine_tuned/predictions.json")) == 4
    assert len(list((run / "shards/fine_tuned").glob("*.json"))) == 2
    assert run.stat().st_mode & 0o777 == 0o700


def _example(number: int) -> str:
    person = "王李张刘陈"[number % 5] + "明"
    text = f"{person}第{number}次去北京。"
    start = text.index("北京")
    entities = [
        {
            "start_idx": 0,
            "end_idx": 2,
            "entity_text": person,
            "entity_label": "PER",
            "entity_names": ["人名"],
        },
        {
            "start_idx": start,
            "end_idx": start + 2,
            "entity_text": "北京",
            "entity_label": "LOC",
            "entity_names": [("地点", "地理实体", "组织")[number % 3]],
        },
    ]
    return json.dumps({"text": text, "entities": entities}, ensure_ascii=False)
