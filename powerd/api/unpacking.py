"""Bodies sent with `Content-Encoding: zstd`, unpacked within bounds (contract section 0.1; RFC 8878 and 9659; pure).

What a few bytes unpack to cannot be known beforehand: the text is asked for in pieces and given up as soon as it
passes its cap, so a bomb costs the cap and no more. One frame is a body; its window is at most the 8 MiB that HTTP
allows.
"""

from __future__ import annotations

import io
import sys

from powerd.errors import BadRequest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes of text an unpacked body may have, as in Ollama.
MAX_UNPACKED = 20 << 20
_WINDOW_LOG = 23
_PIECE = 1 << 20


def unpacked(body: bytes, limit: int) -> bytes | None:
    """The text of a body of one zstd frame, None when it has more than `limit` bytes. Raises BadRequest."""
    unpacking = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
    text = io.BytesIO()  # gives its bytes away without a copy
    try:
        while not unpacking.eof:
            piece = unpacking.decompress(body, _PIECE)
            body = b""
            if text.tell() + len(piece) > limit:
                return None
            if not piece and unpacking.needs_input:
                raise _broken()
            text.write(piece)
    except zstd.ZstdError:
        raise _broken() from None
    if unpacking.unused_data:
        raise _broken()
    return text.getvalue()


def _broken() -> BadRequest:
    return BadRequest("failed to decompress request body")
