"""Name: a model's name. Only a Name becomes a manifest's path.

Grammar (contract section 2.1): `[scheme://][host/][namespace/]model[:tag]`, read from the right. ASCII only, checked
with fullmatch, so no name can leave its directory: no part may be `.` or `..`, because a part starts with a letter, a
digit or an underscore.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
DECLARED_HOST = "powerd.local"
DECLARED_NAMESPACE = "declared"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,19}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}", re.ASCII)
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
_TAGGED = rf"{_PART.pattern}(?::{_PART.pattern})?"
#: How models.yaml names a model and its aliases, as regular expressions that JavaScript understands as well.
MODEL_PATTERN = rf"^{_TAGGED}$(?!\n)"
ALIAS_PATTERN = rf"^ *(?:(?:{_HOST.pattern}/)?{_NAMESPACE.pattern}/)?{_TAGGED} *$(?!\n)"


@dataclass(frozen=True, slots=True)
class Name:
    """A complete model name; case is kept, comparison by `key` is case-insensitive."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: object) -> Name:
        """Read a name, filling in the defaults.

        Raises ValueError("invalid model name") for anything outside the grammar; the same text for all of it, so
        that nothing can be learnt from the difference.
        """
        if not isinstance(text, str) or len(text) > 600:
            raise ValueError("invalid model name")
        rest = text.strip(" ")
        scheme, mark, after = rest.partition("://")
        if mark:
            if not _SCHEME.fullmatch(scheme):
                raise ValueError("invalid model name")
            rest = after
        rest, tag = _split_tag(rest)
        head, slash, model = rest.rpartition("/")
        host, host_slash, namespace = head.rpartition("/")
        if (slash and not head) or (host_slash and not (host and namespace)):
            raise ValueError("invalid model name")
        name = cls(host or DEFAULT_HOST, namespace or DEFAULT_NAMESPACE, model, tag)
        if not name._valid():
            raise ValueError("invalid model name")
        return name

    @classmethod
    def declared(cls, model: str, tag: str = DEFAULT_TAG) -> Name:
        """The reserved name under which a declared model's composition is kept."""
        name = cls(DECLARED_HOST, DECLARED_NAMESPACE, model, tag)
        if not name._valid():
            raise ValueError("invalid model name")
        return name

    def _valid(self) -> bool:
        return bool(
            _HOST.fullmatch(self.host)
            and _NAMESPACE.fullmatch(self.namespace)
            and _PART.fullmatch(self.model)
            and _PART.fullmatch(self.tag)
        )

    @property
    def key(self) -> str:
        """The full name in lower case: equal keys are the same model."""
        return self.full.lower()

    @property
    def full(self) -> str:
        """`host/namespace/model:tag`, nothing left out."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def display(self) -> str:
        """The short form people see: default host and namespace dropped, tag always shown."""
        if self.host.lower() == DEFAULT_HOST:
            if self.namespace.lower() == DEFAULT_NAMESPACE:
                return f"{self.model}:{self.tag}"
            return f"{self.namespace}/{self.model}:{self.tag}"
        if self.is_declared:
            return f"{self.model}:{self.tag}"
        return self.full

    @property
    def is_declared(self) -> bool:
        """Whether this is a composition of ours (under the reserved host)."""
        return self.host.lower() == DECLARED_HOST

    @property
    def path(self) -> PurePosixPath:
        """The manifest's path below `manifests/`."""
        return PurePosixPath(self.host, self.namespace, self.model, self.tag)

    def __str__(self) -> str:
        return self.display


def _split_tag(text: str) -> tuple[str, str]:
    """Cut `:tag` off the end; a colon before the last slash belongs to the host's port."""
    rest, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        return text, DEFAULT_TAG
    if not tag:
        raise ValueError("invalid model name")
    return rest, tag
