"""GGUF's constants and limits: value types, ggml tensor types, file types, and what powerd is willing to read.

The numbers come from the GGUF specification (ggml, docs/gguf.md), `ggml_type` in ggml.h and `llama_ftype` in llama.h.
The limits are stricter than llama.cpp's: a file is checked here before any native code opens it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_PAIRS = 65_536
MAX_TENSORS = 65_536
MAX_KEY = 256
MAX_TENSOR_NAME = 63  # GGML_MAX_NAME with its terminating NUL
MAX_STRING = 1 << 20
MAX_TEXT = 16 << 20  # chat templates and embedded tokenizer JSON
MAX_TOKEN = 64 << 10
MAX_ITEMS = 4 << 20
MAX_METADATA = 128 << 20
MAX_DIMENSIONS = 4
MAX_EXTENT = 1 << 31
#: Arrays up to this many bytes are decoded at once; larger ones stay on disk until someone asks.
SMALL_ARRAY = 64 << 10


class GgufError(ValueError):
    """A file is not a GGUF file that powerd serves; the message names the byte offset, the key or the tensor."""


class Scalar(NamedTuple):
    """A fixed-width value type: its name in the specification, its struct code, its bytes."""

    name: str
    code: str
    size: int


SCALARS: dict[int, Scalar] = {
    0: Scalar("UINT8", "B", 1),
    1: Scalar("INT8", "b", 1),
    2: Scalar("UINT16", "H", 2),
    3: Scalar("INT16", "h", 2),
    4: Scalar("UINT32", "I", 4),
    5: Scalar("INT32", "i", 4),
    6: Scalar("FLOAT32", "f", 4),
    7: Scalar("BOOL", "B", 1),
    10: Scalar("UINT64", "Q", 8),
    11: Scalar("INT64", "q", 8),
    12: Scalar("FLOAT64", "d", 8),
}
STRING = 8
ARRAY = 9
BOOL = 7


class TensorType(NamedTuple):
    """A ggml type: `block` elements are stored in `size` bytes."""

    name: str
    block: int
    size: int


TENSOR_TYPES: dict[int, TensorType] = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 40),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
    41: TensorType("Q1_0", 128, 18),
}

#: `general.file_type`, in the short form that listings show; 4 is what Ollama's own converter writes for MXFP4.
FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    4: "MXFP4",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
    39: "NVFP4",
    40: "Q1_0",
}
FILE_TYPE_GUESSED = 1024  # a flag the converter adds when it guessed


@dataclass(frozen=True, slots=True)
class Array:
    """A metadata array: `count` items of `type` in `size` bytes at `offset` of the file."""

    type: str
    count: int
    offset: int
    size: int
    values: tuple[int | float | bool | str, ...] | None  # None: too large to keep, use gguf.read_array


Value = int | float | bool | str | Array


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor's place in the file; `shape` is in ggml's order, the fastest dimension first."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int  # from the start of the file
    size: int  # bytes
    elements: int
