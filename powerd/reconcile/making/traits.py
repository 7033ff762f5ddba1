"""Traits: what a model's config says that holds for everything made of the model, besides its layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from powerd.catalog.template import syntax_of
from powerd.reconcile.offer import OWNED_TEMPLATE
from powerd.store.files import read_small

_MAX_CONFIG = 1 << 20
_NAMES = ("renderer", "parser", OWNED_TEMPLATE)

Traits = tuple[tuple[str, str], ...]


def traits(config: Mapping[str, Any]) -> Traits:
    """Those that a config has: which renderer and parser it names, and whose its Go template is."""
    return tuple((name, config[name]) for name in _NAMES if isinstance(config.get(name), str) and config[name])


def kept_traits(path: Path | None) -> Traits:
    """Those of a config in a file; none where it cannot be read. Blocking."""
    if path is None:
        return ()
    with suppress(OSError, ValueError, RecursionError):
        said = json.loads(read_small(path, _MAX_CONFIG))
        return traits(said) if isinstance(said, dict) else ()
    return ()


def changed(base: Traits, fields: Mapping[str, Any]) -> Traits:
    """Those of a model made of another by the fields of a create request or a Modelfile."""
    template = str(fields.get("template") or "")
    said = dict(base) | {name: str(fields[name]) for name in ("renderer", "parser") if fields.get(name)}
    if template and syntax_of(template) == "go":
        said[OWNED_TEMPLATE] = "owner"
    return traits(said)
