"""How a wish to think, or not to, reaches a template: the variables it reads, and Go's `.Think` (contract section 8.1).

There is no one name for it. Most families read `enable_thinking`, others `thinking`, `reasoning_effort` or
`thinking_budget`; and those that know efforts accept different words, and some refuse the others. So the words are
taken from the template itself. Only names that a template reads are set: some of them mean other things elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

#: What `think` may be: None says nothing, a level is a wish to think.
Think = bool | str | None

LEVELS = ("low", "medium", "high", "max")

_SWITCHES = ("enable_thinking", "thinking", "reasoning")
_EFFORTS = ("reasoning_effort", "thinking_effort", "reasoning_strength")
#: Names that take a word for on and a word for off.
_MODES: Mapping[str, tuple[str, str]] = {"thinking_mode": ("enabled", "disabled"), "thinking_option": ("on", "off")}
#: How efforts say that there shall be none, the plainest first.
_NONE = ("none", "no_think", "minimal")
#: Tokens of thinking per level, where a template tells the model a number; `max` has no limit.
_BUDGETS = {"low": 512, "medium": 2048, "high": 8192}

_STRING = r"'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\""
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_CODE = re.compile(rf"\{{[%{{]((?>{_STRING}|(?![%}}]\}}).)*+)[%}}]\}}", re.DOTALL)
_WORD = re.compile(_STRING, re.DOTALL)


def variables(think: Think, template: str) -> dict[str, object]:
    """The variables by which a Jinja template learns of `think`; none where nothing was said."""
    if think is None:
        return {}
    read, offered = _reads(template)
    wants, think = bool(think), _known(think, template)
    chosen: dict[str, object] = {name: wants for name in _SWITCHES if name in read}
    if think is not True or "'adaptive'" not in template.replace('"', "'"):  # such a model decides by itself
        chosen |= {name: _MODES[name][0 if wants else 1] for name in _MODES if name in read}
    if "thinking_budget" in read and think is not True and think != "max":
        chosen["thinking_budget"] = _BUDGETS[think] if isinstance(think, str) else 0
    for name in _EFFORTS:
        effort = _effort(think, offered[name]) if name in read else None
        if effort is not None:
            chosen[name] = effort
    return chosen


def go_variables(think: Think, template: str) -> dict[str, object]:
    """The names by which a Go template learns of it: true is the level "medium"."""
    think = _known(think, template)
    level = think if isinstance(think, str) else "medium" if think else ""
    return {"Think": bool(think), "ThinkLevel": level, "IsThinkSet": think is not None}


def _known(think: Think, template: str) -> Think:
    """gpt-oss has three levels."""
    return "high" if think == "max" and "<|channel|>" in template else think


def _effort(think: Think, offered: frozenset[str]) -> str | None:
    """The template's word for `think`; None leaves it to its own default.

    One that knows a word for none may have that for a default, so there a plain wish to think says "high".
    """
    off = next((word for word in _NONE if word in offered), None)
    if not think:
        return off
    if think is True:
        return _nearest("high", offered) if off else None
    return _nearest(str(think), offered)


def _nearest(level: str, offered: frozenset[str]) -> str:
    """`level`, or the next stronger one where the template lists levels and that is not among them, or weaker."""
    known = [each for each in LEVELS if each in offered]
    if level in known or len(known) < 2:
        return level
    at = LEVELS.index(level)
    return next((each for each in LEVELS[at:] if each in known), known[-1])


@lru_cache(maxsize=256)
def _reads(template: str) -> tuple[frozenset[str], Mapping[str, frozenset[str]]]:
    """Which of the names above a template reads, and the words it compares the efforts with.

    A name it also assigns is read only where it asks whether it is there.
    """
    code = "\n".join(_CODE.findall(_COMMENT.sub("", template)))
    bare = _WORD.sub("''", code)
    read = set()
    for name in (*_SWITCHES, *_MODES, *_EFFORTS, "thinking_budget"):
        there = re.search(rf"(?<![\w.]){name}\b\s*(?:is\s+(?:not\s+)?(?:un)?defined|\|\s*default)", bare)
        used = re.search(rf"(?<![\w.]){name}\b(?!\s*=[^=])", bare)
        if there or (used and not re.search(rf"\b(?:set|for)\s+{name}\b", bare)):
            read.add(name)
    return frozenset(read), {name: _compared(name, code) for name in _EFFORTS if name in read}


def _compared(name: str, code: str) -> frozenset[str]:
    pattern = rf"\b{name}\b[^'\"\n\[]{{0,40}}?(?:==|!=|\bin)\s*(\[[^\]]*\]|'[^']*'|\"[^\"]*\")"
    found = "".join(re.findall(pattern, code))
    return frozenset(word[1:-1] for word in _WORD.findall(found))
