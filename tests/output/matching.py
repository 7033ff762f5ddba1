"""Grammars under the engine that reads them, with a vocabulary of bytes: what they accept, and what they write."""

from __future__ import annotations

import random

import llguidance

END = 256
#: What brings a random text to an end.
_CLOSING = b'"]},:'


class _Bytes:
    """A vocabulary of 256 bytes and an end."""

    eos_token_id = END
    bos_token_id = None
    tokens = (*(bytes([value]) for value in range(256)), b"\xff<end>")
    special_token_ids = (END,)

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


_TOKENIZER = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()), n_vocab=END + 1, eos_token=END)


def matcher(grammar: str) -> llguidance.LLMatcher:
    made = llguidance.LLMatcher(_TOKENIZER, grammar, log_level=0)
    assert not made.is_error(), made.get_error()
    return made


def fault(grammar: str) -> str:
    """Why a grammar does not compile; empty = it does."""
    made: str = llguidance.LLMatcher(_TOKENIZER, grammar, log_level=0).get_error()
    return made


def accepts(grammar: str, text: str) -> bool:
    made, data = matcher(grammar), text.encode()
    return made.try_consume_tokens(list(data)) == len(data) and made.is_accepting()


def written(grammar: str, seed: int, most: int = 3000) -> str:
    """A random text of the grammar. Bytes that end something are preferred, so that it does end."""
    made, generator, out = matcher(grammar), random.Random(seed), bytearray()
    for _ in range(most):
        mask = made.compute_bitmask()
        assert not made.is_error(), made.get_error()
        allowed = [token for token in range(END + 1) if mask[token // 8] >> (token % 8) & 1]
        ending = [token for token in allowed if token == END or token in _CLOSING]
        token = generator.choice(ending if ending and generator.random() < 0.6 else allowed)
        if token == END:
            return out.decode()
        out.append(token)
        assert made.consume_token(token)
    raise AssertionError(f"no end after {most} bytes: {out.decode(errors='replace')[:300]}")
