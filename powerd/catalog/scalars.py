"""What an unquoted YAML scalar means: the core schema of YAML 1.2.2 (section 10.3.2). Pure.

`on`, `off`, `yes`, `no` and `1:30` are text, `017` is seventeen, `0o17` is fifteen, `1e3` is a float.
"""

from __future__ import annotations

import re

Plain = None | bool | int | float | str

#: Numbers of more characters are refused: nothing in the file needs them, and converting them takes quadratic time.
MAX_NUMBER = 64

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
_BASES = {"0o": 8, "0x": 16}


def resolve(text: str) -> Plain:
    """The value of an unquoted scalar. Raises ValueError for a number of more than 64 characters."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    is_integer = _INTEGER.fullmatch(text) is not None
    if not is_integer and not _FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_NUMBER:
        raise ValueError(f"a number of {len(text)} characters; write at most {MAX_NUMBER}, or put text in quotes")
    if is_integer:
        base = _BASES.get(text[:2], 10)
        return int(text, base) if base == 10 else int(text[2:], base)
    return float(text)
