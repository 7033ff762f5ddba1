"""Frames by which texts become vectors, and the sizes of the context that makes a generative model's.

They travel among those of `protocol`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

#: How the vectors of a text's tokens become one: their mean, the first token's, or the last one's.
Pooling = Literal["mean", "cls", "last"]
#: Tokens of an input, and tokens computed at once, in the context that makes a generative model's embeddings.
EMBEDDING_CONTEXT = 2048
EMBEDDING_BATCH = 128


class Embed(msgspec.Struct, tag=True, omit_defaults=True):
    """Make a vector of one input. Answered by Embedded."""

    id: int  # numbered with the requests
    text: str = ""
    parts: int = 0  # number of Part frames holding the text's UTF-8 instead
    truncate: bool = False  # an input that does not fit loses its end instead of being refused
    normalise: bool = True  # to a length of 1
    dimensions: int = 0  # the first ones of the vector; 0 = all
    context: int = 0  # tokens it may have; 0 = as many as there is room for
    context_source: str = "the model's context"
    adapters: tuple[tuple[str, float], ...] = ()  # the deployment's LoRA files to apply, by digest, and their scales


class Embedded(msgspec.Struct, tag=True):
    """The terminal frame of an Embed that went well."""

    id: int
    vector: bytes  # little-endian float32
    tokens: int
    needed: int = 0  # tokens the input had before it was cut; 0 = it was not
