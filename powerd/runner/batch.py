"""The memory of a batch, laid out as llama.cpp reads it. `c` is the ctypes layer of llama-cpp-python."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any


def set_fields(structure: ctypes.Structure, **values: object) -> None:
    """Assign fields of a C structure. Raises AttributeError for a name it does not have, which ctypes would not."""
    known = {field[0] for field in structure._fields_}
    for name, value in values.items():
        if name not in known:
            raise AttributeError(f"{type(structure).__name__} has no field {name!r}")
        setattr(structure, name, value)


class Batch:
    """The tokens of one decode, in memory allocated once for `limit` of them."""

    def __init__(self, c: Any, limit: int) -> None:
        self.limit = limit
        self._tokens = (c.llama_token * limit)()
        self._positions = (c.llama_pos * limit)()
        self._outputs = (ctypes.c_int8 * limit)()
        self._slots = (c.llama_seq_id * limit)()
        size = ctypes.sizeof(c.llama_seq_id)
        pointer = ctypes.POINTER(c.llama_seq_id)
        self._slot_pointers = (pointer * limit)(
            *(ctypes.cast(ctypes.addressof(self._slots) + size * row, pointer) for row in range(limit))
        )
        self._ones = (ctypes.c_int32 * limit)(*([1] * limit))
        self.struct = c.llama_batch()
        fields = {"token": self._tokens, "pos": self._positions, "logits": self._outputs, "n_seq_id": self._ones}
        types = dict(c.llama_batch._fields_)
        set_fields(self.struct, **{name: ctypes.cast(array, types[name]) for name, array in fields.items()})
        set_fields(self.struct, seq_id=ctypes.cast(self._slot_pointers, types["seq_id"]))
        self.size = 0

    def clear(self) -> None:
        """Start over."""
        self.size = 0

    def add(self, token: int, position: int, slot: int) -> int:
        """Append one token whose successor will be drawn; its row."""
        row = self.size
        self._tokens[row] = token
        self._positions[row] = position
        self._slots[row] = slot
        self._outputs[row] = 1
        self.size = row + 1
        return row

    def extend(self, tokens: Sequence[int], position: int, slot: int, last: bool) -> int:
        """Append a run of prompt tokens; `last`: the successor of the final one will be drawn. The final row."""
        start, end = self.size, self.size + len(tokens)
        self._tokens[start:end] = tokens
        self._positions[start:end] = range(position, position + len(tokens))
        self._slots[start:end] = [slot] * len(tokens)
        self._outputs[start:end] = [0] * len(tokens)
        self._outputs[end - 1] = int(last)
        self.size = end
        return end - 1

    def pool(self, tokens: Sequence[int], position: int, slot: int) -> None:
        """Append tokens that are all to be pooled."""
        start, final = self.size, self.extend(tokens, position, slot, last=True)
        self._outputs[start : final + 1] = [1] * len(tokens)
