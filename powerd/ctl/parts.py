"""Which files a Modelfile means: by path, by directory, and all the parts of a split model (contract section 4.2)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from powerd.ctl.exits import Failed

_PIECE = 1 << 20
_SPLIT = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.ASCII)
_LIKE_A_PATH = re.compile(r"[/~.].*|.*\.(?:gguf|safetensors|bin|pth|pt)", re.IGNORECASE | re.DOTALL)
_PICKLES = {".bin", ".pth", ".pt", ".ckpt", ".pkl"}


@dataclass(frozen=True, slots=True)
class Part:
    """One file to upload; `name` is what the daemon is told."""

    name: str
    path: Path

    def pieces(self, on_bytes: Callable[[int, int], None]) -> Iterator[bytes]:
        """The file's bytes; `on_bytes` hears how many went and how many there are. Raises Failed."""
        done, total = 0, self.size
        try:
            with self.path.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
                    done += len(piece)
                    on_bytes(done, total)
        except OSError as error:
            raise Failed(f"{self.path}: {error.strerror}") from error

    @property
    def size(self) -> int:
        """Bytes. Raises Failed."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise Failed(f"{self.path}: {error.strerror}") from error

    def digest(self, on_bytes: Callable[[int, int], None]) -> str:
        """`sha256:` and the digits. Raises Failed."""
        checksum = hashlib.sha256()
        for piece in self.pieces(on_bytes):
            checksum.update(piece)
        return f"sha256:{checksum.hexdigest()}"


def parts(text: str, directory: Path) -> list[Part]:
    """The files that a FROM or ADAPTER means, relative paths against `directory`; none for a model's name.

    Raises Failed for a path where there is nothing, and for what no model can be made of.
    """
    try:
        path = directory / Path(text).expanduser()
        present = path.exists()
    except (RuntimeError, OSError, ValueError) as error:
        raise Failed(f"{text}: {getattr(error, 'strerror', None) or error}") from error
    if not present:
        if _LIKE_A_PATH.fullmatch(text):
            raise Failed(f"{text}: there is no such file or directory below {directory.absolute()}")
        return []
    files = _directory(path) if path.is_dir() else _siblings(path)
    _refuse_others([part.path for part in files])
    return files


def _directory(path: Path) -> list[Part]:
    """The weights in a directory: Ollama's order of preference. A link that leads out of it is refused."""
    try:
        names = sorted(each.name for each in path.iterdir() if each.is_file())
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
    for ending in (".safetensors", ".gguf", ".bin", ".pth"):
        chosen = [name for name in names if name.lower().endswith(ending)]
        if chosen:
            break
    else:
        raise Failed(f"{path}: no Modelfile or safetensors files found, and no GGUF files either")
    inside = path.resolve()
    for name in chosen:
        if not (path / name).resolve().is_relative_to(inside):
            raise Failed(f"insecure path: {name} is a link that leads out of {path}; name the file itself")
    return [Part(name, path / name) for name in chosen]


def _siblings(path: Path) -> list[Part]:
    """A file, with the other parts when it is the first of a split model."""
    match = _SPLIT.fullmatch(path.name)
    if match is None or int(match["number"]) != 1:
        return [Part(path.name, path)]
    names = [f"{match['stem']}-{number:05}-of-{match['count']}.gguf" for number in range(1, int(match["count"]) + 1)]
    missing = next((name for name in names if not path.with_name(name).is_file()), None)
    if missing:
        raise Failed(f"{path}: {missing} is missing beside it")
    return [Part(name, path.with_name(name)) for name in names]


def _refuse_others(paths: Sequence[Path]) -> None:
    """Say before anything is uploaded that these cannot become a model."""
    for path in paths:
        if path.suffix.lower() == ".safetensors":
            raise Failed(
                f"{path}: converting safetensors{_architecture(path.with_name('config.json'))} is not available yet; "
                "convert them with llama.cpp's convert_hf_to_gguf.py and create the model from the GGUF file"
            )
        if path.suffix.lower() in _PICKLES:
            raise Failed(f"{path}: unsupported model format: serialised Python objects; models are made of GGUF files")


def _architecture(config: Path) -> str:
    """` (LlamaForCausalLM)`, where a config.json says so."""
    try:
        found = re.search(r'"architectures"\s*:\s*\[\s*"(\w{1,80})"', config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({found[1]})" if found else ""
