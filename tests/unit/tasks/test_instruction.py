import itertools
import json
import random
from typing import Any

import pytest
import torch
from datasets import Dataset
from merged import Results, merge_all, predicted
from models import CHATML, causal_model, chat_tokenizer, recipe

from rankfold.data.collate import IGNORED_LABEL
from rankfold.data.examples import ChatExample, Message
from rankfold.data.features import Features
from rankfold.data.packing import pack
from rankfold.errors import ModelError, NumericalError
from rankfold.nbest.units import Unit, plan_units
from rankfold.recipe.schema import Recipe
from rankfold.tasks.instruction import Instruction

TASK = Instruction()
TOKENIZER = chat_tokenizer()


def chat(name: str, *texts: str, system: str | None = None) -> ChatExample:
    """What user and assistant say in turn."""
    roles = itertools.cycle(("user", "assistant"))
    said = [Message(role, text) for role, text in zip(roles, texts, strict=False)]  # type: ignore[arg-type]
    return ChatExample(name, (*([Message("system", system)] if system else []), *said))


EXAMPLES = [
    chat("a", "Who lives in Ulm?", "Anna Keller.", "And in Berlin?", "Paul.", system="Be brief."),
    chat("b", "Where does the river end?", "In the sea."),
    chat("c", "Who paints bridges?", "Paul.", "Thank you."),
]


def settings(**sections: Any) -> Recipe:
    return recipe("instruction", **sections)


def training(examples: list[ChatExample], max_length: int = 384) -> Features:
    return TASK.training_features(examples, TOKENIZER, settings(data={"max_length": max_length}), ())


def learned(labels: list[int]) -> list[str]:
    runs = itertools.groupby(labels, key=lambda label: label == IGNORED_LABEL)
    return [TOKENIZER.decode(list(run)) for ignored, run in runs if not ignored]


def test_every_turn_of_the_assistant_is_learned_with_its_end_and_nothing_else() -> None:
    columns = training(EXAMPLES).columns
    assert [learned(labels) for labels in columns["labels"]] == [
        ["Anna Keller.<|im_end|>", "Paul.<|im_end|>"],
        ["In the sea.<|im_end|>"],
        ["Paul.<|im_end|>"],
    ]
    for ids, labels in zip(columns["input_ids"], columns["labels"], strict=True):
        assert all(label in (index, IGNORED_LABEL) for index, label in zip(ids, labels, strict=True))
    assert "Thank you." not in TOKENIZER.decode(columns["input_ids"][2])


def test_what_max_length_cuts_is_counted_and_its_end_is_not_learned() -> None:
    whole = len(training(EXAMPLES[:1]).columns["input_ids"][0])
    assert training(EXAMPLES[:1], whole).num_truncated == 0
    features = training(EXAMPLES[:1], whole - 1)
    assert features.num_truncated == 1
    assert learned(features.columns["labels"][0]) == ["Anna Keller.<|im_end|>", "Paul."]


def test_a_prompt_that_fills_max_length_and_a_chat_without_an_answer_give_no_row_and_are_counted() -> None:
    long, unanswered = chat("long", "Ulm " * 200, "Yes."), chat("unanswered", "Who lives in Ulm?")
    features = training([*EXAMPLES, long, unanswered], 150)
    assert len(features) == len(EXAMPLES)
    assert features.dropped == {"prompt alone fills max_length": 1, "no turn of the assistant": 1}
    nothing = training([long, unanswered], 150)
    assert (len(nothing), nothing.dropped) == (0, features.dropped)


def test_evaluation_asks_for_the_last_turn_with_what_training_showed_before_it() -> None:
    trained = training(EXAMPLES[:2]).columns["input_ids"]
    features = TASK.evaluation_features(EXAMPLES[:2], TOKENIZER, settings(data={"max_length": 8}), ())
    shown = features.columns
    for ids, prompt, reference in zip(trained, shown["input_ids"], shown["reference"], strict=True):
        assert prompt + reference == ids
    assert [TOKENIZER.decode(ids) for ids in shown["reference"]] == [
        "Paul.<|im_end|>",
        "In the sea.<|im_end|>",
    ]
    assert (shown["example"], features.repaired) == ([0, 1], {})


def test_a_conversation_that_ends_with_the_user_is_to_be_answered_there_and_has_no_reference() -> None:
    features = TASK.evaluation_features(EXAMPLES[2:], TOKENIZER, settings(), ())
    prompt = TOKENIZER.decode(features.columns["input_ids"][0])
    assert prompt.endswith("Thank you.<|im_end|>\n<|im_start|>assistant\n")
    assert features.columns["reference"] == [[]]
    assert features.repaired == {"conversation that does not end with an answer, not scored": 1}


def test_a_template_that_cannot_be_cut_is_refused_with_the_conversation_and_what_to_do() -> None:
    counting = chat_tokenizer("{{ messages | length }} messages\n" + CHATML)
    with pytest.raises(ModelError, match="renders the prompt differently") as caught:
        TASK.training_features(EXAMPLES, counting, settings(), ())
    assert caught.value.where == "conversation a"
    assert "a conversation of its own" in caught.value.remedy


def test_rows_of_every_layout_become_conversations() -> None:
    row = {"id": "7", "instruction": "Translate.", "input": "Haus", "output": "house"}
    assert TASK.example_of(row, "here") == chat("7", "Translate.\n\nHaus", "house")


def as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_has_the_loss_of_its_conversations_one_by_one(packed: bool) -> None:
    model = causal_model(TOKENIZER)
    features = training(EXAMPLES)
    with torch.inference_mode():
        alone = [
            model(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss
            for row in as_rows(features.columns)
        ]
        batch = TASK.collate(as_rows((pack(features, 256) if packed else features).columns), TOKENIZER)
        loss, _ = TASK.loss(model, batch)
    counts = [sum(label != IGNORED_LABEL for label in labels) for labels in features.columns["labels"]]
    assert TASK.num_items(batch) == sum(counts)
    mean = sum(float(one) * count for one, count in zip(alone, counts, strict=True)) / sum(counts)
    assert float(loss) == pytest.approx(mean, rel=1e-5)


MODEL = causal_model(TOKENIZER)
UNANSWERED = chat("d", "Who lives in Ulm?")


def evaluated(unit_size: int, examples: list[ChatExample] | None = None, **evaluation: Any) -> Results:
    examples = examples or [*EXAMPLES, UNANSWERED]
    of = settings(evaluation={"max_new_tokens": 5, "per_device_eval_batch_size": unit_size, **evaluation})
    features = Dataset.from_dict(TASK.evaluation_features(examples, TOKENIZER, of, ()).columns)
    parts = [
        predicted(TASK, MODEL, TOKENIZER, features, unit, of) for unit in plan_units(len(examples), unit_size)
    ]
    random.Random(unit_size).shuffle(parts)
    return merge_all(TASK, parts, examples, features, of)


def test_the_reference_s_probability_is_that_of_the_last_turn_given_all_before_it() -> None:
    answered = EXAMPLES[:2]
    for example, row in zip(answered, evaluated(2, answered).details, strict=True):
        columns = TASK.evaluation_features([example], TOKENIZER, settings(), ()).columns
        (prompt,), (reference,) = columns["input_ids"], columns["reference"]
        with torch.inference_mode():
            logits = MODEL(input_ids=torch.tensor([prompt + reference])).logits[0, len(prompt) - 1 : -1]
        each = logits.double().log_softmax(dim=1)
        wanted = torch.tensor(reference)
        assert row["reference"]["loss"] == pytest.approx(
            -float(each[range(len(reference)), wanted].sum()), rel=1e-5
        )
        assert row["reference"]["num_tokens"] == len(reference)
        assert row["reference"]["num_correct"] == int((each.argmax(dim=1) == wanted).sum())


def test_metrics_hold_probability_and_likeness_and_leave_out_what_has_no_reference() -> None:
    found = evaluated(4)
    metrics = found.metrics
    sums = [row["reference"] for row in found.details if row["reference"]]
    assert len(sums) == 2
    assert metrics["num_examples"] == 4
    assert metrics["loss"] == pytest.approx(sum(s["loss"] for s in sums) / sum(s["num_tokens"] for s in sums))
    assert {"perplexity", "token_accuracy", "rougeL", "chrf", "bleu", "exact_match_rate"} <= metrics.keys()
    assert metrics["mean_num_tokens"] == 5
    assert metrics["finished_rate"] == 0
    last = found.details[-1]
    assert (last["gold"], last["score"], last["reference"]) == ("", None, None)
    assert found.predictions["d"] == last["predicted"]


def test_without_any_reference_no_score_is_told_but_how_the_model_writes_is() -> None:
    asked = [row | {"score": None, "reference": None, "gold": ""} for row in evaluated(4).details]
    metrics = TASK.metrics(asked, settings(evaluation={"num_bootstrap_resamples": 10}), ())
    measured = {"mean_num_tokens", "finished_rate", "num_examples", "num_tokens"}
    unmeasured = {*TASK.facts.headline, "loss", "token_accuracy", "bleu", "rouge1", "rouge2"}
    assert {name for name, value in metrics.items() if value is None} >= unmeasured
    assert {name for name, value in metrics.items() if isinstance(value, int | float)} == measured
    assert metrics["confidence_intervals"] == {}


def test_details_show_what_was_asked() -> None:
    first, second, third, fourth = evaluated(4).details
    assert first["text"] == (
        "system: Be brief.\nuser: Who lives in Ulm?\nassistant: Anna Keller.\nuser: And in Berlin?"
    )
    assert (first["gold"], second["text"]) == ("Paul.", "Where does the river end?")
    assert third["text"] == "user: Who paints bridges?\nassistant: Paul.\nuser: Thank you."
    assert (third["gold"], fourth["text"]) == ("", "Who lives in Ulm?")


def test_the_n_best_list_has_every_sequence_with_its_probability_the_search_s_best_first() -> None:
    found = evaluated(4, num_beams=3, num_return_sequences=3)
    for row in found.nbest:
        assert row["nbest"][0]["text"] == found.predictions[row["id"]]
        totals = [sequence["log_probability"] for sequence in row["nbest"]]
        assert totals == sorted(totals, reverse=True)
        assert len(totals) == 3
    assert [
        len(row["nbest"]) for row in evaluated(4, num_beams=3, num_return_sequences=3, n_best_size=2).nbest
    ] == [2] * 4


@pytest.mark.parametrize("search", [{}, {"do_sample": True, "num_return_sequences": 2}])
def test_the_order_in_which_units_were_done_changes_no_byte(search: dict[str, Any]) -> None:
    once, again = (evaluated(2, **search) for _ in range(2))
    assert once.lines == again.lines
    assert json.dumps(once.metrics) == json.dumps(again.metrics)


def test_a_model_that_diverged_names_the_text_and_the_shard() -> None:
    model = causal_model(TOKENIZER)
    torch.nn.init.constant_(model.model.norm.weight, float("nan"))
    features = Dataset.from_dict(
        TASK.evaluation_features([*EXAMPLES, UNANSWERED], TOKENIZER, settings(), ()).columns
    )
    of = settings(evaluation={"max_new_tokens": 2})
    for unit, message in ((Unit(0, 0, 2), "reference of text 0 is nan"), (Unit(1, 2, 4), "of text 2 is nan")):
        with pytest.raises(NumericalError, match=message) as caught:
            predicted(TASK, model, TOKENIZER, features, unit, of, "shard 0 (base)")
        assert caught.value.where == "shard 0 (base)"
