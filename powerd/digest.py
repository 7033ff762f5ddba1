"""Digest: the one type that names a blob. Only a Digest becomes a blob's path."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_FORM = re.compile(r"sha256[:-]([0-9a-fA-F]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 content digest; `hex` is 64 lower-case hexadecimal digits."""

    hex: str

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read `sha256:<64 hex>` or `sha256-<64 hex>`, any case of hex.

        Raises ValueError("invalid digest") for everything else, whatever its type: the text comes from
        strangers and must not be echoed.
        """
        match = _FORM.fullmatch(text) if isinstance(text, str) and len(text) == 71 else None
        if match is None:
            raise ValueError("invalid digest")
        return cls(match[1].lower())

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The digest of `data`."""
        return cls(hashlib.sha256(data).hexdigest())

    @property
    def blob_name(self) -> str:
        """The file name below `blobs/`: `sha256-<hex>` (contract section 2.2)."""
        return f"sha256-{self.hex}"

    @property
    def short(self) -> str:
        """The twelve digits people are shown."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
