"""Tokens with a meaning, the frame of a text, and the chat template: where each is looked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest

from powerd.convert.checkpoint import Checkpoint
from powerd.convert.config import Config
from powerd.convert.specials import describe
from powerd.convert.vocabulary import CONTROL, NORMAL, Vocabulary
from powerd.errors import BadRequest
from tests.convert.checkpoints import files

TOKENS = ["<s>", "</s>", "a", "<|fim_prefix|>", "<|eot|>"]
FRAME = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}


def told(folder: Path, config: dict[str, Any] | None = None, model: str = "gpt2", **documents: Any) -> dict[str, Any]:
    for name, content in documents.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text)
    writer = gguf.GGUFWriter(None, "llama")
    vocabulary = Vocabulary(model, "x", TOKENS, [CONTROL, CONTROL, NORMAL, CONTROL, CONTROL])
    describe(Checkpoint(files(folder)), vocabulary, Config(config or {}, "config.json"), writer)
    values = {key.removeprefix("tokenizer."): value.value for key, value in writer.kv_data[0].items()}
    return {key.removeprefix("ggml."): value for key, value in values.items()}


def test_the_tokenizers_names_go_before_the_models_numbers(tmp_path: Path) -> None:
    found = told(
        tmp_path,
        {"bos_token_id": 2, "eos_token_id": [2, 1], "pad_token_id": 99},
        tokenizer_config__json={"bos_token": "<s>", "unk_token": {"content": "a"}},
        generation_config__json={"eos_token_id": [2, 4, 1], "pad_token_id": 1},
    )
    assert (found["bos_token_id"], found["eos_token_id"], found["unknown_token_id"]) == (0, 2, 2)
    assert (found["padding_token_id"], found["eot_token_id"], found["fim_pre_token_id"]) == (1, 4, 3)


def test_a_bert_says_what_stands_around_and_for_its_words(tmp_path: Path) -> None:
    listed = {"cls_token": "<s>", "sep_token": "</s>"}
    with pytest.raises(BadRequest, match="unk_token is no token of the tokenizer's"):
        told(tmp_path, model="bert", tokenizer_config__json=listed)
    found = told(tmp_path, model="bert", tokenizer_config__json={**listed, "unk_token": "a"})
    assert (found["bos_token_id"], found["eos_token_id"], found["seperator_token_id"]) == (0, 1, 1)
    assert found["unknown_token_id"] == 2


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ({"tokenizer__json": {"post_processor": FRAME}}, (True, False)),
        ({"tokenizer__json": {"post_processor": {"processors": [{"type": "ByteLevel"}, FRAME]}}}, (True, False)),
        ({"tokenizer__json": {}}, (False, False)),
        ({"tokenizer__json": {}, "tokenizer_config__json": {"add_bos_token": True}}, (True, False)),
        ({}, (True, False)),
        ({"tokenizer_config__json": {"add_bos_token": False, "add_eos_token": True}}, (False, True)),
    ],
)
def test_the_frame_of_a_text(tmp_path: Path, documents: dict[str, Any], expected: tuple[bool, bool]) -> None:
    found = told(tmp_path, **documents)
    assert (found["add_bos_token"], found["add_eos_token"]) == expected


def test_a_template_of_its_own_goes_first_and_several_have_names(tmp_path: Path) -> None:
    several = [{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}]
    found = told(tmp_path, tokenizer_config__json={"chat_template": several})
    assert (found["chat_template"], found["chat_template.tool_use"]) == ("A", "B")
    assert told(tmp_path, chat_template__json={"chat_template": "C"})["chat_template"] == "C"
    assert told(tmp_path, chat_template__jinja="D")["chat_template"] == "D"


def test_a_template_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="chat_template must be a string"):
        told(tmp_path, tokenizer_config__json={"chat_template": [3]})
