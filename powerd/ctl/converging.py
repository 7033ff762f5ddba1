"""Drawing what is under way on a terminal, while another request waits for its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from powerd.control.schema import ModelStatus, Status
from powerd.ctl import words
from powerd.ctl.client import Client
from powerd.ctl.exits import Failed
from powerd.ctl.progress import bar
from powerd.ctl.terminal import Style, Terminal

_LOOK_SECONDS = 0.25
_UNDER_WAY = frozenset({"Loading", "Waiting", "CanaryPending"})


@contextmanager
def drawing(client: Client, terminal: Terminal) -> Iterator[None]:
    """While the block runs, show fetches and loads as they go; into a pipe nothing."""
    if not terminal.tty:
        yield
        return
    ended = threading.Event()
    drawer = threading.Thread(target=_draw, args=(client, terminal, ended), daemon=True)
    drawer.start()
    try:
        yield
    finally:
        ended.set()
        drawer.join(_LOOK_SECONDS * 4)
        terminal.redraw([])


def _draw(client: Client, terminal: Terminal, ended: threading.Event) -> None:
    while not ended.wait(_LOOK_SECONDS):
        try:
            seen = client.ask("GET", "/v1/status", Status)
        except Failed:
            return
        if not ended.is_set():
            terminal.redraw([line[: terminal.style.width] for line in lines(seen, terminal.style)])


def lines(status: Status, style: Style) -> list[str]:
    """A line for each model that is on its way."""
    told = []
    for model in status.models:
        if model.fetching is not None:
            one = model.fetching
            told.append(bar(words.plain(model.name), one.completed, one.total, one.rate, style))
        elif waits := _waits(model):
            told.append(f"{words.plain(model.name)} {words.plain(waits)}")
    return told


def _waits(model: ModelStatus) -> str:
    return next((f"{one.type}: {one.message}" for one in model.conditions if one.reason in _UNDER_WAY), "")
