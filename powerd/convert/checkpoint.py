"""The files of one checkpoint: its documents, and its weights as arrays over the mapped files."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from powerd.convert.config import Config
from powerd.convert.safetensors import Extent, header_length, parse
from powerd.errors import BadRequest

#: No tokenizer that is known to us comes near it.
MAX_DOCUMENT = 64 << 20
INDEX = "model.safetensors.index.json"
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")
#: bfloat16 is the upper half of a float32, which numpy does not know.
_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1"}


@dataclass(frozen=True)
class Weight:
    """A tensor on its way: `arrays` are views of mapped bytes, written one after the other as one of `shape`.

    `shift` is added to each value.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    arrays: tuple[Any, ...] = field(repr=False)
    shift: float = 0.0
    file: str = ""


class Checkpoint:
    """Files by their relative names; each is read when it is first asked for.

    Where all safetensors lie in one folder, names count from there.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        folders = {name.rpartition("/")[0] for name in files if name.endswith(".safetensors")}
        root = f"{folders.pop()}/" if len(folders) == 1 and "" not in folders else ""
        self._files = {name.removeprefix(root): Path(path) for name, path in files.items()}
        self._maps: list[mmap.mmap] = []

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        return sorted(self._files)

    def data(self, name: str) -> bytes:
        """A small file, whole. Raises BadRequest where it is missing or too large."""
        if name not in self._files:
            raise BadRequest(f"{name} is missing; it belongs beside the safetensors files", "files")
        with self._files[name].open("rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
        if len(data) > MAX_DOCUMENT:
            raise BadRequest(f"{name}: longer than {MAX_DOCUMENT} bytes", "files")
        return data

    def text(self, name: str) -> str:
        """The same as text. Raises BadRequest for bytes that are no UTF-8."""
        try:
            return self.data(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadRequest(f"{name}: not UTF-8 at byte {error.start}", "files") from None

    def document(self, name: str, *, optional: bool = False) -> Config:
        """A JSON object. An `optional` one that is missing is empty. Raises BadRequest."""
        if optional and name not in self:
            return Config({}, name)
        try:
            values = json.loads(self.text(name))
        except ValueError as error:
            raise BadRequest(f"{name}: not JSON: {error}", "files") from None
        except RecursionError:
            raise BadRequest(f"{name}: nested too deeply", "files") from None
        if not isinstance(values, dict):
            raise BadRequest(f"{name}: not a JSON object", "files")
        return Config(values, name)

    def weights(self, pattern: str = r"(?!adapter_|consolidated)[^/]+\.safetensors") -> dict[str, Weight]:
        """All tensors of the files whose names match. Raises BadRequest for what is missing, doubled or unsound."""
        index = self.document(INDEX, optional=True).section("weight_map").values
        names = sorted(set(map(str, index.values()))) or [n for n in self.names() if re.fullmatch(pattern, n)]
        if not names:
            raise BadRequest(f"no safetensors file that could be converted among {self.names()[:8]}", "files")
        self._check_parts(names)
        weights: dict[str, Weight] = {}
        for file in names:
            for name, weight in self._open(file).items():
                if name in weights:
                    raise BadRequest(f"tensor {name} is in {weights[name].file} and in {file}", "files")
                weights[name] = weight
        for name, file in index.items():
            if name not in weights:
                raise BadRequest(f"{file}: tensor {name}, which {INDEX} promises, is not in it", "files")
        return weights

    def _check_parts(self, names: list[str]) -> None:
        present = set(names) & set(self._files)
        for name in names:
            if name not in present:
                raise BadRequest(f"{name}, a part of the model, is missing", "files")
            part = _PART.search(name)
            for number in range(1, int(part[2]) + 1) if part else ():
                other = f"{name[: part.start(1)]}{number:05}-of-{part[2]}.safetensors" if part else ""
                if other not in present:
                    raise BadRequest(f"{other}, a part of the model, is missing", "files")

    def _open(self, name: str) -> dict[str, Weight]:
        path = self._files[name]
        size = path.stat().st_size
        with path.open("rb") as file:
            length = header_length(file.read(8), size, name)
            extents = parse(file.read(length), size, name)
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._maps.append(data)
        return {tensor: _weight(tensor, extent, data, name) for tensor, extent in extents.items()}

    def release(self) -> None:
        """Let go of the pages that were read; they are mapped again when they are needed."""
        for data in self._maps:
            data.madvise(mmap.MADV_DONTNEED)


def _weight(name: str, extent: Extent, data: mmap.mmap, file: str) -> Weight:
    count = (extent.end - extent.begin) // np.dtype(_TYPES.get(extent.dtype, "u1")).itemsize
    kind = np.dtype(_TYPES.get(extent.dtype, "u1"))
    array = np.frombuffer(data, kind, count, extent.begin) if count else np.empty(0, kind)
    shape = extent.shape if extent.dtype in _TYPES else (count,)
    return Weight(name, extent.dtype, extent.shape, (array.reshape(shape),), file=file)
