"""Calls of formats told by a Go template alone."""

from __future__ import annotations

import pytest

from powerd.output.calls.generic import generic
from powerd.output.formats import Format
from powerd.output.reader import reader
from tests.output.corpus import read, ways

TOOLS: dict[str, dict[str, object]] = {"add": {}, "add.all": {}}
CALL = ("call add", '{"a": 1}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('CALL {"name": "add", "arguments": {"a": 1}} END', (CALL,)),
        ('Well. CALL add {"a": 1} END then', (("content", "Well."), CALL, ("content", "then"))),
        ('CALL add\n```json\n{"a": 1}\n```END', (CALL,)),
        ('CALL @add({"a": 1}', (CALL,)),
        ('CALL add.all {"a": 1}', (("call add.all", '{"a": 1}'),)),
        ('CALL {"add": {"a": 1}}', (CALL,)),
        ('CALL launch {"a": 1} END', (("content", 'CALL launch {"a": 1} END'),)),
        ('CALL {"name": "launch", "arguments": {}}', (("content", 'CALL {"name": "launch", "arguments": {}}'),)),
        ("CALL me later. " + "x" * 300, (("content", "CALL me later. " + "x" * 300),)),
        ('{"name": "add", "arguments": {"a": 1}}', (("content", '{"name": "add", "arguments": {"a": 1}}'),)),
    ],
)
def test_reads_the_same_at_every_possible_split(text: str, expected: tuple[tuple[str, str], ...]) -> None:
    for way in ways(text):
        made = reader(Format(tools=generic("CALL", "END")), TOOLS, inside=False)
        assert read(made, way) == expected, way
