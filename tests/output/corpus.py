"""The golden corpus of what models write, and how a reader is made to read it.

Each file of `corpus/` is one format: `{"family", "thinking"?: [open, close], "harmony"?, "tools": {name: parameters},
"cases": [{"name", "text", "expected", "inside"?, "calls"?}]}`. `family` names a row of
`powerd.output.families` (or is null where there are no calls); `calls: false` reads as if the request had no tools.
`expected` lists pieces: `{"content": …}`, `{"thought": …}` or `{"call": name, "arguments": {…}, "id"?: …}`; neighbours
of the same kind are joined.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from powerd.output.families import BY_NAME
from powerd.output.formats import Format, Tags
from powerd.output.pieces import Content, Piece, Reader, Thought
from powerd.output.reader import reader
from powerd.protocol import ToolCall

FOLDER = Path(__file__).parent / "corpus"
Expected = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Case:
    """One answer, and what must be read from it."""

    label: str
    text: str
    expected: Expected
    format: Format
    tools: Mapping[str, Mapping[str, Any]] | None
    inside: bool = False

    def reader(self) -> Reader:
        return reader(self.format, self.tools, inside=self.inside)


def plain(pieces: Iterable[Piece]) -> Expected:
    """Pieces in a form that can be compared: neighbours joined, arguments as JSON text in their order."""
    rows: list[tuple[str, str]] = []
    for piece in pieces:
        row = _row(piece)
        if rows and row[0] in ("content", "thought") and rows[-1][0] == row[0]:
            row = (row[0], rows.pop()[1] + row[1])
        rows.append(row)
    return tuple(rows)


def _row(piece: Piece) -> tuple[str, str]:
    if isinstance(piece, ToolCall):
        return (f"call {piece.name} {piece.id}".rstrip(), json.dumps(piece.arguments, ensure_ascii=False))
    assert piece.text, "a piece without text"
    return ("content" if isinstance(piece, Content) else "thought", piece.text)


def read(made: Reader, chunks: Iterable[str]) -> Expected:
    """What a reader makes of these chunks."""
    pieces: list[Piece] = []
    for chunk in chunks:
        pieces.extend(made.feed(chunk))
    pieces.extend(made.end())
    return plain(pieces)


def ways(text: str) -> Iterator[list[str]]:
    """Whole, character by character, and at every possible split in two."""
    yield [text]
    yield list(text)
    yield from ([text[:cut], text[cut:]] for cut in range(1, len(text)))


def chunks(text: str, size: int) -> list[str]:
    """The text in chunks of `size` characters."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def fragments(texts: Iterable[str]) -> list[str]:
    """The words, tags and marks that these texts consist of, once each."""
    pattern = re.compile(r"<[^<>\s]{1,40}>|\[[A-Z_]+\]|\w+|\s+|[^\w\s]")
    return sorted({found for text in texts for found in pattern.findall(text)})


def _expected(pieces: Sequence[Mapping[str, Any]]) -> Expected:
    return plain(_piece(piece) for piece in pieces)


def _piece(piece: Mapping[str, Any]) -> Piece:
    if "call" in piece:
        return ToolCall(piece["call"], piece["arguments"], piece.get("id", ""))
    return Content(piece["content"]) if "content" in piece else Thought(piece["thought"])


def _cases(path: Path) -> Iterator[Case]:
    file = json.loads(path.read_text())
    tags = Tags(*file["thinking"]) if "thinking" in file else None
    family = BY_NAME[file["family"]] if file["family"] else None
    format = Format(tags, family, harmony=file.get("harmony", False))
    for case in file["cases"]:
        yield Case(
            f"{path.stem}: {case['name']}",
            case["text"],
            _expected(case["expected"]),
            format,
            file["tools"] if case.get("calls", True) else None,
            case.get("inside", False),
        )


#: Every case by the name of its file.
CORPUS: dict[str, list[Case]] = {path.stem: list(_cases(path)) for path in sorted(FOLDER.glob("*.json"))}
CASES: list[Case] = [case for cases in CORPUS.values() for case in cases]
