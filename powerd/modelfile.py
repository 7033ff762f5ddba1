"""Modelfile: Ollama's text for making a model, read and written (contract sections 4.1, 4.2 and 4.4; pure).

    # a comment stands at the beginning of a line
    FROM llama3.2
    PARAMETER temperature 0.7
    SYSTEM "A value in quotes
    keeps its newlines."

A value ends with its line. One that starts with a quote (or three) goes on until a line ends with as many; there are no
escapes, and inner quotes survive. Characters that cannot be printed are dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from powerd.options import ALL_OPTIONS

COMMANDS = (
    *("from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message"),
    "requires",
)
ROLES = ("system", "user", "assistant")
#: Parameters that old Modelfiles hold and nothing acts on.
DEPRECATED = frozenset(
    {
        *("penalize_newline", "mirostat", "mirostat_tau", "mirostat_eta"),
        *("low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "numa"),
    }
)

_NEWLINE = re.compile(r"\r\n|\r|\n")
_BLANKS = " \t"
_COMMAND = re.compile(r"(?P<name>[A-Za-z]+)(?P<blanks>[ \t]*)", re.ASCII)
_WORD = re.compile(r"(?P<word>[^ \t]*)(?P<blanks>[ \t]*)")
_PARAMETER = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_TRIPLE = '"""'
_SEMVER = re.compile(
    r"(?:0|[1-9]\d{0,8})(?:\.(?:0|[1-9]\d{0,8})){0,2}(?:-[0-9A-Za-z.-]{1,80})?(?:\+[0-9A-Za-z.-]{1,80})?", re.ASCII
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_BOOLEANS = {
    **dict.fromkeys(["1", "t", "T", "TRUE", "true", "True"], True),
    **dict.fromkeys(["0", "f", "F", "FALSE", "false", "False"], False),
}


class ModelfileError(ValueError):
    """The text is no Modelfile; the message names the line."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `name` in lower case."""

    name: str
    value: str
    key: str = ""  # of a parameter its name, of a message its role
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Modelfile:
    """The commands in the order they stand."""

    commands: tuple[Command, ...]

    def values(self, name: str) -> list[str]:
        """The values of every command of that name."""
        return [command.value for command in self.commands if command.name == name]

    def last(self, name: str) -> str:
        """The value of the last command of that name, or an empty text."""
        return next(reversed(self.values(name)), "")


# ---------------------------------------------------------------- reading


def decode(data: bytes) -> str:
    """The text of a Modelfile's bytes: UTF-8, or UTF-16 with a byte-order mark. Raises ModelfileError."""
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ModelfileError(
            f"the Modelfile is neither UTF-8 nor UTF-16 with a byte-order mark (byte {error.start})"
        ) from None


def parse(text: str) -> Modelfile:
    """Read a Modelfile. Raises ModelfileError."""
    commands = tuple(_commands(_printable(text.removeprefix("\ufeff"))))
    if not any(command.name == "from" for command in commands):
        raise ModelfileError("no FROM line")
    return Modelfile(commands)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(letter for letter in text if letter.isprintable() or letter in "\t\r\n")


def _commands(text: str) -> Iterator[Command]:
    """Every command of a printable text, in one pass."""
    lines = _lines(text)
    number = 0
    while number < len(lines):
        start, end = lines[number]
        start += len(text[start:end]) - len(text[start:end].lstrip(_BLANKS))
        if start == end or text[start] == "#":
            number += 1
            continue
        name, key, start = _head(text, start, end, number + 1)
        last, value = _value(text, start, lines, number)
        yield Command(name, value, key, number + 1)
        number = last + 1


def _lines(text: str) -> list[tuple[int, int]]:
    """Where each line starts and ends, its newline left out."""
    lines, start = [], 0
    for newline in _NEWLINE.finditer(text):
        lines.append((start, newline.start()))
        start = newline.end()
    return [*lines, (start, len(text))]


def _head(text: str, start: int, end: int, line: int) -> tuple[str, str, int]:
    """Command and key at the beginning of a line, and where the value begins."""
    match = _COMMAND.match(text, start, end)
    name = match["name"].lower() if match else ""
    if match is None or name not in COMMANDS or (match.end() < end and not match["blanks"]):
        listed = ", ".join(f'"{each}"' for each in COMMANDS[:-1])
        raise ModelfileError(f'(line {line}): command must be one of {listed}, or "{COMMANDS[-1]}"')
    start = match.end()
    if not match["blanks"]:
        raise ModelfileError(f"(line {line}): unexpected EOF: {name.upper()} needs a value")
    if name not in {"parameter", "message"}:
        return name, "", start
    word = _WORD.match(text, start, end)
    key = word["word"] if word else ""
    if name == "message" and key not in ROLES:
        raise ModelfileError(f'(line {line}): message role must be one of "system", "user", or "assistant"')
    if name == "parameter" and not _PARAMETER.fullmatch(key):
        raise ModelfileError(f"(line {line}): unexpected EOF: PARAMETER needs a name of letters, digits and _")
    if word is None or not word["blanks"]:
        raise ModelfileError(f"(line {line}): unexpected EOF: {name.upper()} {key} needs a value")
    return name, key, word.end()


def _value(text: str, start: int, lines: list[tuple[int, int]], number: int) -> tuple[int, str]:
    """The value that begins at `start` in line `number`, and the line it ends in."""
    quote = _TRIPLE if text.startswith(_TRIPLE, start) else '"' if text.startswith('"', start) else ""
    if not quote:
        return number, text[start : lines[number][1]].rstrip(_BLANKS)
    for last in range(number, len(lines)):
        line_start, end = lines[last]
        end = max(line_start, start) + len(text[max(line_start, start) : end].rstrip(_BLANKS))
        if end - start >= 2 * len(quote) and text.endswith(quote, start, end):
            return last, text[start + len(quote) : end - len(quote)]
    raise ModelfileError(f"(line {number + 1}): unexpected EOF: the quotes are not closed at the end of a line")


# ---------------------------------------------------------------- writing


def write(modelfile: Modelfile) -> str:
    """The text of a Modelfile; reading it gives the same commands.

    Two things the grammar cannot hold are lost: characters that cannot be printed, and three quotes at the end of a
    line inside a value, which become two and one.
    """
    return "".join(f"{_shown(command)}\n" for command in modelfile.commands)


def _shown(command: Command) -> str:
    key = f"{command.key} " if command.key else ""
    return f"{command.name.upper()} {key}{quoted(command.value)}"


def quoted(value: str) -> str:
    """A value as the grammar wants it: bare, in quotes, or in triple quotes."""
    value = _printable(value)
    inline = not _NEWLINE.search(value)
    if value and inline and value == value.strip(_BLANKS) and not value.startswith('"'):
        return value
    if '"' not in value:
        return f'"{value}"'
    body = re.sub(r'"""(?=[ \t]*[\r\n])', '"" "', value)
    return f"{_TRIPLE}{body}{_TRIPLE}"


# ---------------------------------------------------------------- what a client asks for


@dataclass(frozen=True, slots=True)
class Build:
    """What a Modelfile asks of POST /api/create. Which sources are files is for the reader of the disk to say."""

    sources: tuple[str, ...]  # every FROM
    adapter: str  # the last one holds
    draft: str
    fields: dict[str, object]  # of the request, in its names
    warnings: tuple[str, ...]


def build(modelfile: Modelfile) -> Build:
    """Type and gather the commands as Ollama's client does. Raises ModelfileError."""
    fields: dict[str, object] = {}
    for name in ("template", "system", "renderer", "parser"):
        if value := modelfile.last(name):
            fields[name] = value
    if licenses := modelfile.values("license"):
        fields["license"] = licenses
    messages = [{"role": each.key, "content": each.value} for each in modelfile.commands if each.name == "message"]
    if messages:
        fields["messages"] = messages
    if requires := modelfile.last("requires"):
        fields["requires"] = semver(requires)
    parameters, warnings = _parameters(modelfile)
    if parameters:
        fields["parameters"] = parameters
    return Build(
        tuple(modelfile.values("from")), modelfile.last("adapter"), modelfile.last("draft"), fields, tuple(warnings)
    )


def semver(text: str) -> str:
    """A version without its leading v. Raises ModelfileError."""
    version = text.removeprefix("v")
    if not _SEMVER.fullmatch(version):
        raise ModelfileError("requires must be a valid semver (e.g. 0.14.0)")
    return version


def _parameters(modelfile: Modelfile) -> tuple[dict[str, object], list[str]]:
    parameters: dict[str, object] = {}
    stops: list[str] = []
    warnings = []
    for command in modelfile.commands:
        if command.name != "parameter":
            continue
        if command.key in DEPRECATED:
            warnings.append(f"warning: parameter {command.key} is deprecated")
        elif command.key == "stop":
            stops.append(command.value)
            parameters["stop"] = stops
        else:
            parameters[command.key] = _typed(command)
    return parameters, list(dict.fromkeys(warnings))


def _typed(command: Command) -> object:
    """A parameter's value as its type (contract section 5)."""
    option = ALL_OPTIONS.get(command.key)
    kind = int if command.key == "draft_num_predict" else option.kind if option else None
    text = command.value
    if kind is None:
        raise ModelfileError(f"(line {command.line}): unknown parameter '{command.key}'")
    if kind is bool and text in _BOOLEANS:
        return _BOOLEANS[text]
    if kind is int and _INTEGER.fullmatch(text):
        return int(text)
    if kind is float and _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    raise ModelfileError(f"(line {command.line}): {command.key}: invalid {kind.__name__} value [{text}]")
