"""What the task teaches a model: one label or several, a head that names them, and where labels come from."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models import causal_model, chat_tokenizer, encoder_tokenizer, ignore, recipe, save

from rankfold.data.examples import TextExample
from rankfold.data.features import Features
from rankfold.errors import DataError
from rankfold.evaluation.class_logits import class_logits
from rankfold.evaluation.work import UnitWork
from rankfold.modeling.load import load_model
from rankfold.nbest.units import Unit
from rankfold.tasks.text_classification import TextClassification

TASK = TextClassification()
TOKENIZER = encoder_tokenizer()
LABELS = ("river", "town", "bread")


def settled(**data: Any) -> Any:
    return recipe("text_classification", data={"max_length": 16, **data})


def features_of(*labels: tuple[str, ...], names: tuple[str, ...] = LABELS, **data: Any) -> Features:
    examples = [TextExample(str(n), "the old town", labels=of) for n, of in enumerate(labels)]
    return TASK.training_features(examples, TOKENIZER, settled(**data), names)


def batch_of(features: Features) -> dict[str, Any]:
    names = list(features.columns)
    values = zip(*features.columns.values(), strict=True)
    return TASK.collate([dict(zip(names, row, strict=True)) for row in values], TOKENIZER)


def row(**values: Any) -> TextExample:
    return TASK.example_of({"id": "7", "text": "the old town", **values}, "data.csv:2")


def test_a_column_label_stands_for_labels() -> None:
    assert row(label="town") == row(labels="town") == row(labels=["town"])
    assert row(labels="town", label="river").labels == ("town",)
    assert row(label=1).labels == ("1",)
    assert row(label=False).labels == ("false",)
    assert (row(label=1.0).labels, row(label=1.5).labels) == (("1",), ("1.5",))


def test_a_row_may_have_no_label_and_a_label_counts_once() -> None:
    assert row().labels == row(label="").labels == row(label=None).labels == row(labels=[]).labels == ()
    assert row(labels=float("nan")).labels == row(labels=[float("nan"), None, ""]).labels == ()
    assert row(labels=["town", "river", "town"]).labels == ("town", "river")


def test_one_label_is_learned_as_a_class_and_several_as_yes_or_no_each() -> None:
    one = batch_of(features_of(("town",), ("river",)))["labels"]
    assert (one.tolist(), one.dtype) == ([1, 0], torch.int64)
    several = batch_of(features_of(("town", "river"), (), multi_label=True))["labels"]
    assert (several.tolist(), several.dtype) == ([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], torch.float32)


def test_what_cannot_be_learned_is_counted() -> None:
    features = features_of(("town",), (), ("castle",), ("river",), ("town",))
    assert features.columns["labels"] == [1, 0, 1]
    assert features.dropped == {"no label, or none of data.labels": 2}
    several = features_of(("town", "castle"), multi_label=True)
    assert several.repaired["label that is not among data.labels"] == 1
    assert not features_of(("town",), ("river",), ("bread",)).repaired


def test_texts_of_which_none_has_a_label_are_counted_and_give_no_row() -> None:
    features = features_of((), ("castle",))
    assert (len(features), features.num_tokens) == (0, 0)
    assert features.dropped == {"no label, or none of data.labels": 2}


def test_two_labels_where_one_is_wanted_are_an_error() -> None:
    with pytest.raises(DataError, match="'1' has 2 labels: town, river") as caught:
        features_of(("town",), ("town", "river"))
    assert "multi_label: true" in caught.value.remedy


@pytest.mark.parametrize("names", [(), ("town",)])
def test_fewer_than_two_labels_are_an_error(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="two labels at least"):
        features_of(("town",), names=names)


@pytest.mark.parametrize(
    ("several", "problem"), [(False, "single_label_classification"), (True, "multi_label_classification")]
)
def test_the_saved_model_knows_its_labels_and_its_kind_of_problem(
    several: bool, problem: str, encoder_folder: Path, tmp_path: Path
) -> None:
    loaded = load_model(encoder_folder, settled().model, TASK.auto_class, TASK.model_config(LABELS))
    assert loaded.new_parameters == {"classifier.weight", "classifier.bias"}
    loss, output = TASK.loss(loaded.model, batch_of(features_of(("town",), ("river",), multi_label=several)))
    assert output.logits.shape == (2, 3)
    target = torch.tensor([1, 0])
    expected = (
        torch.nn.functional.binary_cross_entropy_with_logits(
            output.logits, torch.nn.functional.one_hot(target, 3).float()
        )
        if several
        else torch.nn.functional.cross_entropy(output.logits, target)
    )
    assert torch.equal(loss, expected)
    loaded.model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path), device="cpu", top_k=None)
    assert {found["label"] for found in pipeline(["the old town"])[0]} == set(LABELS)
    assert pipeline.model.config.problem_type == problem


def test_a_decoder_scores_padded_rows_as_it_scores_them_alone(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    folder = save(causal_model(tokenizer), tokenizer, tmp_path / "decoder")
    torch.manual_seed(0)
    model = load_model(folder, settled().model, TASK.auto_class, TASK.model_config(LABELS)).model.eval()
    examples = [TextExample("a", "the river flows to the sea"), TextExample("b", "Ulm")]
    columns = TASK.evaluation_features(examples, tokenizer, settled(), LABELS).columns
    rows = [{"input_ids": ids} for ids in columns["input_ids"]]

    def logits(chosen: list[dict[str, Any]]) -> torch.Tensor:
        work = UnitWork(Unit(0, 0, len(chosen)), chosen, shard="shard 0", advance=ignore)
        found = class_logits(model, tokenizer, work, settled().evaluation)
        return torch.from_numpy(found)

    together, alone = logits(rows), torch.cat([logits(rows[:1]), logits(rows[1:])])
    assert together.shape == (2, 3)
    assert torch.allclose(together, alone, atol=1e-5)
