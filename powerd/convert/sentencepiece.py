"""SentencePiece's tokenizer.model: the few fields of its protocol buffer that a GGUF needs.

Field numbers are those of sentencepiece_model.proto; wire types those of the protocol buffers' encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from powerd.errors import BadRequest

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_UNIGRAM, _BPE = 1, 2
_NORMAL = 1


@dataclass(frozen=True)
class Piece:
    """A token; `type` has the numbers that GGUF uses too."""

    text: str
    score: float = 0.0
    type: int = _NORMAL


@dataclass(frozen=True)
class Model:
    """The tokens by their numbers, and whether a text gets a space before it."""

    pieces: tuple[Piece, ...]
    space_prefix: bool


def parse(data: bytes) -> Model:
    """What a tokenizer.model says. Raises BadRequest for other files, and for tokenizers that are not BPE."""
    pieces: list[Piece] = []
    algorithm: int | bytes = _UNIGRAM
    prefix = True
    try:
        for number, value in _fields(data):
            if number == 1 and isinstance(value, bytes):
                pieces.append(_piece(value))
            elif number == 2 and isinstance(value, bytes):
                algorithm = dict(_fields(value)).get(3, _UNIGRAM)
            elif number == 3 and isinstance(value, bytes):
                prefix = bool(dict(_fields(value)).get(3, 1))
    except (IndexError, struct.error, UnicodeDecodeError, ValueError):
        raise BadRequest("tokenizer.model: not a SentencePiece model", "files") from None
    if not pieces:
        raise BadRequest("tokenizer.model: not a SentencePiece model: it has no tokens", "files")
    if algorithm != _BPE:
        raise BadRequest(
            "tokenizer.model: the tokenizer is not of the kind BPE, and llama.cpp would cut text otherwise", "files"
        )
    return Model(tuple(pieces), prefix)


def _piece(data: bytes) -> Piece:
    fields = dict(_fields(data))
    text, score, kind = fields.get(1, b""), fields.get(2, b"\0\0\0\0"), fields.get(3, _NORMAL)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or kind not in range(1, 7):
        raise ValueError
    (value,) = struct.unpack("<f", score)
    return Piece(text.decode(), value, int(kind))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values: varints as integers, all else as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError
        if length > len(data) - at:
            raise ValueError
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError
