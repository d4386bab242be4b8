import pytest

from rankfold.json_lines import json_lines, member_lines


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_other_readers_refuse_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_lines([{"score": 1.0}, {"score": value}])


def test_json_lines_are_one_value_a_line_in_readable_text() -> None:
    assert json_lines({"text": text} for text in ("中文", "a\nb")) == (
        '{"text": "中文"}\n{"text": "a\\nb"}\n'.encode()
    )


def test_member_lines_are_the_inside_of_an_object() -> None:
    assert member_lines([("a", 1), ('"', ["中"])]) == '"a": 1\n"\\"": ["中"]\n'.encode()
