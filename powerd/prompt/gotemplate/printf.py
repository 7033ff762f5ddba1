"""`printf` as Go's fmt has it, for the verbs %v %s %q %d %x %X %o %b %c %t %f %e %g %T, flags, width and precision."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from powerd.prompt.failed import TemplateFailed
from powerd.prompt.gotemplate.values import Value, kind, shown

_VERB = re.compile(r"%([-+# 0]*)(\d*)(?:\.(\d*))?(.?)", re.DOTALL)
_MAX_WIDTH = 10_000  # characters one verb may fill up to


def printf(layout: Value, arguments: Sequence[Value]) -> str:
    """The text. Raises TemplateFailed for a layout that is none; odd verbs are marked in the text, as in Go."""
    if not isinstance(layout, str):
        raise TemplateFailed(f"printf: the layout is a {kind(layout)}, not a string")
    rest = list(reversed(arguments))

    def one(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if not verb:
            return "%!(NOVERB)"
        if not rest:
            return f"%!{verb}(MISSING)"
        if max(int(width[:9] or 0), int((precision or "0")[:9])) > _MAX_WIDTH:
            raise TemplateFailed(f"printf: a width over the limit of {_MAX_WIDTH}")
        places = None if precision is None else int(precision or 0)
        return _filled(_formatted(rest.pop(), verb, flags, places), flags, width)

    text = _VERB.sub(one, layout)
    if rest:
        extra = ", ".join(f"{kind(each)}={shown(each)}" for each in reversed(rest))
        text += f"%!(EXTRA {extra})"
    return text


def _filled(text: str, flags: str, width: str) -> str:
    if not width:
        return text
    if "-" in flags:
        return text.ljust(int(width))
    if "0" in flags:
        return text.zfill(int(width))
    return text.rjust(int(width))


def _formatted(value: Value, verb: str, flags: str, places: int | None) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and isinstance(value, int)
    sign = "+" if "+" in flags and number and value >= 0 else ""
    match verb:
        case "v" | "s":
            text = "<nil>" if value is None else shown(value)
            return sign + (text if places is None or verb == "v" else text[:places])
        case "q" if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        case "d" | "x" | "X" | "o" | "b" if whole:
            return sign + format(value, verb)
        case "x" | "X" if isinstance(value, str):
            return value.encode().hex() if verb == "x" else value.encode().hex().upper()
        case "c" if whole and 0 <= value < 0x110000:
            return chr(value)
        case "t" if isinstance(value, bool):
            return shown(value)
        case "f" | "F" | "e" | "E" | "g" | "G" if number and not whole:
            return sign + (
                shown(value) if verb in "gG" and places is None else format(value, f".{_digits(places)}{verb}")
            )
        case "T":
            return kind(value)
    return f"%!{verb}({kind(value)}={shown(value)})"


def _digits(places: int | None) -> int:
    return 6 if places is None else places
