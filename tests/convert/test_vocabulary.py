"""Tokenizers of each kind, as small as can be: tokens, types, scores, and what of them is refused."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powerd.convert import sentencepiece
from powerd.convert.checkpoint import Checkpoint
from powerd.convert.pretokenizers import name_of
from powerd.convert.vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, Vocabulary, read
from powerd.errors import BadRequest
from tests.convert.checkpoints import ONE_DIGIT, files

THREE_DIGITS = ONE_DIGIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def added(number: int, content: str, special: bool) -> dict[str, Any]:
    return {"id": number, "content": content, "special": special}


def vocabulary(folder: Path, size: int, **documents: Any) -> Vocabulary:
    for name, content in documents.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read(Checkpoint(files(folder)), size)


SPM = {
    "added_tokens": [
        added(0, "<unk>", True),
        added(1, "<s>", True),
        added(7, "▁▁x", False),
        added(8, "<|end|>", False),
    ],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend"}, {"type": "Replace"}]},
    "model": {
        "type": "BPE",
        "byte_fallback": True,
        "unk_token": "<unk>",
        "vocab": {"<unk>": 0, "<s>": 1, "<0x0A>": 2, "▁": 3, "a": 4, "▁a": 5, "▁aa": 6},
        "merges": [["▁", "a"], "▁a a"],
    },
}


def test_sentencepiece_without_its_own_file_gets_scores_from_the_merges(tmp_path: Path) -> None:
    found = vocabulary(tmp_path, 10, tokenizer__json=SPM)
    assert (found.model, found.space_prefix) == ("llama", True)
    assert found.tokens == ["<unk>", "<s>", "<0x0A>", "▁", "a", "▁a", "▁aa", "  x", "<|end|>", "[PAD9]"]
    assert found.types == [UNKNOWN, CONTROL, BYTE, NORMAL, NORMAL, NORMAL, NORMAL, USER_DEFINED, CONTROL, UNUSED]
    assert found.scores[5] > found.scores[6] > found.scores[4] == found.scores[3]


@pytest.mark.parametrize(
    ("cutter", "expected"),
    [
        (None, False),
        ({"type": "Split", "pattern": {"String": " "}}, False),
        ({"type": "Metaspace", "prepend_scheme": "first"}, True),
        ({"type": "Metaspace", "prepend_scheme": "never"}, False),
        ({"type": "Metaspace", "add_prefix_space": True}, True),
    ],
)
def test_the_space_before_a_text(tmp_path: Path, cutter: Any, expected: bool) -> None:
    document = {**SPM, "normalizer": None, "pre_tokenizer": cutter}
    assert vocabulary(tmp_path, 10, tokenizer__json=document).space_prefix is expected


def varint(number: int) -> bytes:
    data = b""
    while number > 0x7F:
        data, number = data + bytes([number & 0x7F | 0x80]), number >> 7
    return data + bytes([number])


def message(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def piece(text: str, score: float, kind: int) -> bytes:
    data = message(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + varint(3 << 3) + varint(kind)
    return message(1, data)


MODEL = (
    piece("<unk>", 0, 2)
    + piece("<s>", 0, 3)
    + piece("<0x0A>", 0, 6)
    + piece("▁a", -1.5, 1)
    + message(2, varint(3 << 3) + varint(2))
    + message(3, varint(3 << 3) + varint(0))
)


def test_sentencepieces_own_file_is_enough(tmp_path: Path) -> None:
    config = {"added_tokens_decoder": {"4": {"content": "<x>", "special": True}}}
    found = vocabulary(
        tmp_path, 7, tokenizer__model=MODEL, tokenizer_config__json=config, added_tokens__json={"<y>": 5, "<x>": 4}
    )
    assert found.tokens == ["<unk>", "<s>", "<0x0A>", "▁a", "<x>", "<y>", "[PAD6]"]
    assert found.types == [UNKNOWN, CONTROL, BYTE, NORMAL, CONTROL, USER_DEFINED, UNUSED]
    assert found.scores[3] == -1.5
    assert found.space_prefix is False


def test_unigram_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"tokenizer.model: the tokenizer is not of the kind BPE"):
        vocabulary(tmp_path, 7, tokenizer__model=piece("a", 0, 1))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_sentencepiece_model_or_refused(data: bytes) -> None:
    try:
        sentencepiece.parse(data)
    except BadRequest as error:
        assert error.message.startswith("tokenizer.model: ")


def test_word_pieces_are_marked_at_the_beginning_of_words(tmp_path: Path) -> None:
    document = {
        "added_tokens": [added(0, "[PAD]", True), added(1, "[CLS]", True)],
        "normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": None},
        "model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "[CLS]": 1, "walk": 2, "##ing": 3}},
    }
    found = vocabulary(tmp_path, 4, tokenizer__json=document)
    assert found.tokens == ["[PAD]", "[CLS]", "▁walk", "ing"]
    assert (found.model, found.lowercase, found.strip_accents) == ("bert", True, True)


def cut(*steps: Any, whole: bool = False) -> dict[str, Any]:
    pretokenizers = [
        {"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated"} if isinstance(step, str) else step
        for step in steps
    ]
    return {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": pretokenizers},
        "model": {"ignore_merges": whole},
    }


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


@pytest.mark.parametrize(
    ("document", "name"),
    [
        (cut(THREE_DIGITS, BYTES, whole=True), "llama-bpe"),
        (cut(THREE_DIGITS, BYTES), "dbrx"),
        (cut(ONE_DIGIT, BYTES), "qwen2"),
        (cut(ONE_DIGIT.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'(?i:[sdmt]|ll|ve|re)"), BYTES), "qwen2"),
        (
            cut({"type": "Split", "pattern": {"Regex": ONE_DIGIT}, "behavior": "Removed", "invert": True}, BYTES),
            "qwen2",
        ),
        (cut(GPT2), "gpt-2"),
        ({"pre_tokenizer": GPT2, "model": {}}, "gpt-2"),
        (cut(DIGITS, GPT2), "smollm"),
    ],
)
def test_the_ways_to_cut_text_have_llama_cpps_names(document: dict[str, Any], name: str) -> None:
    assert name_of(document) == name


@pytest.mark.parametrize(
    "document",
    [
        cut(ONE_DIGIT, BYTES, whole=True),
        cut(r"\w+", BYTES),
        cut(),
        {},
        {"pre_tokenizer": "Sequence"},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        cut({"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated"}),
        cut({"type": "Split", "pattern": {"Regex": ONE_DIGIT}, "behavior": "MergedWithNext"}),
        cut({"type": "Sequence", "pretokenizers": []}),
        cut({"type": "Digits", "individual_digits": False}, GPT2),
    ],
)
def test_other_ways_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=r"tokenizer.json: pre_tokenizer: "):
        name_of(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
PLACES = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model", "vocab", "merges", "unk_token")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), JSON, st.booleans())
def test_any_tokenizer_is_read_or_refused(tmp_path: Path, place: str, value: Any, fallback: bool) -> None:
    document = json.loads(json.dumps(SPM))
    document["model"]["byte_fallback"] = fallback
    (document if place not in ("vocab", "merges", "unk_token") else document["model"])[place] = value
    with suppress(BadRequest):
        assert len(vocabulary(tmp_path, 10, tokenizer__json=document).tokens) == 10
