"""A plan and a diff as text: what will happen, model by model, and what it comes to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from powerd.control.schema_plan import DiffReply, DiffRow, PlanDevice, PlanModel, PlanMove, PlanReply
from powerd.ctl import words
from powerd.ctl.terminal import Colour, Style, table

_SIGNS: Mapping[str, tuple[str, Colour]] = {
    "create": ("+", "green"),
    "adopt": ("+", "green"),
    "update": ("~", "yellow"),
    "repair": ("~", "yellow"),
    "remove": ("-", "red"),
    "refuse": ("!", "red"),
}
_CLASSES: Mapping[str, Colour] = {"live": "green", "reload": "yellow", "replace": "yellow", "daemon": "red"}
_KINDS: Mapping[str, Colour] = {"pending": "yellow", "drift": "red"}
_LONGEST = 40
_BAR = 20


def plan_text(plan: PlanReply, style: Style) -> list[str]:
    """Every line of `powerctl plan`."""
    if plan.problems:
        return [style.paint(f"{plan.file} would be refused:", "red"), *map(words.plain, plan.problems)]
    return [
        *_head(plan, style),
        *_models(plan, style),
        *_moves(plan, style),
        *_devices(plan.devices, style),
        *(f"{style.paint('warning:', 'yellow')} {words.plain(text)}" for text in plan.warnings),
        "",
        style.paint(_sum(plan), "bold"),
    ]


def _head(plan: PlanReply, style: Style) -> list[str]:
    number = f"generation {plan.generation}"
    if plan.following != plan.generation:
        number += f" -> {plan.following}"
    lines = [f"{style.paint('Plan', 'bold')} for {words.plain(plan.file)}, {number}"]
    return [*lines, f"{style.paint('held:', 'yellow')} {words.plain(plan.hold)}"] if plan.hold else lines


def _models(plan: PlanReply, style: Style) -> list[str]:
    rows: list[list[str]] = []
    for model in plan.models:
        if model.action == "none":
            continue
        sign, colour = _SIGNS[model.action]
        warnings = [style.paint(f"warning: {words.plain(text)}", "yellow") for text in model.warnings]
        first, *more = [*_told(model), *warnings] or [""]
        change = style.paint(model.change, _CLASSES.get(model.change, "yellow"))
        rows.append(
            [style.paint(sign, colour), words.plain(model.name), style.paint(model.action, colour), change, first]
        )
        rows += [["", "", "", "", line] for line in more]
    return ["", *_close(rows, style)] if rows else []


def _close(rows: list[list[str]], style: Style) -> list[str]:
    """The table without the gap after the sign."""
    return [line.replace("    ", " ", 1) if line[:1] != " " else line[3:] for line in table(rows, style)]


def _told(model: PlanModel) -> list[str]:
    """What there is to say of one model, a line each."""
    lines = []
    if model.fields:
        lines.append(", ".join(f"{one.name} {_value(one.before)} -> {_value(one.after)}" for one in model.fields))
    if model.fetch is not None:
        lines.append(_fetch(model))
    if model.drains:
        lines.append(f"{_count(model.drains, 'running request')} finish{'es' if model.drains == 1 else ''} first")
    if model.memory and model.action != "remove" and model.change != "live":
        lines.append(_memory(model))
    lines += [
        f"{'manifest deleted' if one.what == 'manifest' else f'{words.size(one.bytes)} of blobs:'} {one.when}"
        for one in model.deletes
    ]
    return [words.plain(line) for line in lines]


def _fetch(model: PlanModel) -> str:
    fetch = model.fetch
    assert fetch is not None
    if fetch.problem:
        return f"fetch, how much is not known: {fetch.problem}"
    if not fetch.missing:
        return f"nothing to fetch, {words.size(fetch.total)} from {fetch.place}"
    whole = "" if fetch.missing == fetch.total else f" of {words.size(fetch.total)}"
    return f"fetch {words.size(fetch.missing)}{whole} from {fetch.place}"


def _memory(model: PlanModel) -> str:
    how = {"measured": "as measured", "probed": "as probed"}.get(model.measured, "estimated")
    return f"needs {_sizes(model.memory)} when loaded ({how})"


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{words.size(size)} on {device}" for device, size in sizes.items() if size) or "nothing"


def _value(value: object) -> str:
    """A field's value, short."""
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}={_value(one)}" for key, one in value.items())
    elif isinstance(value, list):
        text = "[" + ", ".join(map(_value, value)) + "]"
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _moves(plan: PlanReply, style: Style) -> list[str]:
    rows = [_move(move, style) for move in plan.moves]
    rows += [[style.paint("wait", "red"), words.plain(one.model), words.plain(one.why), ""] for one in plan.waiting]
    return ["", style.paint("In memory, in this order", "bold"), *table(rows, style, "  ")] if rows else []


def _move(move: PlanMove, style: Style) -> list[str]:
    sign = "+" if move.kind == "load" else "-"
    colour: Colour = "green" if move.kind == "load" else "yellow"
    why = "evicted" if move.reason == "evicted" else move.why
    if move.requests:
        why += f", after {_count(move.requests, 'request')}"
    sizes = ", ".join(f"{sign}{words.size(size)} {device}" for device, size in move.bytes.items() if size)
    return [
        style.paint(move.kind, "red" if move.reason == "evicted" else colour),
        words.plain(move.model),
        words.plain(why),
        sizes,
    ]


def _devices(devices: Sequence[PlanDevice], style: Style) -> list[str]:
    if not devices:
        return []
    rows = [["DEVICE", "BUDGET", "NOW", "AFTER", ""]]
    rows += [
        [words.plain(one.id), words.size(one.budget), words.size(one.before), words.size(one.after), _bar(one, style)]
        for one in devices
    ]
    return ["", *table(rows, style)]


def _bar(device: PlanDevice, style: Style) -> str:
    share = device.after / device.budget if device.budget else 1.0
    colour: Colour = "green" if share <= 0.8 else "yellow" if share <= 1 else "red"
    if style.width is None:
        return f"{share:.0%}"
    full = min(_BAR, round(share * _BAR))
    return style.paint("█" * full, colour) + style.paint("░" * (_BAR - full), "dim") + f" {share:.0%}"


def _sum(plan: PlanReply) -> str:
    """The whole of it in one sentence."""
    if not plan.changes:
        return "Nothing to do: everything is as declared."
    told = list(_counts(plan.models))
    bytes_ = sum(model.fetch.missing for model in plan.models if model.fetch is not None)
    unknown = sum(1 for model in plan.models if model.fetch is not None and model.fetch.problem)
    fetching = f"{words.size(bytes_)} to fetch" if bytes_ else "nothing to fetch"
    told.append(f"{fetching}, {unknown} not known" if unknown else fetching)
    evicted = [move.model for move in plan.moves if move.reason == "evicted"]
    told.append(f"evicts {', '.join(words.plain(name) for name in evicted)}" if evicted else "nothing is evicted")
    drains = sum(move.requests for move in plan.moves)
    told.append(f"{_count(drains, 'request')} drain{'s' if drains == 1 else ''}" if drains else "no request waits")
    gone = sum(one.bytes for one in plan.deletes)
    if gone:
        told.append(f"{words.size(gone)} of blobs go with the oldest generation")
    return "; ".join(told) + "."


def _counts(models: Sequence[PlanModel]) -> Iterator[str]:
    verbs = (
        (("create", "adopt"), "to create"),
        (("update", "repair"), "to change"),
        (("remove",), "to remove"),
        (("refuse",), "refused"),
        (("none",), "unchanged"),
    )
    for actions, words_ in verbs:
        count = sum(model.action in actions for model in models)
        if count:
            yield f"{count} {words_}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# ---------------------------------------------------------------- diff


def diff_text(diff: DiffReply, style: Style, *, everything: bool) -> list[str]:
    """Every line of `powerctl diff`: three columns, the rows that differ or all of them."""
    lines = [f"{style.paint('held:', 'yellow')} {words.plain(diff.hold)}"] if diff.hold else []
    if diff.problems:
        return [*lines, style.paint(f"{diff.file} would be refused:", "red"), *map(words.plain, diff.problems)]
    rows = [row for row in diff.rows if everything or row.kind != "same"]
    if not rows:
        return [
            *lines,
            f"No difference: {words.plain(diff.file)}, generation {diff.generation} and what is there agree.",
        ]
    header = ["MODEL", "FIELD", "FILE", f"GENERATION {diff.generation}", "ACTUAL", ""]
    return [*lines, *table([header, *(_diff_row(row, style) for row in rows)], style)]


def _diff_row(row: DiffRow, style: Style) -> list[str]:
    kind = "" if row.kind == "same" else style.paint(row.kind, _KINDS[row.kind])
    cells = [row.model, row.field, _value(row.file), _value(row.accepted), _value(row.actual)]
    return [*map(words.plain, cells), kind]
