"""Answers to new rows are those that the run's own evaluation gives."""

import io
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import table_runs
import tiny_runs

from launch.cli import main
from rankfold.data.lines import lines_of_file, lines_of_stream
from rankfold.data.store import iterate_stored
from rankfold.errors import DataError, UserError
from rankfold.run_folder import RunFolder
from rankfold.stages.predict import predict
from rankfold.tasks.registry import load_task

TASKS = ("extractive_qa", "generative_ner", "token_classification")


@pytest.fixture(scope="module", params=TASKS)
def finished(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    encoder_folder: Path,
    causal_folder: Path,
) -> RunFolder:
    """A whole run whose work units end within the windows of an example."""
    task: str = request.param
    model = causal_folder if task == "generative_ner" else encoder_folder
    return tiny_runs.finish(tiny_runs.new_run(tmp_path_factory.mktemp(task), task, model))


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> RunFolder:
    folder = tmp_path_factory.mktemp("tagger")
    return tiny_runs.finish(tiny_runs.new_run(folder, "token_classification", encoder_folder))


def rows_of(run: RunFolder) -> list[dict[str, Any]]:
    """The run's test set without its answers, in the words of its task's examples."""
    task = "extractive_qa" if "extractive_qa" in run.recipe.read_text() else "token_classification"
    kept = ("id", "text", "question", "context")
    stored = iterate_stored(run.prepared.examples("test"), load_task(task).example_type)
    return [{name: value for name, value in vars(one).items() if name in kept} for one in stored]


def write(folder: Path, rows: Sequence[Any]) -> Path:
    path = folder / "rows 行.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("variant", ["base", "fine_tuned"])
def test_answers_are_to_the_byte_those_of_the_runs_own_evaluation(
    finished: RunFolder, variant: str, tmp_path: Path
) -> None:
    path = write(tmp_path, rows_of(finished))
    answers = list(predict(finished, lines_of_file(path), base=variant == "base"))
    values = [json.loads(answer) for answer in answers]
    whole = json.loads(finished.predictions(variant).read_text(encoding="utf-8"))
    assert {value["id"]: value["prediction"] for value in values} == whole
    nbest = finished.nbest(variant).read_bytes().splitlines()
    assert len(answers) == len(nbest) == 10
    for answer, value, line in zip(answers, values, nbest, strict=True):
        prediction = json.dumps(value["prediction"], ensure_ascii=False)
        key = json.dumps(value["id"])
        assert answer.decode() == line.decode().replace(key, f'{key}, "prediction": {prediction}', 1) + "\n"


def test_an_answer_comes_before_the_rest_of_the_input_is_read(tagger: RunFolder) -> None:
    read: list[int] = []

    def typed() -> Iterator[bytes]:
        for number in range(3):
            read.append(number)
            yield json.dumps({"text": f"Anna moved to Ulm in {number}."}).encode()

    answers = predict(tagger, lines_of_stream(typed(), "typed"), batch_size=1)
    assert json.loads(next(answers))["id"] == "1"
    assert read == [0]
    assert [json.loads(answer)["id"] for answer in answers] == ["2", "3"]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_how_many_rows_are_answered_at_a_time_changes_no_answer(tagger: RunFolder, batch_size: int) -> None:
    rows = [{"id": f"é{number}", "text": "Paul paints in Ulm. " * (number % 4 + 1)} for number in range(8)]
    lines = [json.dumps(row).encode() for row in rows]
    answers = [json.loads(a) for a in predict(tagger, lines_of_stream(lines, "x"), batch_size=batch_size)]
    assert [answer["id"] for answer in answers] == [row["id"] for row in rows]
    usual = [json.loads(answer) for answer in predict(tagger, lines_of_stream(lines, "x"))]
    spans = [[(one["start"], one["end"], one["label"]) for one in a["prediction"]] for a in answers]
    assert spans == [[(one["start"], one["end"], one["label"]) for one in a["prediction"]] for a in usual]


def test_lines_of_text_are_answered_by_their_numbers(tagger: RunFolder) -> None:
    lines = [b"Anna moved to Ulm.\n", b"\n", "张三住在北京。\r\n".encode()]
    answers = [json.loads(answer) for answer in predict(tagger, lines_of_stream(lines, "x"), text=True)]
    assert [answer["id"] for answer in answers] == ["1", "3"]
    assert all(answer.keys() == {"id", "prediction", "nbest"} for answer in answers)


def test_rows_without_an_id_or_with_an_empty_one_are_counted(tagger: RunFolder) -> None:
    ids = (b"", b'"id": null, ', b'"id": "", ', b'"id": 7, ')
    lines = [b"{" + own + b'"text": "Anna moved to Ulm."}\n' for own in ids]
    answers = [json.loads(answer) for answer in predict(tagger, lines_of_stream(lines, "x"))]
    assert [answer["id"] for answer in answers] == ["1", "2", "3", "7"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "Anna"', "standard input:2: broken JSON"),
        (b'["Anna"]', "standard input:2: must be a JSON object"),
        (b'{"txt": "Anna"}', "standard input:2: there is no text; the row has txt"),
        (b'{"text": "\xff"}', "standard input:2: not UTF-8"),
        (b'{"text": "\\ud800"}', "standard input:2: `text`"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tagger: RunFolder, line: bytes, message: str) -> None:
    lines = lines_of_stream([b'{"text": "Anna moved to Ulm."}', line], "standard input")
    with pytest.raises(DataError, match=message):
        list(predict(tagger, lines, batch_size=1))


def test_what_was_answered_before_a_bad_row_stays_in_a_pipe_and_no_file_is_left(
    tagger: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any
) -> None:
    typed = b'{"text": "Anna moved to Ulm."}\n{"text": 1.5, "id": [2]}\n'
    arguments = ["predict", str(tagger.root), "--input", "-", "--batch-size", "1"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed)))
    assert main(arguments) == 2
    printed = capsysbinary.readouterr()
    assert [json.loads(line)["id"] for line in printed.out.splitlines()] == ["1"]
    assert b"error: standard input:2: id: Input should be a valid string" in printed.err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed)))
    assert main([*arguments, "--output", str(tmp_path / "answers.jsonl")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_answers_is_written_as_a_whole(
    tagger: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = write(tmp_path, rows_of(tagger)), tmp_path / "answers.jsonl"
    assert main(["predict", str(tagger.root), "--input", str(path), "--output", str(target)]) == 0
    assert capsys.readouterr().out == f"10 predictions: {target}\n"
    assert len(target.read_bytes().splitlines()) == 10
    (tmp_path / "of umask").touch()
    assert target.stat().st_mode == (tmp_path / "of umask").stat().st_mode


def test_no_rows_are_no_answers(tagger: RunFolder) -> None:
    assert list(predict(tagger, lines_of_stream([b"\n"], "x"))) == []


def test_columns_of_the_recipe_name_the_fields_where_a_row_has_them(
    tmp_path: Path, encoder_folder: Path
) -> None:
    texts = [f"Anna moved to Ulm in {number}." for number in range(8)]
    rows = [{"body": text, "topic": "ab"[place % 2]} for place, text in enumerate(texts)]
    run = table_runs.finish(
        tmp_path,
        "text_classification",
        encoder_folder,
        train=rows,
        test=rows,
        columns={"text": "body", "labels": "topic"},
    )
    whole = json.loads(run.predictions("fine_tuned").read_bytes())
    # With the file's column and no label, and in the words of the task.
    for field in ("body", "text"):
        lines = lines_of_stream([json.dumps({field: text}).encode() for text in texts], "x")
        assert {a["id"]: a["prediction"] for a in map(json.loads, predict(run, lines))} == whole


def test_a_run_that_has_not_trained_cannot_answer(make_run: Any) -> None:
    with pytest.raises(UserError, match="small-1 has no trained model yet"):
        next(predict(make_run(), []))


def test_where_to_look_is_a_command_that_works_from_anywhere(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    monkeypatch.chdir(run.root)
    for words in (["predict", "--input", str(run.plan)], ["export", "--to", "elsewhere"]):
        assert main([words[0], "latest", *words[1:], "--runs-dir", ".."]) == 2
        [remedy] = [line for line in capsys.readouterr().err.splitlines() if "→" in line]
        monkeypatch.chdir(run.root.parent.parent)
        assert main(shlex.split(remedy.partition(": launch ")[2])) == 0
        assert run.run_id in capsys.readouterr().out
        monkeypatch.chdir(run.root)


ODD_LINES = "\ufeff" + "Anna\u2028moved\x85 to Ulm.\r\n\r\n" + "Ulm " * 400 + "\r\n\0 😀\r\nPaul"


def test_odd_lines_are_answered_each_in_order(
    tagger: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, target = tmp_path / "texts.txt", tmp_path / "answers.jsonl"
    path.write_bytes(ODD_LINES.encode())
    arguments = ["predict", str(tagger.root), "--format", "text", "--output", str(target)]
    assert main([*arguments, "--input", str(path)]) == 0
    answers = target.read_bytes().split(b"\n")
    assert answers.pop() == b""
    assert [json.loads(answer)["id"] for answer in answers] == ["1", "3", "4", "5"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(ODD_LINES.encode())))
    assert main([*arguments, "--input", "-"]) == 0
    assert target.read_bytes().split(b"\n")[:-1] == answers


def test_questions_cannot_come_as_lines_of_text(tmp_path: Path, finished: RunFolder) -> None:
    if "extractive_qa" not in finished.recipe.read_text():
        assert list(predict(finished, [], text=True)) == []
        return
    with pytest.raises(UserError, match=r"extractive_qa needs more than a text(.|\n)*with question, context"):
        list(predict(finished, [], text=True))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "nowhere.jsonl"], "--input: there is no file nowhere.jsonl"),
        (["--input", "-", "--output", "/dev/null"], "--output: /dev/null is there already and not a file"),
        (["--input", "-", "--output", "/dev/null/x"], "--output: /dev/null is not a folder you may write to"),
        (["--input", "-", "--batch-size", "0"], "must be at least 1"),
        ([], "required: --input"),
    ],
)
def test_mistakes_in_the_command(
    make_run: Any, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["predict", str(make_run().root), *words])
    except SystemExit as exit_:
        code = int(str(exit_.code))
    assert code == 2
    assert message in capsys.readouterr().err
