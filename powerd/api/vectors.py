"""What inputs and vectors look like on the wire, for every dialect (pure)."""

from __future__ import annotations

from array import array
from base64 import b64encode
from functools import cache
from typing import Any

from powerd.errors import BadRequest

#: Inputs of one request.
MAX_INPUTS = 16_384


def texts(value: Any, *, empty_is_none: bool) -> tuple[str, ...]:
    """The `input` field: a string or strings; nothing said is no text. Raises BadRequest.

    `empty_is_none`: an empty string alone asks for nothing.
    """
    if value is None or (value == "" and empty_is_none):
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise BadRequest("invalid input type", "input")
    if len(listed) > MAX_INPUTS:
        raise BadRequest(f"input: a request holds at most {MAX_INPUTS} inputs, not {len(listed)}", "input")
    return tuple(listed)


def numbers(vector: bytes) -> bytes:
    """A vector as a JSON array. Nine digits tell every float32 from its neighbours."""
    values = array("f", vector)
    return (_array(len(values)) % tuple(values)).encode()


@cache
def _array(length: int) -> str:
    return "[" + ",".join(["%.9g"] * length) + "]"


def base64(vector: bytes) -> bytes:
    """A vector as a JSON string of its bytes in base64."""
    return b'"' + b64encode(vector) + b'"'
