"""The status of the node and its models as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from powerd.control.schema import Condition, Event, ModelStatus, Status
from powerd.ctl import words
from powerd.ctl.progress import bar
from powerd.ctl.terminal import Colour, Style, table

_EVENTS = 5
_COLOURS: Mapping[str, Colour] = {"True": "green", "False": "red"}
_REST = frozenset({"Idle", "Unloaded"})


def report(status: Status, now: float, style: Style) -> list[str]:
    """Every line of `powerctl status`."""
    return [
        *_node(status, style),
        "",
        *_models(status.models, now, style),
        *_section("Fetching", _fetching(status.models, style)),
        *_section("Conditions", _conditions(status.conditions, style)),
        *_section("Events", _events(status.events, now, style)),
    ]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *lines] if lines else []


def _node(status: Status, style: Style) -> list[str]:
    node = status.node
    verdict = style.paint("as declared", "green") if status.as_declared else style.paint("not as declared", "red")
    memory = words.size(node.memory_used) + (f" of {words.size(node.memory_budget)}" if node.memory_budget else "")
    listen = f"listening on {words.plain(node.listen)}" if node.listen else "not listening"
    return [
        f"powerd {words.plain(node.version)}, pid {node.pid}, up {words.span(node.uptime).lower()}, {listen}",
        f"Generation {status.generation} of {words.plain(node.models_file)}: {verdict}",
        f"Memory {memory} in use, store {words.plain(node.store)}",
    ]


def _models(models: Sequence[ModelStatus], now: float, style: Style) -> list[str]:
    if not models:
        return ["No models are declared."]
    header = ["NAME", "WANT", "HAVE", "CONTEXT", "REQUESTS", "CONDITION", "MESSAGE"]
    return table([header, *(_model(model, now, style) for model in models)], style)


def _model(model: ModelStatus, now: float, style: Style) -> list[str]:
    condition, message = "Ready", ""
    colour: Colour = "green"
    behind = next((each for each in model.conditions if each.status != "True"), None)
    if behind is not None:
        condition, message = f"{behind.type}={behind.status}", _sentence(behind)
        colour = "dim" if _at_rest(model, behind) else _colour(behind)
    elif not model.conditions:
        condition, colour = "Unknown", "yellow"
    if model.next_try > now:
        message += f"{'; ' if message else ''}next try in {words.brief(model.next_try - now)}"
    cells = [model.name, *(_cell(model.want, "state"), _cell(model.have, "state"))]
    cells += [_cell(model.have, "context"), _cell(model.have, "requests")]
    return [*(words.plain(cell) for cell in cells), style.paint(words.plain(condition), colour), words.plain(message)]


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
