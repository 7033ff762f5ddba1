"""Multipart forms (RFC 7578), read within bounds (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from powerd.errors import BadRequest

MAX_PARTS = 32
MAX_FIELD = 64 << 10  # bytes of one field that is no file


@dataclass(frozen=True, slots=True)
class Form:
    """What a form holds. Of parts with the same name the first counts, as in Go."""

    fields: Mapping[str, str]
    files: Mapping[str, int]  # bytes of each


def parsed(content_type: str, body: bytes) -> Form:
    """The form that `body` is. Raises BadRequest with the beginning of Ollama's text for what is none."""
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        raise _unread("request Content-Type isn't multipart/form-data")
    if not (boundary := options.get("boundary", "")):
        raise _unread("no multipart boundary param in Content-Type")
    try:
        return _parsed(boundary, body)
    except UnicodeDecodeError:
        raise _unread("a field is not UTF-8") from None
    except (MultipartError, ValueError) as error:
        raise _unread(str(error.args[0])) from None  # what follows is another exception


def _parsed(boundary: str, body: bytes) -> Form:
    fields: dict[str, str] = {}
    files: dict[str, int] = {}
    with PushMultipartParser(boundary, max_segment_count=MAX_PARTS, strict=True) as parser:
        part, text = None, bytearray()
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                part, text = event, bytearray()
            elif part is not None and event is None:
                _keep(part, text, fields, files)
            elif part is not None and event is not None and part.filename is None:
                text += event
                if len(text) > MAX_FIELD:
                    raise _unread(f'the field "{(part.name or "")[:40]}" is longer than {MAX_FIELD} bytes')
    return Form(fields, files)


def _keep(part: MultipartSegment, text: bytearray, fields: dict[str, str], files: dict[str, int]) -> None:
    name = part.name or ""
    if part.filename is not None:
        files.setdefault(name, part.size)
    else:
        fields.setdefault(name, text.decode())


def _unread(why: str) -> BadRequest:
    return BadRequest(f"failed to parse multipart form: {why}")
