"""The demonstration model, its card and the test models beside it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import gguf
import pytest

import powerd.demo

DEMO = Path(powerd.demo.__path__[0])
WEIGHTS = DEMO / "tiny-chat-q8_0.gguf"
MODELS = Path(__file__).parent / "models"


def text(reader: gguf.GGUFReader, key: str) -> object:
    field = reader.get_field(key)
    return field and field.contents()


def test_the_card_tells_size_digest_and_licence_of_the_file() -> None:
    card = (DEMO / "CARD.md").read_text()
    data = WEIGHTS.read_bytes()
    assert f"{len(data):,} bytes" in card
    assert hashlib.sha256(data).hexdigest() in card
    assert str(text(gguf.GGUFReader(WEIGHTS), "general.license")).upper() in card


def test_the_card_shows_the_recorded_scores() -> None:
    card = (DEMO / "CARD.md").read_text()
    columns = list(json.loads((DEMO / "recipe" / "scores.json").read_text()).values())
    for skill in columns[0]:
        right = " | ".join(str(column[skill][0]) for column in columns)
        assert re.search(rf"^\| {skill} \| {re.escape(right)} \|", card, re.MULTILINE), skill


def test_the_model_carries_the_template_of_the_recipe() -> None:
    template = (DEMO / "recipe" / "chat_template.jinja").read_text()
    assert text(gguf.GGUFReader(WEIGHTS), "tokenizer.chat_template") == template


def test_the_recipe_writes_only_below_itself() -> None:
    assert (DEMO / "recipe" / ".gitignore").read_text().split() == ["work/", "gguf/", "venv/"]
    for script in (DEMO / "recipe").glob("*.py"):
        assert not re.search(r"[\"']/\w|Path\([\"']|\.\./", script.read_text()), script.name


@pytest.mark.parametrize(
    ("name", "architecture", "kind"),
    [
        ("tiny-embed-q8_0.gguf", "bert", "model"),
        ("tiny-chat-pirate-lora-f16.gguf", "llama", "adapter"),
        ("tiny-chat-mmproj-f16.gguf", "clip", "mmproj"),
    ],
)
def test_the_test_models_are_what_their_names_say(name: str, architecture: str, kind: str) -> None:
    reader = gguf.GGUFReader(MODELS / name)
    assert text(reader, "general.architecture") == architecture
    assert text(reader, "general.type") == kind
