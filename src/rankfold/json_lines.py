"""Values as JSON, one a line: the same values give the same bytes, and NaN is never written."""

import json
from collections.abc import Iterable
from typing import Any


def json_lines(values: Iterable[Any]) -> bytes:
    """Each value on a line of UTF-8; NaN and infinity raise ValueError."""
    return "".join(f"{_dump(value)}\n" for value in values).encode()


def member_lines(members: Iterable[tuple[str, Any]]) -> bytes:
    """Each `"key": value`, a member of a JSON object, on a line; errors as `json_lines`."""
    return "".join(f"{_dump(key)}: {_dump(value)}\n" for key, value in members).encode()


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
