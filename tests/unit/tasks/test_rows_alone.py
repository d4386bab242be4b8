"""What a row learns depends on no other row of its batch, unless its task says so: rows may be sorted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models import causal_model, chat_tokenizer, encoder_model, encoder_tokenizer, recipe, save
from tiny_t5 import t5_model, t5_tokenizer
from transformers import PreTrainedTokenizerBase, set_seed
from unit.training.methods_on_ranks import DOCUMENTS, LABELS, TEXTS, WITHOUT_DROPOUT
from unit.training.methods_on_ranks import EXAMPLES as OF_RANKS

from rankfold.data.examples import Answer, EntityExample, QuestionExample, Span
from rankfold.data.noise import generator_of
from rankfold.task_facts import task_names
from rankfold.tasks import denoising, masked_lm
from rankfold.tasks.registry import load_task

MARKED = [EntityExample(text, text, (Span(0, len(text.split()[0]), "place"),)) for text in TEXTS]
EXAMPLES: Mapping[str, Sequence[Any]] = {
    **OF_RANKS,
    "causal_lm": DOCUMENTS,
    "token_classification": MARKED,
    "generative_ner": MARKED,
    "extractive_qa": [QuestionExample(text, "where", text, (Answer(text[:3], 0),)) for text in TEXTS],
}
BASES = {"decoder": "causal", "encoder": "bert", "encoder-decoder": "t5"}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, PreTrainedTokenizerBase]]:
    folder = tmp_path_factory.mktemp("bases")
    chat, words, sentinels = chat_tokenizer(), encoder_tokenizer(), t5_tokenizer()
    words.add_special_tokens({"mask_token": "[MASK]"})
    return {
        "causal": (save(causal_model(chat), chat, folder / "causal"), chat),
        "bert": (save(encoder_model(words), words, folder / "bert"), words),
        "t5": (save(t5_model(sentinels), sentinels, folder / "t5"), sentinels),
    }


@pytest.mark.parametrize("name", task_names())
def test_the_loss_of_a_batch_is_that_of_its_rows(
    name: str, bases: Mapping[str, tuple[Path, PreTrainedTokenizerBase]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (masked_lm, denoising):
        # What is hidden of a row is drawn anew for each batch, as dropout is.
        monkeypatch.setattr(module, "batch_generators", lambda seeds: list(map(generator_of, seeds)))
    task = load_task(name)
    base = BASES[task.facts.model_kind]
    folder, tokenizer = bases[base]
    set_seed(0)
    model = getattr(transformers, task.auto_class).from_pretrained(
        folder, **WITHOUT_DROPOUT[base], **task.model_config(LABELS)
    )
    of = recipe(name, folder, data={"max_length": 256, "doc_stride": 8})
    columns = task.training_features(EXAMPLES[name], tokenizer, of, LABELS).columns
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def total(rows: Sequence[Mapping[str, Any]]) -> float:
        batch = task.collate(rows, tokenizer)
        items = task.num_items(batch)
        # A mean over nothing is NaN.
        return float(task.loss(model, batch)[0]) * items if items else 0.0

    with torch.no_grad():
        alone, together = sum(total([row]) for row in rows), total(rows)
    assert len(rows) == len(TEXTS)
    is_theirs = together == pytest.approx(alone, rel=1e-4)
    assert is_theirs is not task.loss_couples_rows
