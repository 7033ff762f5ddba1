"""Lower stores: other Ollama directories on this machine, served from and never written."""

from __future__ import annotations

import os
from pathlib import Path

#: Where Ollama's packages put the models of the service (Linux installer, Debian and Fedora packages).
_SYSTEM = (
    Path("/usr/share/ollama/.ollama/models"),
    Path("/var/lib/ollama/models"),
    Path("/var/lib/ollama/.ollama/models"),
)


def default_lower(home: Path, system: tuple[Path, ...] = _SYSTEM) -> tuple[Path, ...]:
    """The Ollama directories that exist and can be read: the user's own first, then the service's."""
    return tuple(path for path in (home / ".ollama" / "models", *system) if _readable(path))


def _readable(path: Path) -> bool:
    try:
        return all(
            (path / part).is_dir() and os.access(path / part, os.R_OK | os.X_OK) for part in ("manifests", "blobs")
        )
    except OSError:
        return False
