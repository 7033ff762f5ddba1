"""A model's vocabulary: text to tokens and back. `c` is the ctypes layer of llama-cpp-python."""

from __future__ import annotations

import ctypes
from typing import Any

from powerd.runner.token import Token

_PIECE_BYTES = 512


class Vocabulary:
    """Text to tokens and back. Safe from any thread."""

    def __init__(self, c: Any, model: Any, longest: int) -> None:
        self._c = c
        self._pointer = self._c.llama_model_get_vocab(model)
        #: The native vocabulary, and the address of the function that tokenizes with it.
        self.native = (self._pointer, ctypes.cast(self._c._lib.llama_tokenize, ctypes.c_void_p).value)
        self.size = int(self._c.llama_vocab_n_tokens(self._pointer))
        bos = int(self._c.llama_vocab_bos(self._pointer))
        self.bos = bos if bos >= 0 else None
        #: Whether the tokenizer puts a token before a text that begins.
        self.adds_bos = bool(self._c.llama_vocab_get_add_bos(self._pointer))
        #: Bytes of text no token exceeds; 0 = unknown.
        self.longest = longest
        self._known: dict[int, Token] = {}
        self._markers: dict[str, Token | None] = {}

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

    def marker(self, text: str) -> Token | None:
        """The token that `text` names and that puts nothing into an answer, as one that puts `text` there.

        None when `text` is no token, or one that is seen anyway.
        """
        if text not in self._markers:
            self._markers[text] = self._look_up_marker(text.encode())
        return self._markers[text]

    def text(self, token: int) -> bytes:
        """What `token` is written with, control tokens too."""
        return self._piece(token, special=True)

    def pieces(self) -> list[bytes]:
        """What every token puts into an answer; nothing for control tokens and those that end it."""
        c, pointer, buffer = self._c, self._pointer, ctypes.create_string_buffer(_PIECE_BYTES)
        found = []
        for token in range(self.size):
            length = c.llama_token_to_piece(pointer, token, buffer, _PIECE_BYTES, 0, False)
            found.append(buffer.raw[:length] if length >= 0 else self._piece(token, special=False))
        for token in self.ends():
            found[token] = b""
        return found

    def ends(self) -> list[int]:
        """The tokens that end an answer."""
        return [token for token in range(self.size) if self._c.llama_vocab_is_eog(self._pointer, token)]

    def _look_up(self, token: int) -> Token:
        ends = bool(self._c.llama_vocab_is_eog(self._pointer, token))
        piece = b"" if ends else self._piece(token, special=False)
        return Token(token, piece, piece.strip(), ends)

    def _look_up_marker(self, text: bytes) -> Token | None:
        tokens, count = self.tokenize(text, False, 1)
        if not text or count != 1:
            return None
        token = self.token(tokens[0])
        return None if token.piece else Token(token.id, text, text.strip(), token.ends)

    def _piece(self, token: int, *, special: bool) -> bytes:
        size = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = int(self._c.llama_token_to_piece(self._pointer, token, buffer, size, 0, special))
            if length >= 0:
                return buffer.raw[:length]
            size = -length
