"""How far attempts got, and when there have been enough of them."""

from dataclasses import replace
from typing import Any

import pytest
from unit.launch.attempt_states import START, planned

from launch.attempts import Attempt, Cause, no_progress, progress_of


def test_three_attempts_from_the_same_step_are_enough(make_run: Any) -> None:
    train = planned(make_run(), "train")
    stuck = [Attempt(number, "7", "n", START, 40, START, "time_limit", "over") for number in (1, 2, 3)]
    ending = no_progress(train, stuck, 40)
    assert ending is not None
    assert ending.cause == "no_progress"
    assert str(ending) == (
        "over; 3 attempts in a row began at step 40 and got no further; raise resources.train.time_limit_min"
    )
    assert no_progress(train, stuck, 41) is None
    assert no_progress(train, stuck[:2], 40) is None
    assert no_progress(train, [replace(stuck[0], progress=39), *stuck[1:]], 40) is None


@pytest.mark.parametrize("cause", ["preempted", "node_failure"])
def test_attempts_that_lost_their_nodes_do_not_count_but_not_for_ever(make_run: Any, cause: Cause) -> None:
    train = planned(make_run(), "train")
    taken = [Attempt(number, "7", "n", START, 0, START, cause, "gone") for number in range(1, 11)]
    assert no_progress(train, taken[:9], 0) is None
    ending = no_progress(train, taken, 0)
    assert str(ending) == "gone; 10 attempts in a row began at step 0 and got no further"
    own = [replace(each, cause="killed", error="was killed") for each in taken[:3]]
    assert no_progress(train, [*own[:2], *taken[:4]], 0) is None
    ending = no_progress(train, [own[0], *taken[:4], *own[1:]], 0)
    assert str(ending) == "was killed; 7 attempts in a row began at step 0 and got no further"


def test_progress_is_the_newest_whole_checkpoint_or_the_shard_s_own_units(make_run: Any) -> None:
    run = make_run()
    for step, whole in ((10, True), (20, True), (30, False)):
        folder = run.checkpoints / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / ("COMPLETE" if whole else "model.safetensors")).touch()
    run.shards("base").mkdir(parents=True)
    for unit in (0, 1, 2, 4, 5):
        (run.shards("base") / f"unit-{unit:05d}.json").touch()
    assert progress_of(run, planned(run, "train")) == 20
    assert progress_of(run, planned(run, "evaluate-base-0")) == 3
    assert progress_of(run, planned(run, "evaluate-fine_tuned-0")) == 0
    assert progress_of(run, planned(run, "merge")) == 0
