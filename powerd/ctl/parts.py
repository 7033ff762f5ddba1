"""Which files a Modelfile means: by path, by directory, and all the parts of a split model (contract section 4.2)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from powerd.ctl.exits import Failed

_PIECE = 1 << 20
_SPLIT = re.compile(
    r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<ending>\.gguf|\.safetensors)", re.ASCII
)
_LIKE_A_PATH = re.compile(r"[/~.].*|.*\.(?:gguf|safetensors|bin|pth|pt)", re.IGNORECASE | re.DOTALL)
_SAFETENSORS = ".safetensors"
#: Which files of a directory are the weights: the first of these that finds any. Ollama's order; adapters are ours.
_WEIGHTS = (
    ("model*.safetensors", "*/model*.safetensors"),
    ("consolidated*.safetensors",),
    ("adapter_model*.safetensors", "adapters.safetensors"),
    ("pytorch_model*.bin",),
    ("consolidated*.pth",),
    ("*.gguf",),
    ("*.bin",),
)
#: What is read beside safetensors.
_BESIDE = ("*.json", "*/*.json", "chat_template.jinja", "tokenizer.model", "*/tokenizer.model")
_PICKLES = {".bin", ".pth", ".pt", ".ckpt", ".pkl"}
_MAX_FILES = 4096
_LFS = b"version https://git-lfs"


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
    files = _directory(path) if path.is_dir() else _file(path)
    if len(files) > _MAX_FILES:
        raise Failed(f"{path}: {len(files)} files, and a model is made of at most {_MAX_FILES}")
    for part in files:
        _refuse_others(part.path)
    return files


def _directory(path: Path) -> list[Part]:
    """The weights in a directory, and what is read beside them. A link that leads out of it is refused."""
    for patterns in _WEIGHTS:
        names = _matching(path, patterns)
        if names:
            return _inside(path, names + _beside(path, names))
    raise Failed(f"{path}: no Modelfile or safetensors files found, and no GGUF files either")


def _matching(path: Path, patterns: Sequence[str]) -> list[str]:
    """The files below a directory that match, as relative paths; nothing hidden."""
    try:
        found = {each for pattern in patterns for each in path.glob(pattern) if each.is_file()}
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
    names = sorted(each.relative_to(path).as_posix() for each in found)
    return [name for name in names if not name.startswith(".") and "/." not in name]


def _beside(path: Path, weights: Sequence[str]) -> list[str]:
    """The names of the files that a checkpoint's conversion reads besides these weights."""
    if not weights[0].endswith(_SAFETENSORS):
        return []
    return _matching(path, _BESIDE)


def _inside(path: Path, names: Sequence[str]) -> list[Part]:
    inside = path.resolve()
    for name in names:
        if not (path / name).resolve().is_relative_to(inside):
            raise Failed(
                f"insecure path: {name} is a link that leads out of {path}; name the file itself, or copy the "
                "directory with its links followed (cp -rL)"
            )
    return [Part(name, path / name) for name in names]


def _file(path: Path) -> list[Part]:
    """A file, with the other parts of a split model and with what belongs to a checkpoint of safetensors."""
    match = _SPLIT.fullmatch(path.name)
    names = [path.name]
    if match is not None and (int(match["number"]) == 1 or match["ending"] == _SAFETENSORS):
        count, stem, ending = match["count"], match["stem"], match["ending"]
        names = [f"{stem}-{number:05}-of-{count}{ending}" for number in range(1, int(count) + 1)]
        missing = next((name for name in names if not path.with_name(name).is_file()), None)
        if missing:
            raise Failed(f"{path}: {missing} is missing beside it")
    parts = [Part(name, path.with_name(name)) for name in names]
    return parts + _inside(path.parent, _beside(path.parent, names))


def _refuse_others(path: Path) -> None:
    """Say before anything is uploaded that this cannot become a model."""
    head = _head(path)
    if head.startswith(_LFS):
        raise Failed(f"{path} is a Git LFS pointer; fetch the file it stands for (git lfs pull)")
    if path.suffix.lower() in _PICKLES and not head.startswith(b"GGUF"):
        raise Failed(
            f"{path}: unsupported model format: serialised Python objects; models are made of GGUF or safetensors files"
        )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS))
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
