"""Which rank stands elsewhere, from what faulthandler wrote."""

from launch.why.stacks import Stack, hang_words, odd_ranks, read_stack

WAITING = """\
train starts as 1 of 4 ranks
Timeout (0:30:00)!
Thread 0x00007f0000000001 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait
  File "/usr/lib/python3.11/threading.py", line 629 in run
Thread 0x00007f0000000002 (most recent call first):
  File "/venv/torch/distributed/distributed_c10d.py", line 2810 in all_reduce
  File "/venv/rankfold/training/trainer.py", line 77 in training_step
  File "/venv/rankfold/stages/train.py", line 40 in train
"""
READING = """\
Timeout (0:30:00)!
Thread 0x00007f0000000002 (most recent call first):
  File "/venv/datasets/arrow_dataset.py", line 12 in __getitem__
  File "/venv/rankfold/stages/train.py", line 40 in train
train failed
"""
BACKWARD = WAITING.replace("line 2810 in all_reduce", "line 865 in _engine_run_backward")


def stacks(*texts: str) -> dict[int, Stack]:
    return {rank: stack for rank, text in enumerate(texts) if (stack := read_stack(text))}


def test_the_main_threads_stack_of_the_last_hang_is_read() -> None:
    (stack,) = stacks(WAITING + READING).values()
    assert [frame.function for frame in stack] == ["__getitem__", "train"]
    assert read_stack("Traceback (most recent call last):\n") is None


def test_the_rank_that_does_not_wait_is_the_odd_one() -> None:
    assert odd_ranks(stacks(WAITING, READING)) == [1]
    words = hang_words(stacks(WAITING, READING, WAITING), 4)
    assert words == (
        "rank 1 stood elsewhere than the others: rank 1 in __getitem__ (datasets/arrow_dataset.py:12); "
        "ranks 0, 2 in all_reduce (distributed/distributed_c10d.py:2810); rank 3 did not write where it stood"
    )


def test_where_all_wait_the_fewest_alike_are_odd() -> None:
    assert odd_ranks(stacks(BACKWARD, WAITING, BACKWARD)) == [1]


def test_where_nobody_stands_out_every_place_is_told() -> None:
    assert odd_ranks(stacks(BACKWARD, WAITING)) == []
    assert odd_ranks(stacks(WAITING, WAITING)) == []
    assert hang_words(stacks(WAITING, WAITING), 2) == (
        "ranks 0, 1 in all_reduce (distributed/distributed_c10d.py:2810)"
    )
    assert hang_words({}, 2) == "no rank wrote where it stood"
