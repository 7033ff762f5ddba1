"""A model on the hub: what is configured of the hub, and the files that a source means, all of one commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from powerd.digest import Digest
from powerd.sources.transport.location import Link
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.outbound import Outbound


@dataclass(frozen=True, slots=True)
class HubConfig:
    """powerd.yaml's `sources.huggingface`; HF_ENDPOINT, HF_TOKEN and HF_HOME fill what is empty."""

    endpoint: str = ""
    token_file: Path | None = None


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file at one commit. Size and digest are None where the hub does not say (small files outside LFS)."""

    url: str
    name: str  # its path in the repository: to show, never to open
    size: int | None
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class HubFiles:
    """What a source means: the files of one model, all of the same commit."""

    repo: str
    revision: str  # the commit
    files: tuple[HubFile, ...]  # the weights; several are the parts of a split model, in order
    projector: HubFile | None
    quantization: str  # as the file's name says it; empty where it does not
    origin: Origin  # of the hub
    token: str = field(default="", repr=False)

    def location(self, file: HubFile, outbound: Outbound) -> Link:
        """Where a file is read from. The token goes with it to the hub's own origin, and nowhere else (R19)."""
        return Link(outbound, file.url, token=self.token if Origin.of(file.url) == self.origin else "")
