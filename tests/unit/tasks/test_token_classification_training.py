"""What the task teaches a model: labels of tokens, and a head that names them."""

from pathlib import Path
from typing import Any

import pytest
import transformers
from models import encoder_tokenizer, recipe

from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.examples import EntityExample, Span
from rankfold.errors import DataError
from rankfold.modeling.load import load_model
from rankfold.recipe.schema import Recipe
from rankfold.tasks.token_classification import TokenClassification

TASK = TokenClassification()
TOKENIZER = encoder_tokenizer()
LABELS = ("person", "place")
FILLER = "the river flows to the sea. " * 6


def example(text: str, *entities: tuple[str, str]) -> EntityExample:
    spans = [Span(text.index(part), text.index(part) + len(part), label) for part, label in entities]
    return EntityExample("x", text, tuple(sorted(spans)))


def settled(**data: Any) -> Recipe:
    return recipe("token_classification", data={"max_length": 24, "doc_stride": 10, **data})


@pytest.mark.parametrize("label_all_tokens", [True, False])
def test_training_labels_say_b_once_and_i_after_it_even_across_the_border_of_a_window(
    label_all_tokens: bool,
) -> None:
    using = settled(label_all_tokens=label_all_tokens)
    entity = "Anna Keller " * 20
    text = example(f"{FILLER}{entity.strip()} flows", (entity.strip(), "person"))
    columns = TASK.training_features([text], TOKENIZER, using, LABELS).columns
    begins = 0
    for ids, labels in zip(columns["input_ids"], columns["labels"], strict=True):
        assert (labels[0], labels[-1]) == (IGNORED_LABEL, IGNORED_LABEL)
        tokens = TOKENIZER.convert_ids_to_tokens(ids)
        for token, label in zip(tokens, labels, strict=True):
            if token in ("anna", "keller"):
                assert label in (1, 2)
            elif label != IGNORED_LABEL:
                assert label == 0
        begins += 1 in labels
    assert len(columns["labels"]) > begins >= 1


def test_without_label_all_tokens_only_the_first_token_of_a_word_learns() -> None:
    text = example("Berlinerin Anna", ("Berlinerin", "place"), ("Anna", "person"))
    every = TASK.training_features([text], TOKENIZER, settled(), LABELS).columns["labels"][0]
    first = TASK.training_features([text], TOKENIZER, settled(label_all_tokens=False), LABELS).columns[
        "labels"
    ][0]
    learned = [label for label in every if label != IGNORED_LABEL]
    assert learned == [3, *[4] * (len(learned) - 2), 1]
    assert len(learned) > 2
    assert [label for label in first if label != IGNORED_LABEL] == [3, 1]


def test_entities_that_tags_cannot_hold_are_counted() -> None:
    text = example("Anna Keller in Ulm", ("Anna Keller", "person"), ("Keller", "place"), (" ", "place"))
    features = TASK.training_features([text], TOKENIZER, settled(), LABELS)
    assert features.dropped == {"entity_overlaps_a_longer_one": 1, "entity_without_a_token": 1}


def test_a_data_set_without_a_label_is_refused() -> None:
    with pytest.raises(DataError, match="not one training text has an entity"):
        TASK.training_features([example("")], TOKENIZER, settled(), ())


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_not_learned_and_labels_stay_with_their_tokens(side: str) -> None:
    tokenizer = encoder_tokenizer(padding_side=side)
    examples = [example(f"{FILLER} Ulm", ("Ulm", "place")), example("Anna", ("Anna", "person")), example("")]
    columns = TASK.training_features(examples, tokenizer, settled(), LABELS).columns
    batch = TASK.collate(
        [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)], tokenizer
    )
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids", "labels"}
    assert (batch["labels"][batch["attention_mask"] == 0] == IGNORED_LABEL).all()
    for row, labels in enumerate(columns["labels"]):
        assert batch["labels"][row][batch["attention_mask"][row] == 1].tolist() == labels


def test_the_saved_model_names_its_tags_to_the_pipelines_of_transformers(
    encoder_folder: Path, tmp_path: Path
) -> None:
    loaded = load_model(encoder_folder, settled().model, TASK.auto_class, TASK.model_config(LABELS))
    assert loaded.new_parameters == {"classifier.weight", "classifier.bias"}
    loaded.model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    pipeline = transformers.pipeline("token-classification", model=str(tmp_path), device="cpu")
    names = {found["entity"] for found in pipeline("Anna lives in Ulm", ignore_labels=[])}
    assert names <= {"O", "B-person", "I-person", "B-place", "I-place"}
    label2id = {"O": 0, "B-person": 1, "I-person": 2, "B-place": 3, "I-place": 4}
    assert pipeline.model.config.label2id == label2id
