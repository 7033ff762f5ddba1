"""What a model's own template writes for a call in a conversation is read back as that call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from powerd.output.recognise import recognise
from powerd.protocol import ToolCall
from tests.output.corpus import chunks

FOLDER = Path(__file__).parents[1] / "prompt" / "templates"
WEATHER = {"weather": {"type": "object", "properties": {"city": {"type": "string"}}}}
#: Templates that write no calls of earlier turns, or in a way of its own.
WITHOUT = {"HuggingFaceTB-SmolLM3-3B", "ibm-granite-granite-3.3-2B-Instruct", "microsoft-Phi-3.5-mini-instruct"}
NAMES = sorted(path.stem for path in FOLDER.glob("*.jinja") if path.stem not in WITHOUT)


@pytest.mark.parametrize("name", NAMES)
def test_a_call_in_a_real_template_is_read_back(name: str) -> None:
    """The whole conversation is read: what the system prompt says of calls is none."""
    format = recognise((FOLDER / f"{name}.jinja").read_text(), "jinja")
    assert format.tools is not None
    reader = format.tools.reader(WEATHER)
    text = json.loads((FOLDER / f"{name}.json").read_text())["tools"]
    pieces = [piece for chunk in chunks(text, 5) for piece in reader.feed(chunk)] + [*reader.end()]
    calls = [(piece.name, piece.arguments) for piece in pieces if isinstance(piece, ToolCall)]
    assert calls == [("weather", {"city": "Köln"})]
