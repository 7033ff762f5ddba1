"""Pictures and sounds in a prompt: the paths in it, and the files they lead to (contract section 13)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from powerd.ctl.exits import Failed
from powerd.ctl.terminal import Terminal

_LARGEST = 100 << 20  # bytes
_PATH = re.compile(r"(?<!\S)(?:[A-Za-z]:)?(?:\./|/|\\|\.\./|~/)(?:\\.|[^\s\\'\"])+?\.(?:jpe?g|png|webp|wav)\b", re.I)
_QUOTED = re.compile(r"(['\"])((?:[A-Za-z]:)?(?:\./|/|\\|\.\./|~/)[^'\"\n]+?\.(?:jpe?g|png|webp|wav))\1", re.I)
_ESCAPED = re.compile(r"\\(.)")
_STARTS = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff", ".webp": b"RIFF", ".wav": b"RIFF"}


def named(text: str) -> list[tuple[str, Path]]:
    """The files that a text names by a path: each as it is written there, and where it is."""
    found = [(match[0], Path(match[2])) for match in _QUOTED.finditer(text)]
    rest = _QUOTED.sub(" ", text)
    found += [(match[0], Path(_ESCAPED.sub(r"\1", match[0]))) for match in _PATH.finditer(rest)]
    places = [(written, _expanded(path)) for written, path in dict.fromkeys(found)]
    return [(written, path) for written, path in places if _is_file(path)]


def split(text: str, shown: Mapping[str, Any], model: str, terminal: Terminal) -> tuple[str, list[str]]:
    """The prompt without the files it names, and these. Raises Failed where the model takes none."""
    abilities = shown.get("capabilities") or ()
    if "vision" in abilities or "audio" in abilities:
        return taken(text, terminal)
    refuse(text, model)
    return text, []


def taken(text: str, terminal: Terminal) -> tuple[str, list[str]]:
    """The text without the files it names, and their bytes in base64. Raises Failed for one that cannot be sent."""
    encoded = []
    for written, path in named(text):
        encoded.append(base64.b64encode(_bytes(path)).decode())
        kind = "audio" if path.suffix.lower() == ".wav" else "image"
        terminal.note(f"Added {kind} '{path}'")
        text = text.replace(written, "")
    return text.strip() if encoded else text, encoded


def refuse(text: str, model: str) -> None:
    """Say that this model takes no files, where a text names some. Raises Failed."""
    for _, path in named(text):
        sense = "hear sounds" if path.suffix.lower() == ".wav" else "see images"
        raise Failed(f'"{model}" cannot {sense}, and {path} is one; leave the path out, or ask a model that can')


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # nobody of that name
        return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise Failed(f"{path}: larger than {_LARGEST >> 20} MiB, which is the limit for files in a prompt")
        data = path.read_bytes()
    except OSError as error:
        raise Failed(f"{path}: {error.strerror or error}") from error
    if not data.startswith(_STARTS[path.suffix.lower()]):
        raise Failed(f"invalid file type: {path} does not begin as {path.suffix.lower()} files do")
    return data
