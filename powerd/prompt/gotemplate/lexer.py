"""From a Go template's characters to its tokens: texts between actions, and the words of each action."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

from powerd.prompt.failed import TemplateFailed

Kind = Literal["text", "open", "close", "space", "word", "field", "variable", "dot", "text_value", "number", "sign"]

_WHITE = " \t\r\n"
_COMMENT = re.compile(r"\{\{(?:-[ \t\r\n]+)?/\*")
_WORDS = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?
        |\.[0-9]+(?:[eE][+-]?[0-9]+)?)(?![\w.]))
    |(?P<field>\.[^\W\d]\w*)
    |(?P<dot>\.)
    |(?P<variable>\$\w*)
    |(?P<word>[^\W\d]\w*)
    |(?P<raw>`[^`]*`)
    |(?P<quoted>"(?:[^"\\\n]|\\.)*")
    |(?P<rune>'(?:[^'\\\n]|\\.)[^'\n]*')
    |(?P<sign>:=|[=|(),])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"'])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))|\\")
_SIMPLE = dict(zip("abfnrtv\\\"'", "\a\b\f\n\r\t\v\\\"'", strict=True))


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `value` is the text of a text or the value of a literal, else the characters themselves."""

    kind: Kind
    value: str | int | float
    line: int  # counted from 1


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a template. Raises TemplateFailed with the line."""
    at, line, trim = 0, 1, False
    while True:
        opening = text.find("{{", at)
        written = text[at:] if opening < 0 else text[at:opening]
        here = line
        line += written.count("\n")
        if trim:
            kept = written.lstrip(_WHITE)
            here += written[: len(written) - len(kept)].count("\n")
            written = kept
        if opening >= 0 and _trims_left(text, opening):
            written = written.rstrip(_WHITE)
        if written:
            yield Token("text", written, here)
        if opening < 0:
            return
        if comment := _COMMENT.match(text, opening):
            at, trim = _comment_end(text, comment.end(), line)
        else:
            start = opening + (3 if _trims_left(text, opening) else 2)
            yield Token("open", "{{", line)
            at, trim = yield from _action(text, start, line)
        line += text.count("\n", opening, at)


def _trims_left(text: str, opening: int) -> bool:
    return text[opening + 2 : opening + 3] == "-" and text[opening + 3 : opening + 4] in tuple(_WHITE)


def _comment_end(text: str, start: int, line: int) -> tuple[int, bool]:
    """Where the text goes on behind a comment, and whether its white space goes."""
    end = text.find("*/", start)
    if end < 0:
        raise TemplateFailed("the comment is not closed by */", line)
    closing = re.compile(r"[ \t\r\n]+-\}\}|\}\}").match(text, end + 2)
    if closing is None:
        raise TemplateFailed("a comment must fill its action: }} must follow */", line + text.count("\n", start, end))
    return closing.end(), "-" in closing.group()


_CLOSE = re.compile(r"[ \t\r\n]+-\}\}|[ \t\r\n]*\}\}")


def _action(text: str, at: int, line: int) -> Generator[Token, None, tuple[int, bool]]:
    """The tokens of one action up to its end; returns where the text goes on, and whether its white space goes."""
    opened = line
    while True:
        if closing := _CLOSE.match(text, at):
            yield Token("close", "}}", line)
            return closing.end(), "-" in closing.group()
        found = _WORDS.match(text, at)
        if found is None:
            raise TemplateFailed(_unreadable(text, at, opened), line)
        yield _token(found, line)
        line += found.group().count("\n")
        at = found.end()


def _unreadable(text: str, at: int, opened: int) -> str:
    if at >= len(text):
        return f"{{{{ of line {opened} is not closed by }}}}"
    if text[at] in "\"`'":
        return f"the {text[at]} is not closed"
    return f"unexpected {text[at]!r} in an action"


def _token(found: re.Match[str], line: int) -> Token:
    written = found.group()
    match found.lastgroup:
        case "number":
            return Token("number", _number(written, line), line)
        case "raw":
            return Token("text_value", written[1:-1].replace("\r", ""), line)
        case "quoted":
            return Token("text_value", _unescaped(written[1:-1], line), line)
        case "rune":
            character = _unescaped(written[1:-1], line)
            if len(character) != 1:
                raise TemplateFailed(f"{written[:20]} is not one character", line)
            return Token("number", ord(character), line)
        case "field":
            return Token("field", written[1:], line)
        case "space" | "dot" | "variable" | "word" | "sign" as kind:
            return Token(kind, written, line)
        case _:
            raise AssertionError(found.lastgroup)


def _number(written: str, line: int) -> int | float:
    plain = written.replace("_", "")
    try:
        if re.fullmatch(r"[+-]?0[xXbBoO].*", plain):
            return int(plain, 0)
        return int(plain) if re.fullmatch(r"[+-]?[0-9]{1,19}", plain) else float(plain)
    except ValueError:
        raise TemplateFailed(f"{written[:40]!r} is not a number", line) from None


def _unescaped(written: str, line: int) -> str:
    def one(found: re.Match[str]) -> str:
        simple, *codes = found.groups()
        if simple:
            return _SIMPLE[simple]
        for code, number in zip(codes, (16, 16, 16, 8), strict=True):
            if code and int(code, number) <= 0x10FFFF:
                return chr(int(code, number))
        raise TemplateFailed(f"{found.string[found.start() : found.start() + 10]!r} is not an escape of Go", line)

    return _ESCAPE.sub(one, written) if "\\" in written else written
