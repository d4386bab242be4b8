"""Training with a package that stands in for Liger: its kernels are in the model, or nothing is trained."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import liger_stand_in
import pytest
from datasets import Dataset
from models import absolute_causal_model, causal_model, chat_tokenizer, recipe, save

from rankfold.data.examples import EntityExample, Span
from rankfold.errors import ModelError, RecipeError
from rankfold.modeling.load import load_tokenizer
from rankfold.run_folder import RunFolder
from rankfold.tasks.generative_ner import GenerativeNER
from rankfold.training.fine_tune import fine_tune

LORA = {"method": "lora", "r": 4, "target_modules": ["q_proj"]}


def trained(folder: Path, base: Path, **model: Any) -> dict[str, Any]:
    settings = {"max_steps": 1, "per_device_train_batch_size": 2, "use_liger_kernel": True}
    of = recipe("generative_ner", base, model=model, train=settings)
    task, tokenizer = GenerativeNER(), load_tokenizer(base)
    texts = [EntityExample(str(i), "Anna lives in Ulm.", (Span(0, 4, "person"),)) for i in range(2)]
    features = task.training_features(texts, tokenizer, of, ("person",))
    return fine_tune(
        RunFolder(folder / "run"),
        of,
        task,
        base=base,
        tokenizer=tokenizer,
        labels=("person",),
        features=Dataset.from_dict(features.columns),
        world_size=1,
    )


@pytest.fixture
def _liger(tmp_path: Path) -> Iterator[None]:
    with liger_stand_in.installed(tmp_path):
        yield


@pytest.mark.usefixtures("_liger")
@pytest.mark.parametrize("adapter", [None, LORA])
def test_the_summary_says_how_many_modules_got_kernels(
    tmp_path: Path, causal_folder: Path, adapter: dict[str, Any] | None
) -> None:
    assert trained(tmp_path, causal_folder, adapter=adapter)["liger_modules"] == 2


@pytest.mark.usefixtures("_liger")
def test_a_model_that_it_has_no_kernels_for_is_refused_before_the_first_step(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    base = save(absolute_causal_model(tokenizer), tokenizer, tmp_path / "base")
    with pytest.raises(ModelError, match="Liger has no kernels for gpt2") as caught:
        trained(tmp_path, base)
    assert "train.use_liger_kernel=false" in caught.value.remedy
    assert not RunFolder(tmp_path / "run").model.exists()


def test_a_version_that_transformers_does_not_take_is_refused(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    base = save(causal_model(tokenizer), tokenizer, tmp_path / "base")
    with (
        liger_stand_in.installed(tmp_path, version="0.2.9"),
        pytest.raises(RecipeError, match=r"not installed, or older than 0\.3"),
    ):
        trained(tmp_path, base)
