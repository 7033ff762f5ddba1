"""A spec as plain JSON values, for status and `--json`; no secret a source may carry comes with it. Pure."""

from __future__ import annotations

import re

from powerd.catalog.spec import ALWAYS, Adapter, ModelSpec
from powerd.names import Name
from powerd.protocol import Placement

_USER = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*://)?)[^/]*@(?=[^/]*/)")
_QUERY = re.compile(r"[?#].*", re.DOTALL)


def redacted(source: str) -> str:
    """`source` without user, password, query and fragment; a file's path stays as it is."""
    if source.startswith("/"):
        return source
    return _USER.sub(r"\1", _QUERY.sub("", source))


def short(alias: Name) -> str:
    """An alias as people write it, without the tag where it is `latest`."""
    return alias.display.removesuffix(":latest")


def spec_to_dict(spec: ModelSpec) -> dict[str, object]:
    """What is wanted of the model, as models.yaml would write it; long and rare fields only where they are set.

    Always there: state, source, context, parallel, gpu_layers, kv_cache, keep_alive (seconds, "always", or null for
    the daemon's default), priority, overflow, aliases.
    """
    wanted: dict[str, object] = {
        "state": spec.state,
        "source": redacted(spec.source),
        "context": _or_auto(spec.context),
        "parallel": _or_auto(spec.parallel),
        "gpu_layers": _or_auto(spec.gpu_layers),
        "kv_cache": _or_auto(spec.kv_cache),
        "keep_alive": "always" if spec.keep_alive == ALWAYS else spec.keep_alive,
        "priority": spec.priority,
        "overflow": spec.overflow,
        "aliases": [short(alias) for alias in spec.aliases],
    }
    return wanted | {name: value for name, value in _optional(spec).items() if value not in (None, [], {}, "")}


def _or_auto(value: int | str | None) -> int | str:
    return "auto" if value is None else value


def _placement(placed: Placement | None) -> dict[str, object]:
    if placed is None:
        return {}
    split = list(placed.split) or (placed.mode if placed.mode != "layer" else None)
    said = {"devices": list(placed.devices), "split": split, "main": placed.main}
    return {name: value for name, value in said.items() if value}


def _adapter(adapter: Adapter) -> dict[str, object]:
    shown: dict[str, object] = {"source": redacted(adapter.source), "scale": adapter.scale}
    return shown | ({"digest": str(adapter.digest)} if adapter.digest else {})


def _optional(spec: ModelSpec) -> dict[str, object]:
    require = {"gpu": spec.require.gpu, "full_offload": spec.require.full_offload}
    return {
        "quantization": spec.quantization,
        "placement": _placement(spec.placement),
        "threads": spec.threads,
        "batch": spec.batch,
        "load_mode": spec.load_mode if spec.load_mode != "auto" else None,
        "flash_attention": spec.flash_attention,
        "pooling": spec.pooling,
        "request_options": spec.request_options,
        "class": spec.scheduling_class if spec.scheduling_class != "interactive" else None,
        "digest": str(spec.digest) if spec.digest else None,
        "require": {name: value for name, value in require.items() if value},
        "think": spec.think,
        "system": spec.system,
        "template": spec.template.syntax if spec.template else None,
        "parameters": {name: list(v) if isinstance(v, tuple) else v for name, v in spec.parameters.items()},
        "messages": [{"role": role, "content": content} for role, content in spec.messages],
        "adapters": [_adapter(one) for one in spec.adapters],
        "draft": {"source": redacted(spec.draft)} if spec.draft else None,
    }
