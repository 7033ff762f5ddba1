"""Which files of a repository are the model: by quantization, with all parts and the projector beside it. Pure.

File names come from strangers. They choose, they are shown, and they become part of a URL; never a path on this
machine (reliability S09). A name that is not acceptable is treated as if the file were not there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from powerd.digest import Digest
from powerd.errors import BadRequest

#: What is taken when nobody says, the first there is: small enough for most, then what loses least, then the rest.
DEFAULT_ORDER = (
    "Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K", "Q4_K_XL", "UD-Q4_K_XL", "MXFP4", "MXFP4_MOE", "Q4_K_S", "Q4_K_L", "Q4_0",
    "Q4_1", "IQ4_XS", "IQ4_NL", "Q5_K_S", "Q5_0", "Q3_K_M", "F16", "BF16", "F32",
)  # fmt: skip
_PROJECTOR_ORDER = ("F16", "Q8_0", "BF16", "F32")

_MAX_PART = 255  # bytes of one component
_MAX_PATH = 1024
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_SPLIT = re.compile(r"(?P<stem>.+)-(?P<part>[0-9]{5})-of-(?P<parts>[0-9]{5})\.gguf", re.IGNORECASE | re.ASCII)
_LABEL = re.compile(
    r"(?<![A-Za-z0-9])((?:UD-)?(?:I?Q[1-8](?:_(?:K|NL|XXS|XS|S|M|L|XL|XXL|[0148]))*|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4"
    r"|B?F16|FP16|F32|FP32))(?![A-Za-z0-9])",
    re.IGNORECASE | re.ASCII,
)
_NO_MODEL = re.compile(r"mmproj|imatrix|ggml-vocab", re.IGNORECASE)
_PROJECTOR = re.compile(r"mmproj", re.IGNORECASE)
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Listed:
    """One file as the hub lists it; None where it does not say."""

    path: str
    size: int | None = None
    digest: Digest | None = None

    @property
    def directory(self) -> str:
        """Where it lies in the repository; empty at the top."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its last component."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Choice:
    """The files of one model: its weights in order of their parts, and the projector that lies beside them."""

    weights: tuple[Listed, ...]
    projector: Listed | None
    quantization: str  # as the file's name says it; empty where it does not


def acceptable(path: str) -> bool:
    """Whether a remote path is one that people would write: relative, printable, no tricks on any system."""
    if len(path) > _MAX_PATH or not path.isprintable() or unicodedata.normalize("NFC", path) != path:
        return False
    return all(
        part not in ("", ".", "..")
        and not set(part) & set('\\:*?"<>|')
        and part == part.strip()
        and not part.endswith(".")
        and len(part.encode()) <= _MAX_PART
        and not _DEVICE.fullmatch(part)
        for part in path.split("/")
    )


def normal_label(text: str) -> str:
    """A quantization as it is compared: capitals, FP16 as F16."""
    return re.sub(r"\bFP(16|32)\b", r"F\1", text.upper())


def label(path: str) -> str:
    """The quantization that a file's name says, or else its directory's; empty where neither does."""
    directory, _, name = path.rpartition("/")
    split = _SPLIT.fullmatch(name)
    stem = split["stem"] if split else name[: -len(".gguf")]
    for text in (stem, directory.rpartition("/")[2]):
        found = _LABEL.findall(text)
        if found:
            return normal_label(found[-1])
    return ""


def choose(files: Iterable[Listed], quantization: str, path: str, shown: str) -> Choice:
    """The model among `files`: the file at `path`, or the one of that quantization, or what DEFAULT_ORDER finds first.

    A repository with one model needs no choice. Beside a named `path`, `quantization` chooses nothing: it is what to
    make of that file. Raises BadRequest, naming the files there are, when none or several fit or a part is missing.
    `shown` is the source as messages name it.
    """
    usable = [file for file in files if acceptable(file.path) and file.path.lower().endswith(".gguf")]
    if path:
        named = next((file for file in usable if file.path == path), None)
        if named is None:
            raise BadRequest(f"{shown}: there is no such file; there {_there_is(usable)}", "source")
        weights = _complete(_group(named), usable, shown)
    else:
        models: dict[tuple[str, str], list[Listed]] = {}
        for file in usable:
            if not _NO_MODEL.search(file.name):
                models.setdefault(_group(file), []).append(file)
        weights = _complete(_pick(models, normal_label(quantization), shown), usable, shown)
    return Choice(weights, _projector(weights[0], usable), label(weights[0].path))


def _group(file: Listed) -> tuple[str, str]:
    """What the parts of one split model have in common: their path without the number, and how many there are."""
    split = _SPLIT.fullmatch(file.name)
    if split is None:
        return file.path, ""
    return f"{file.directory}/{split['stem']}".removeprefix("/"), split["parts"]


def _pick(models: dict[tuple[str, str], list[Listed]], quantization: str, shown: str) -> tuple[str, str]:
    if not models:
        raise BadRequest(f"{shown}: the repository has no GGUF model; look for one whose name ends in -GGUF", "source")
    labels: dict[str, list[tuple[str, str]]] = {}
    for group, files in models.items():
        labels.setdefault(label(files[0].path), []).append(group)
    firsts = [files[0] for files in models.values()]
    if not quantization:
        wanted = next((each for each in DEFAULT_ORDER if each in labels), None)
        if wanted is None and len(models) == 1:
            return next(iter(models))
        if wanted is None:
            raise BadRequest(f"{shown}: say which quantization to take; there {_there_is(firsts)}", "quantization")
        return _only(labels[wanted], models, wanted, shown)
    for wanted in (quantization, f"UD-{quantization}"):
        if wanted in labels:
            return _only(labels[wanted], models, wanted, shown)
    if len(models) == 1 and "" in labels:
        return next(iter(models))
    raise BadRequest(
        f"{shown}: there is no {quantization}; there {_there_is(firsts)}. To make a {quantization} of one of them "
        "here, name that file as the source: hf://ORG/REPO/file.gguf",
        "quantization",
    )


def _only(
    groups: list[tuple[str, str]], models: dict[tuple[str, str], list[Listed]], wanted: str, shown: str
) -> tuple[str, str]:
    if len(groups) == 1:
        return groups[0]
    firsts = [models[group][0] for group in groups]
    raise BadRequest(
        f"{shown}: {len(groups)} files are {wanted}: {_names(firsts)}; name one as the source: hf://ORG/REPO/file.gguf",
        "quantization",
    )


def _complete(group: tuple[str, str], files: Sequence[Listed], shown: str) -> tuple[Listed, ...]:
    """All files of a group in order of their parts."""
    members = {file.name: file for file in files if _group(file) == group}
    stem, parts = group
    if not parts:
        return tuple(members.values())
    by_number = {int(match["part"]): file for name, file in members.items() if (match := _SPLIT.fullmatch(name))}
    count = int(parts)
    if sorted(by_number) != list(range(1, count + 1)):
        raise BadRequest(
            f"{shown}: {stem}.gguf is split into {count} parts, and the repository does not have each of them once: "
            f"{_names(list(members.values()))}",
            "source",
        )
    return tuple(by_number[number] for number in range(1, count + 1))


def _projector(weights: Listed, files: Sequence[Listed]) -> Listed | None:
    """The mmproj file beside the weights, or else at the top of the repository."""
    for directory in dict.fromkeys((weights.directory, "")):
        beside = [file for file in files if file.directory == directory and _PROJECTOR.search(file.name)]
        beside = [file for file in beside if file != weights]
        if beside:
            return min(beside, key=lambda file: (_rank(file), file.path))
    return None


def _rank(file: Listed) -> int:
    found = label(file.path)
    return _PROJECTOR_ORDER.index(found) if found in _PROJECTOR_ORDER else len(_PROJECTOR_ORDER)


def _there_is(files: Sequence[Listed]) -> str:
    if not files:
        return "is no GGUF file at all"
    return f"{'is' if len(files) == 1 else 'are'} {_names(files)}"


def _names(files: Sequence[Listed]) -> str:
    names = sorted(file.path for file in files)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
