"""Flags as Ollama's command reads them: pflag's rules and its error texts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

_BOOLEANS = {
    **dict.fromkeys(["1", "t", "T", "TRUE", "true", "True"], True),
    **dict.fromkeys(["0", "f", "F", "FALSE", "false", "False"], False),
}

Value = bool | int | str


class BadFlag(ValueError):
    """The command line cannot be read; the message is pflag's."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag; `alone` is its value where it is given without one and may be."""

    name: str
    help: str
    kind: Literal["bool", "int", "string"] = "bool"
    short: str = ""
    alone: str | None = None

    @property
    def optional(self) -> str | None:
        """What stands for a value that is left out; None: it must not be."""
        return "true" if self.kind == "bool" else self.alone


def read(words: Sequence[str], flags: Sequence[Flag]) -> tuple[dict[str, Value], list[str]]:
    """Values by name, and the other words, wherever they stand. Raises BadFlag."""
    values: dict[str, Value] = {}
    others: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return values, others + rest
        if word.startswith("--"):
            _long(word, rest, flags, values)
        elif word.startswith("-") and word != "-":
            _short(word, rest, flags, values)
        else:
            others.append(word)
    return values, others


def _long(word: str, rest: list[str], flags: Sequence[Flag], values: dict[str, Value]) -> None:
    name, given, text = word[2:].partition("=")
    flag = next((flag for flag in flags if flag.name == name), None)
    if flag is None:
        raise BadFlag(f"unknown flag: --{name}")
    if not given:
        text = flag.optional if flag.optional is not None else _next(rest, f"flag needs an argument: --{name}")
    values[name] = _typed(flag, text, f"--{name}")


def _short(word: str, rest: list[str], flags: Sequence[Flag], values: dict[str, Value]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = next((flag for flag in flags if flag.short == letter), None)
        if flag is None:
            raise BadFlag(f"unknown shorthand flag: '{letter}' in {word}")
        if letters.startswith("="):
            text, letters = letters[1:], ""
        elif flag.optional is not None:
            text = flag.optional
        elif letters:
            text, letters = letters, ""
        else:
            text = _next(rest, f"flag needs an argument: '{letter}' in {word}")
        values[flag.name] = _typed(flag, text, f"-{letter}, --{flag.name}")


def _next(rest: list[str], missing: str) -> str:
    if not rest:
        raise BadFlag(missing)
    return rest.pop(0)


def _typed(flag: Flag, text: str, shown: str) -> Value:
    if flag.kind == "bool":
        if text not in _BOOLEANS:
            raise BadFlag(
                f'invalid argument "{text}" for "{shown}" flag: strconv.ParseBool: parsing "{text}": invalid syntax'
            )
        return _BOOLEANS[text]
    if flag.kind == "int":
        try:
            return int(text)
        except ValueError:
            raise BadFlag(
                f'invalid argument "{text}" for "{shown}" flag: strconv.ParseInt: parsing "{text}": invalid syntax'
            ) from None
    return text


def usages(flags: Sequence[Flag]) -> list[str]:
    """A line of help for each flag."""
    shown: Mapping[str, str] = {"bool": "", "int": " int", "string": " string"}
    starts = [
        (f"  -{flag.short}, " if flag.short else "      ")
        + f"--{flag.name}{shown[flag.kind]}"
        + (f'[="{flag.alone}"]' if flag.alone else "")
        for flag in flags
    ]
    width = max(map(len, starts), default=0) + 3
    return [start.ljust(width) + flag.help for start, flag in zip(starts, flags, strict=True)]
