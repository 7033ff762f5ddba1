"""What a `source:` text means. Pure: nothing is opened or asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from powerd.errors import BadRequest
from powerd.names import Name

Kind = Literal["builtin", "file", "url", "registry", "huggingface", "modelfile"]

_HUB_HOSTS = {"hf.co", "huggingface.co", "www.huggingface.co"}
_INSTEAD = "use a model's name, hf.co/ORG/REPO, a file path, a Modelfile, an https:// URL or builtin:demo"
_MAX_TEXT = 8192
_FILE_URL = re.compile(r"file:(?://(?:localhost)?)?(/[^/?#][^?#]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """One place weights can come from. `text` is what the owner wrote, fit for messages."""

    kind: Kind
    text: str
    path: Path | None = None  # file, modelfile
    url: str = ""  # url
    name: str = ""  # builtin: which one

    @property
    def supported(self) -> bool:
        """Whether this version can fetch from it."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """What to do instead, when it is not supported."""
        if self.kind == "registry" and self.text.lower().endswith(".gguf"):
            return "this reads as a model's name in a registry; to name a file begin with / or ./"
        return ""


def parse(text: str, directory: Path) -> Source:
    """Understand a source as models.yaml writes it; relative paths are against `directory`.

    Raises BadRequest for what is no source of any kind.
    """
    if not text or len(text) > _MAX_TEXT or not text.isprintable() or text != text.strip():
        raise BadRequest("a source is a single line of text without surrounding space", "source")
    lower = text.lower()
    if lower.startswith("builtin:"):
        return _builtin(text)
    if lower.startswith("file:"):
        return _file(text, _file_url(text))
    if text.startswith(("/", "./", "../")) or text in {".", ".."}:
        return _file(text, directory / text)
    if text.startswith("~"):
        return _file(text, _home(text))
    if lower.startswith(("http://", "https://")):
        return _url(text)
    if lower.startswith("hf://") or lower.partition("/")[0] in _HUB_HOSTS:
        return Source("huggingface", text)
    return _registry(text)


def _builtin(text: str) -> Source:
    name = text.partition(":")[2]
    if name != "demo":
        raise BadRequest(f"there is no {text}; builtin:demo is the one model inside the package", "source")
    return Source("builtin", text, name=name)


def _home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise BadRequest(f"{text}: there is no such home directory", "source") from None


def _file_url(text: str) -> Path:
    match = _FILE_URL.fullmatch(text)
    try:
        path = unquote(match[1], errors="strict") if match else ""
    except UnicodeDecodeError:
        path = ""
    if not path or not path.isprintable():
        raise BadRequest("a file URL is written file:///absolute/path, with odd characters percent-encoded", "source")
    return Path(path)


def _file(text: str, path: Path) -> Source:
    if path.name.lower() == "modelfile" or path.suffix.lower() == ".modelfile":
        return Source("modelfile", text, path=path)
    return Source("file", text, path=path)


def _url(text: str) -> Source:
    check_url(text)
    parts = urlsplit(text)
    if parts.hostname in _HUB_HOSTS and "/resolve/" not in parts.path:
        return Source("huggingface", text)
    return Source("url", show_url(text), url=text)


def check_url(url: str) -> None:
    """Raise BadRequest unless `url` is an http(s) URL that every reader reads alike, without credentials."""
    if not url.isascii() or not url.isprintable() or any(letter in url for letter in ' \\"<>^`{|}'):
        raise BadRequest("the URL has characters that must be percent-encoded", "source")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadRequest("the URL has no valid host or port", "source") from None
    if parts.scheme not in {"http", "https"}:
        raise BadRequest(
            f"only http and https URLs are fetched, not {parts.scheme or 'one without a scheme'}", "source"
        )
    if "@" in parts.netloc:
        raise BadRequest(
            "a URL with a user name or password is not accepted, for it would be shown to others", "source"
        )
    if not host or port == 0:
        raise BadRequest("the URL has no valid host or port", "source")


def show_url(url: str) -> str:
    """The URL as messages may repeat it: without query and fragment, which may hold signatures."""
    return url.partition("#")[0].partition("?")[0]


def _registry(text: str) -> Source:
    try:
        Name.parse(text)
    except ValueError:
        raise BadRequest(f"no source is written like this; {_INSTEAD}", "source") from None
    return Source("registry", text)
