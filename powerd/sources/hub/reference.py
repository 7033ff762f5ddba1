"""What a text says of the Hugging Face hub: which repository, revision, quantization and file. Pure.

    hf.co/ORG/REPO[@REV][:QUANT]                      also huggingface.co/… and https://huggingface.co/…
    hf://ORG/REPO[@REV][:QUANT][/path/file.gguf]
    https://huggingface.co/ORG/REPO/{tree,blob,resolve,raw}/REV[/path/file.gguf]      as copied from a browser

A pull over Ollama's API speaks the registry protocol to the host hf.co; sources declared in models.yaml come here, for
the hub's own interface knows commits, file names, digests and gates, which the registry protocol hides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from powerd.errors import BadRequest
from powerd.sources.hub.files import acceptable, normal_label

HUB_HOSTS = frozenset({"hf.co", "huggingface.co", "www.huggingface.co"})

_MAX_TEXT = 2048
#: As the hub rules: letters, digits, `-`, `_`, `.`; neither `--` nor `..`; no `.git` at the end.
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}){0,3}", re.ASCII)
_QUANTIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", re.ASCII)
_TAIL = re.compile(
    r"(?:@(?P<revision>refs/(?:pr|convert)/[^/:@]+|[^/:@]+))?(?::(?P<quantization>[^/@]+))?(?:/(?P<path>.*))?"
)
_PAGES = {"tree", "blob", "resolve", "raw"}
_OTHER_KINDS = {"datasets", "spaces", "buckets", "kernels"}
_FORM = "write hf.co/ORG/REPO, hf.co/ORG/REPO:QUANT or hf://ORG/REPO/path/file.gguf"


@dataclass(frozen=True, slots=True)
class Reference:
    """One place on the hub; an empty field is left to choice."""

    repo: str  # ORG/REPO
    revision: str = ""  # branch, tag or commit; empty = the default branch
    quantization: str = ""
    path: str = ""  # of one file in the repository

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        quantization = f":{self.quantization}" if self.quantization else ""
        return f"hf://{self.repo}{revision}/{self.path}" if self.path else f"hf.co/{self.repo}{revision}{quantization}"


def is_hub(text: str) -> bool:
    """Whether the text names the hub, well or badly."""
    lower = text.lower()
    return lower.startswith("hf://") or lower.removeprefix("https://").partition("/")[0] in HUB_HOSTS


def parse(text: str) -> Reference:
    """Read a text of one of the forms above. Raises BadRequest saying what is wrong with it."""
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise BadRequest(f"no Hugging Face source is written like this; {_FORM}", "source")
    if text.lower().startswith(("https://", "http://")):
        return _from_page(text)
    if text.lower().startswith("hf://"):
        return _from_path(text[5:].removeprefix("models/"), text)
    return _from_path(text.partition("/")[2], text)


def parse_repository(text: str) -> Reference | None:
    """`ORG/REPO[:QUANT]` without any host, as the last resort for a bare name; None for what cannot be one."""
    try:
        reference = _from_path(text, text)
    except BadRequest:
        return None
    return None if reference.path or reference.revision else reference


def _from_path(rest: str, text: str) -> Reference:
    owner, slash, after = rest.partition("/")
    end = min((after.find(mark) for mark in "@:/" if mark in after), default=len(after))
    match = _TAIL.fullmatch(after[end:])
    if not slash or match is None:
        raise BadRequest(f"{text}: no Hugging Face source is written like this; {_FORM}", "source")
    found = match.groupdict(default="")
    return _checked(text, owner, after[:end], found["revision"], found["quantization"], found["path"])


def _from_page(text: str) -> Reference:
    """The address of one of the hub's pages; query and fragment say how to show it and are left out."""
    try:
        parts = [unquote(part, errors="strict") for part in urlsplit(text).path.strip("/").split("/")]
    except ValueError:
        parts = []
    if len(parts) == 2:
        return _checked(text, parts[0], *_split_quantization(parts[1]))
    if len(parts) < 4 or parts[2] not in _PAGES:
        raise BadRequest(f"{text}: no page of a model on the hub; {_FORM}", "source")
    path = "/".join(parts[4:]) if parts[2] != "tree" else ""
    return _checked(text, parts[0], parts[1], parts[3], "", path)


def _split_quantization(name: str) -> tuple[str, str, str]:
    name, _, quantization = name.partition(":")
    return name, "", quantization


def _checked(text: str, owner: str, name: str, revision: str, quantization: str, path: str = "") -> Reference:
    if owner in _OTHER_KINDS:
        raise BadRequest(f"{text}: models are fetched from model repositories, not from {owner}", "source")
    for part in (owner, name):
        if not _PART.fullmatch(part) or "--" in part or ".." in part or part.endswith(".git"):
            raise BadRequest(f"{text}: no repository on the hub has such a name; {_FORM}", "source")
    revision = unquote(revision)
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise BadRequest(f"{text}: no branch, tag or commit is written like this", "source")
    if quantization and not _QUANTIZATION.fullmatch(quantization):
        raise BadRequest(f"{text}: no quantization is written like this; write for example :Q4_K_M", "source")
    if path and not (acceptable(path) and path.lower().endswith(".gguf")):
        raise BadRequest(f"{text}: the path must name a .gguf file in the repository", "source")
    label = "" if quantization.lower() == "latest" else normal_label(quantization)
    return Reference(f"{owner}/{name}", revision, label, path)
