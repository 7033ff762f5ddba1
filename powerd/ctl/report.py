"""The status of the node and its models as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from powerd.control.schema import Condition, Device, Event, Hold, LoadFailure, ModelStatus, Override, Status
from powerd.ctl import words
from powerd.ctl.progress import bar, gauge
from powerd.ctl.terminal import Colour, Style, table

_EVENTS = 5
_COLOURS: Mapping[str, Colour] = {"True": "green", "False": "red"}
_REST = frozenset({"Idle", "Unloaded"})


def report(status: Status, now: float, style: Style) -> list[str]:
    """Every line of `powerctl status`."""
    return [
        *_node(status, style),
        *(_held(status.hold, style) if status.hold else []),
        "",
        *_models(status.models, now, style),
        *_section("Fetching", _fetching(status.models, style)),
        *_section("Loading", _loading(status.models, style)),
        *_section("Failed loads", _failures(status.failures, now, style)),
        *_section("Overrides", _overrides(status.overrides, style)),
        *_section("Conditions", _conditions(status.conditions, style)),
        *_section("Events", _events(status.events, now, style)),
    ]


def _held(hold: Hold, style: Style) -> list[str]:
    return [style.paint(f"Held: {words.plain(hold.message)}", "yellow")]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *lines] if lines else []


def _node(status: Status, style: Style) -> list[str]:
    node = status.node
    verdict = style.paint("as declared", "green") if status.as_declared else style.paint("not as declared", "red")
    listen = f"listening on {words.plain(node.listen)}" if node.listen else "not listening"
    return [
        f"powerd {words.plain(node.version)}, pid {node.pid}, up {words.span(node.uptime).lower()}, {listen}",
        f"Generation {status.generation} of {words.plain(node.models_file)}: {verdict}",
        f"Store {words.plain(node.store)}",
        *_memory(status, style),
    ]


def _memory(status: Status, style: Style) -> list[str]:
    """A line for each device: what models hold of what they may have."""
    devices = status.devices or [Device("memory", status.node.memory_budget, status.node.memory_used)]
    rows = [
        [
            words.plain(device.id),
            gauge(device.reserved / device.budget if device.budget else 0.0, style)
            + f"{words.size(device.reserved)} of {words.size(device.budget)}"
            + (f" {words.plain(device.name)}" if device.name else ""),
        ]
        for device in devices
    ]
    return table(rows, style)


def _models(models: Sequence[ModelStatus], now: float, style: Style) -> list[str]:
    if not models:
        return ["No models are declared."]
    header = ["NAME", "WANT → HAVE", "CONTEXT", "MEMORY", "REQUESTS", "EXPIRES", "CONDITION", "MESSAGE"]
    return table([header, *(_model(model, now, style) for model in models)], style)


def _model(model: ModelStatus, now: float, style: Style) -> list[str]:
    condition, message = "Ready", ""
    colour: Colour = "green"
    behind = _behind(model.conditions)
    if behind is not None:
        condition, message = f"{behind.type}={behind.status}", _sentence(behind)
        colour = "dim" if _at_rest(model, behind) else _colour(behind)
    elif not model.conditions:
        condition, colour = "Unknown", "yellow"
    if model.next_try > now:
        message += f"{'; ' if message else ''}next try in {words.brief(model.next_try - now)}"
    have = model.have
    cells = [model.name, f"{_cell(model.want, 'state')} → {_cell(have, 'state')}", _context(have)]
    cells += [_held_by(have), _requests(have), _expires(have, now)]
    return [*(words.plain(cell) for cell in cells), style.paint(words.plain(condition), colour), words.plain(message)]


def _behind(conditions: Sequence[Condition]) -> Condition | None:
    """The condition that speaks for a model: the first that is False, else the first that is not known."""
    by_status = {each.status: each for each in reversed(conditions)}
    return by_status.get("False") or by_status.get("Unknown")


def _context(have: Mapping[str, object]) -> str:
    """Tokens of one request, and how many requests have so many at once."""
    parallel = have.get("parallel")
    return _cell(have, "context") + (f" × {parallel}" if isinstance(parallel, int) and parallel > 1 else "")


def _held_by(have: Mapping[str, object]) -> str:
    """Bytes on each device."""
    devices = have.get("devices")
    if isinstance(devices, dict) and devices:
        shares = [(name, share.get("size")) for name, share in devices.items() if isinstance(share, dict)]
        return ", ".join(f"{words.size(size)} {name}" for name, size in shares if isinstance(size, int))
    memory = have.get("memory")
    return words.size(memory) if isinstance(memory, int) else "-"


def _requests(have: Mapping[str, object]) -> str:
    queued = have.get("queued")
    return _cell(have, "requests") + (f" ({queued} waiting)" if isinstance(queued, int) and queued else "")


def _expires(have: Mapping[str, object], now: float) -> str:
    if "expires_at" not in have:
        return "-"
    at = have["expires_at"]
    return words.ago(at, now).lower() if isinstance(at, int | float) else "never"


def _cell(side: Mapping[str, object], key: str) -> str:
    value = side.get(key)
    return "-" if value is None or value == "" else str(value)


def _at_rest(model: ModelStatus, condition: Condition) -> bool:
    """Whether it is out of memory as an on-demand model may be, which is no trouble."""
    return model.want.get("state") == "available" and condition.reason in _REST


def _colour(condition: Condition) -> Colour:
    return _COLOURS.get(condition.status, "yellow")


def _sentence(condition: Condition) -> str:
    return ": ".join(part for part in (condition.reason, condition.message) if part)


def _fetching(models: Sequence[ModelStatus], style: Style) -> list[str]:
    return [
        bar(f"  {words.plain(model.name)}", model.fetching.completed, model.fetching.total, model.fetching.rate, style)
        for model in models
        if model.fetching is not None
    ]


def _loading(models: Sequence[ModelStatus], style: Style) -> list[str]:
    rows = []
    for model in models:
        fraction = model.have.get("progress")
        if model.have.get("state") == "loading" and isinstance(fraction, int | float):
            rows.append([words.plain(model.name), gauge(fraction, style) + f"{fraction:.0%}"])
    return table(rows, style, indent="  ")


def _failures(failures: Sequence[LoadFailure], now: float, style: Style) -> list[str]:
    rows = []
    for each in failures:
        again = f"; next try in {words.brief(each.next_try - now)}" if each.next_try > now else ""
        times = f"failed {each.tries} times, " if each.tries > 1 else "failed "
        rows.append([each.model, f"{times}{words.ago(each.at, now).lower()}: {each.reason}{again}"])
    return table([[words.plain(cell) for cell in row] for row in rows], style, indent="  ")


def _overrides(overrides: Sequence[Override], style: Style) -> list[str]:
    return table([[words.plain(each.model), words.plain(each.message)] for each in overrides], style, indent="  ")


def _conditions(conditions: Sequence[Condition], style: Style) -> list[str]:
    """The node's conditions that are not True; a message of several lines keeps them."""
    lines: list[str] = []
    for condition in conditions:
        if condition.status != "True":
            head = f"{condition.type}={condition.status}"
            lines.append(
                f"  {style.paint(words.plain(head), _colour(condition))} {words.plain(condition.reason)}".rstrip()
            )
            lines += [f"    {words.plain(line)}" for line in condition.message.splitlines() if line.strip()]
    return lines


def _events(events: Sequence[Event], now: float, style: Style) -> list[str]:
    last = sorted(events, key=lambda event: event.time)[-_EVENTS:]
    rows = [
        [
            words.ago(event.time, now),
            event.kind,
            event.model or "-",
            ": ".join(filter(None, (event.reason, event.message))),
        ]
        for event in last
    ]
    return table([[words.plain(cell) for cell in row] for row in rows], style, indent="  ")
