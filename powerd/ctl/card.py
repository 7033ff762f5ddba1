"""What `powerctl show` prints of a model, in Ollama's indented blocks (contract section 13). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from powerd.ctl import words
from powerd.ctl.terminal import Style, table

_TEXT_LINES = 2  # shown of a system prompt or licence
_LIST_ITEMS = 3  # shown of a metadata array


def card(shown: Mapping[str, Any], style: Style, verbose: bool) -> list[str]:
    """Every line for one answer of `/api/show`."""
    info = _mapping(shown.get("model_info"))
    lines = _block("Model", _model(shown, info), style)
    lines += _block("Capabilities", [[str(each)] for each in shown.get("capabilities") or ()], style)
    lines += _block("Projector", _projector(_mapping(shown.get("projector_info"))), style)
    lines += _block("Parameters", _parameters(_text(shown, "parameters")), style)
    if verbose:
        lines += _block("Metadata", [[key, _value(info[key])] for key in sorted(info)], style)
        lines += _block("Tensors", [_tensor(_mapping(each)) for each in shown.get("tensors") or ()], style)
    lines += _block("System", _first_lines(_text(shown, "system")), style)
    lines += _block("License", _first_lines(_text(shown, "license")), style)
    return lines


def _block(title: str, rows: Sequence[Sequence[str]], style: Style) -> list[str]:
    if not rows:
        return []
    clean = [[words.plain(cell) for cell in row] for row in rows]
    return [f"  {title}", *table(clean, style, indent="    "), ""]


def _model(shown: Mapping[str, Any], info: Mapping[str, Any]) -> list[list[str]]:
    details = _mapping(shown.get("details"))
    architecture = str(info.get("general.architecture") or details.get("family") or "")
    count = info.get("general.parameter_count")
    rows: list[tuple[str, object]] = [
        ("architecture", architecture),
        ("parameters", details.get("parameter_size") or (words.parameters(count) if isinstance(count, int) else "")),
        ("context length", info.get(f"{architecture}.context_length")),
        ("embedding length", info.get(f"{architecture}.embedding_length")),
        ("quantization", details.get("quantization_level")),
        ("requires", shown.get("requires")),
    ]
    return [[name, str(value)] for name, value in rows if value]


def _projector(info: Mapping[str, Any]) -> list[list[str]]:
    architecture = info.get("general.architecture")
    count = info.get("general.parameter_count")
    rows: list[tuple[str, object]] = [
        ("architecture", architecture),
        ("parameters", words.parameters(count) if isinstance(count, int) else ""),
        ("embedding length", info.get(f"{architecture}.vision.embedding_length")),
        ("dimensions", info.get(f"{architecture}.vision.projection_dim")),
    ]
    return [[name, str(value)] for name, value in rows if value]


def _parameters(text: str) -> list[list[str]]:
    """`stop    "<end>"` per line, as the server wrote it."""
    lines = [line.strip().partition(" ") for line in text.splitlines()]
    return [[name, value.strip()] for name, _, value in lines if name]


def _tensor(tensor: Mapping[str, Any]) -> list[str]:
    return [str(tensor.get("name", "")), str(tensor.get("type", "")), str(tensor.get("shape", ""))]


def _value(value: object) -> str:
    if isinstance(value, list):
        items = ", ".join(str(item) for item in value[:_LIST_ITEMS])
        more = f", … {len(value) - _LIST_ITEMS} more" if len(value) > _LIST_ITEMS else ""
        return f"[{items}{more}]"
    return "[…]" if value is None else str(value)


def _first_lines(text: str) -> list[list[str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    more = ["..."] if len(lines) > _TEXT_LINES else []
    return [[line] for line in lines[:_TEXT_LINES] + more]


def _text(shown: Mapping[str, Any], key: str) -> str:
    value = shown.get(key)
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
