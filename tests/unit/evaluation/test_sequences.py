import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from rankfold.entities.candidates import ScoredSequence
from rankfold.evaluation.generation import GeneratedSequence
from rankfold.evaluation.sequences import sequences_by_example, sequences_to_bytes


def sequence(prompt: int, index: int, text: str = "Ulm", score: float = -1.5) -> GeneratedSequence:
    return GeneratedSequence(prompt, index, text, score, 3, finished=True)


@given(text=st.text(), score=st.floats(max_value=0, allow_infinity=False))
def test_text_and_score_read_back_to_the_bit(text: str, score: float) -> None:
    payload = sequences_to_bytes([sequence(0, 0, text, score)], first_example=7)
    assert sequences_by_example([payload]) == {7: [ScoredSequence(text, score, 0)]}


def test_the_bytes_do_not_depend_on_the_order_in_which_batches_were_done() -> None:
    rows = [sequence(prompt, index) for prompt in range(3) for index in range(2)]
    assert sequences_to_bytes(rows, first_example=0) == sequences_to_bytes(rows[::-1], first_example=0)


def test_the_sequences_of_several_units_are_found_by_example_in_any_order() -> None:
    first = sequences_to_bytes([sequence(0, 0), sequence(1, 0), sequence(1, 1)], first_example=0)
    second = sequences_to_bytes([sequence(0, 0)], first_example=2)
    for payloads in ([first, second], [second, first]):
        found = sequences_by_example(payloads)
        assert list(found) == [0, 1, 2]
        assert [one.index for one in found[1]] == [0, 1]


def test_reading_sequences_back_needs_neither_torch_nor_transformers() -> None:
    program = (
        "import sys, rankfold.evaluation.sequences; sys.exit(len({'torch', 'transformers'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
