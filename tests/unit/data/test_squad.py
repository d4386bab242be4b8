"""The format squad: v1, v2 and relatives."""

import json
from pathlib import Path
from typing import Any

import pytest

from rankfold.data.examples import Answer, QuestionExample
from rankfold.data.readers import read_examples
from rankfold.errors import DataError
from rankfold.recipe.schema import Source

CONTEXT = "Ulm is old. Ulm lies on the Danube."


def question(id_: object, *answers: tuple[str, int], **more: object) -> dict[str, Any]:
    listed = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": id_, "question": "Where?", "answers": listed, **more}


def document(*questions: dict[str, Any], context: str = CONTEXT) -> dict[str, Any]:
    return {"version": "1.1", "data": [{"paragraphs": [{"context": context, "qas": list(questions)}]}]}


def write(folder: Path, value: object) -> Source:
    path = folder / "data.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return Source(path=str(path), format="squad")


def error_of(source: Source) -> str:
    with pytest.raises(DataError) as caught:
        read_examples(source)
    return str(caught.value).replace(source.path, "data.json")


def test_a_question_keeps_all_of_its_answers(tmp_path: Path) -> None:
    source = write(tmp_path, document(question("q", ("Ulm", 0), ("Danube", 28))))
    assert read_examples(source).examples == (
        QuestionExample("q", "Where?", CONTEXT, (Answer("Ulm", 0), Answer("Danube", 28))),
    )


def test_an_impossible_question_has_no_answer(tmp_path: Path) -> None:
    impossible = question("q", is_impossible=True, plausible_answers=[{"text": "x", "answer_start": 1}])
    result = read_examples(write(tmp_path, document(impossible)))
    assert result.examples == (QuestionExample("q", "Where?", CONTEXT, ()),)
    assert result.dropped == {}


def test_a_numbered_question_has_its_number_as_id(tmp_path: Path) -> None:
    source = write(tmp_path, document(question(7, ("Ulm", 0))))
    assert [example.id for example in read_examples(source).examples] == ["7"]


@pytest.mark.parametrize(("wrong", "right"), [(-1, 0), (1, 0), (9, 12), (13, 12), (999, 12)])
def test_a_misplaced_answer_moves_to_the_nearest_place_that_has_its_text(
    tmp_path: Path, wrong: int, right: int
) -> None:
    result = read_examples(write(tmp_path, document(question("q", ("Ulm", wrong)))))
    assert result.examples == (QuestionExample("q", "Where?", CONTEXT, (Answer("Ulm", right),)),)
    assert result.repaired == {"answer_start_moved_to_text": 1}


def test_an_answer_that_is_not_in_the_context_is_dropped_and_counted(tmp_path: Path) -> None:
    source = write(tmp_path, document(question("q", ("Bonn", 0), ("Ulm", 0))))
    result = read_examples(source)
    assert result.examples == (QuestionExample("q", "Where?", CONTEXT, (Answer("Ulm", 0),)),)
    assert result.dropped == {"answer_not_in_context": 1}


def test_a_question_whose_answers_all_go_goes_too_and_does_not_become_unanswerable(
    tmp_path: Path,
) -> None:
    source = write(tmp_path, document(question("q", ("Bonn", 0), ("", 0)), question("r", ("Ulm", 0))))
    result = read_examples(source)
    assert [example.id for example in result.examples] == ["r"]
    assert result.dropped == {
        "answer_not_in_context": 1,
        "empty_answer": 1,
        "question_without_usable_answer": 1,
    }


def test_a_question_id_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    source = write(tmp_path, document(question("q", ("Ulm", 0)), question("q", ("Ulm", 0))))
    assert error_of(source) == (
        "data.json, data[0], paragraphs[0], qas[1]: the question id 'q' comes twice\n"
        "  → Make every id unique: predictions are kept by id."
    )


def test_a_missing_answer_offset_is_located(tmp_path: Path) -> None:
    record = {"id": "q", "question": "Where?", "answers": [{"text": "Ulm"}]}
    assert error_of(write(tmp_path, document(record))) == (
        "data.json, data[0], paragraphs[0], qas[0], answers[0]: `answer_start` is missing; "
        "the keys here are: `text`\n"
        "  → Add `answer_start`, an integer, or choose another `format` in the recipe."
    )


def test_an_id_of_another_type_is_an_error(tmp_path: Path) -> None:
    message = error_of(write(tmp_path, document(question(1.5, ("Ulm", 0)))))
    assert message.startswith("data.json, data[0], paragraphs[0], qas[0]: `id` must be a string; found 1.5")


def test_a_list_is_not_squads_json(tmp_path: Path) -> None:
    assert error_of(write(tmp_path, [1, 2])) == (
        "data.json: must be a JSON object with `data`; found [1, 2]\n"
        "  → Check that it is SQuAD's own JSON, not JSON lines or a list."
    )


def test_broken_json_is_located_by_line(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text('{"data": [\n  oops\n]}', encoding="utf-8")
    message = error_of(Source(path=str(path), format="squad"))
    assert message.startswith("data.json:2: broken JSON at column 3: Expecting value; found ")


def test_a_file_without_questions_is_empty(tmp_path: Path) -> None:
    assert error_of(write(tmp_path, {"data": []})) == (
        "data.json: no examples in this data set\n"
        "  → Check that it is the right file and that `format` in the recipe fits it."
    )


@pytest.mark.parametrize(
    ("name", "num_questions", "num_answers", "repaired"),
    [
        ("cmrc2018/squad_style_cmrc2018_trial.json.gz", 1002, 1002, {"answer_start_moved_to_text": 5}),
        ("drcd/DRCD_dev.json.gz", 3524, 7048, {}),
        ("xquad/xquad.en.json.gz", 1190, 1190, {}),
        ("xquad/xquad.zh.json.gz", 1190, 1190, {}),
    ],
)
def test_the_published_files_are_read_whole(
    shared_data: Path, name: str, num_questions: int, num_answers: int, repaired: dict[str, int]
) -> None:
    result = read_examples(Source(path=str(shared_data / name), format="squad"))
    questions = [example for example in result.examples if isinstance(example, QuestionExample)]
    assert len(questions) == num_questions
    assert sum(len(example.answers) for example in questions) == num_answers
    assert (result.dropped, result.repaired) == ({}, repaired)
    for example in questions:
        for answer in example.answers:
            assert example.context.startswith(answer.text, answer.answer_start)
