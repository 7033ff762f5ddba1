"""A model's vocabulary: text to tokens and back. `c` is the ctypes layer of llama-cpp-python."""

from __future__ import annotations

import ctypes
from typing import Any

from powerd.runner.sequence import Token

_PIECE_BYTES = 512


class Vocabulary:
    """Text to tokens and back. Safe from any thread."""

    def __init__(self, c: Any, model: Any, longest: int) -> None:
        self._c = c
        self._pointer = self._c.llama_model_get_vocab(model)
        self.size = int(self._c.llama_vocab_n_tokens(self._pointer))
        bos = int(self._c.llama_vocab_bos(self._pointer))
        self.bos = bos if bos >= 0 else None
        #: Bytes of text no token exceeds; 0 = unknown.
        self.longest = longest
        self._known: dict[int, Token] = {}

    def tokenize(self, text: bytes, add_special: bool, room: int) -> tuple[list[int], int]:
        """The tokens of UTF-8 `text` and their number; no tokens when there are more than `room`."""
        buffer = (self._c.llama_token * max(room, 1))()
        count = int(self._c.llama_tokenize(self._pointer, text, len(text), buffer, room, add_special, True))
        return (buffer[:count], count) if count >= 0 else ([], -count)

    def token(self, token: int) -> Token:
        """What `token` stands for."""
        known = self._known.get(token)
        if known is None:
            known = self._known[token] = self._look_up(token)
        return known

    def _look_up(self, token: int) -> Token:
        size = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = int(self._c.llama_token_to_piece(self._pointer, token, buffer, size, 0, False))
            if length >= 0:
                piece = buffer.raw[:length]
                return Token(token, piece, piece.strip(), bool(self._c.llama_vocab_is_eog(self._pointer, token)))
            size = -length
