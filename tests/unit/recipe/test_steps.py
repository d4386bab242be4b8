"""That the counts are the Trainer's own, tests/unit/training/test_trainer.py holds against it."""

from hypothesis import given
from hypothesis import strategies as st

from rankfold.recipe.schema import Train
from rankfold.recipe.steps import evaluation_steps, global_batch_size, optimizer_steps

# Small, so that most epochs have several steps.
COUNTS = st.integers(1, 4)


def test_the_global_batch_is_what_all_ranks_see_in_one_step() -> None:
    train = Train(per_device_train_batch_size=4, gradient_accumulation_steps=4)
    assert global_batch_size(train, world_size=8) == 128


def test_max_steps_overrides_the_epochs() -> None:
    train = Train(max_steps=7, num_train_epochs=100.0)
    assert optimizer_steps(train, num_rows=10_000, world_size=2) == 7


def test_a_last_batch_that_is_not_full_is_a_step_too() -> None:
    train = Train(per_device_train_batch_size=8, num_train_epochs=2.0)
    assert optimizer_steps(train, num_rows=17, world_size=1) == 6


@given(rows=st.integers(1, 300), batch=COUNTS, accumulation=COUNTS, ranks=COUNTS)
def test_an_epoch_has_enough_steps_for_every_row_and_none_to_spare(
    rows: int, batch: int, accumulation: int, ranks: int
) -> None:
    train = Train(
        per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, num_train_epochs=1.0
    )
    steps = optimizer_steps(train, num_rows=rows, world_size=ranks)
    size = global_batch_size(train, ranks)
    assert (steps - 1) * size < rows <= steps * size


def test_evaluations_go_by_the_steps_of_checkpoints_unless_they_have_their_own() -> None:
    assert evaluation_steps(Train(save_steps=13)) == 13
    assert evaluation_steps(Train(save_steps=13, eval_steps=5)) == 5
