"""What a file that is not GGUF looks like, from its first bytes: so that a failed download names itself."""

from __future__ import annotations

import string

#: Bytes worth having before judging: a tar archive is known by its magic at 257.
ENOUGH = 512

_PRINTABLE = string.printable.encode()

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive, or PyTorch weights in one"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "an ELF program"),
    (b"MZ", "a Windows program"),
    (b"%PDF", "PDF"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file it stands for"),
    (b"\x89HDF", "HDF5"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"FUGG", "big-endian GGUF"),
    (b"lmgg", "the old GGML format; convert it with llama.cpp"),
    (b"fmgg", "the old GGMF format; convert it with llama.cpp"),
    (b"tjgg", "the old GGJT format; convert it with llama.cpp"),
    (b"\x93NUMPY", "a NumPy array"),
)


def looks_like(head: bytes) -> str:
    """Name the format that `head` (the first bytes of a file, ENOUGH of them where there are) begins."""
    if not head:
        return "an empty file"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[8:10] == b'{"' and head[5:8] == b"\0\0\0":
        return "safetensors"
    if len(head) > 1 and head[0] == 0x80 and head[1] in range(2, 6):
        return "serialised Python objects, perhaps PyTorch weights"
    return _looks_like_text(head)


def _looks_like_text(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = start[:64].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "HTML"
    if lower.startswith(b"<"):
        return "XML or HTML"
    if lower.startswith((b"{", b"[")):
        return "JSON"
    if not any(head):
        return "zeros: a download that was never finished"
    if not head.translate(None, _PRINTABLE):
        return "plain text"
    return "unknown data"
