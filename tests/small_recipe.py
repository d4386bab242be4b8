"""A recipe whose model and data are files that a submission accepts and no stage reads."""

from pathlib import Path

RECIPE = """\
name: small
task: generative_ner
model: {name_or_path: ./model}
data:
  train: {path: train.jsonl, format: spans}
  test: {path: test.jsonl, format: spans}
evaluation: {baseline: false}
"""
EXAMPLE = '{"id": "1", "text": "Anna", "entities": []}\n'


def write_recipe(folder: Path) -> Path:
    """Write the recipe, its data and a folder for its model; return the recipe's path."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    for side in ("train", "test"):
        (folder / f"{side}.jsonl").write_text(EXAMPLE)
    path = folder / "我的 recipe.yaml"
    path.write_text(RECIPE)
    return path
