from __future__ import annotations

from powerd.control.schema import Condition, Event, ModelStatus, Node, Status, Transfer
from powerd.ctl.report import report
from powerd.ctl.terminal import Style

NOW = 1_800_000_000.0


def node(**over: object) -> Node:
    fields: dict[str, object] = {
        "version": "0.1.0",
        "pid": 42,
        "uptime": 7200.0,
        "listen": "127.0.0.1:11434",
        "models_file": "/etc/power/models.yaml",
        "store": "/var/lib/power/models",
        "memory_budget": 24 * 10**9,
        "memory_used": 3_200_000_000,
    }
    return Node(**(fields | over))  # type: ignore[arg-type]  # a dict of fields has one type for all values


def status(*models: ModelStatus, **over: object) -> Status:
    fields: dict[str, object] = {
        "generation": 4,
        "conditions": [Condition("ConfigValid", "True")],
        "models": list(models),
        "node": node(),
        "events": [],
        "as_declared": True,
    }
    return Status(**(fields | over))  # type: ignore[arg-type]  # as above


def text(seen: Status, style: Style | None = None) -> str:
    return "\n".join(report(seen, NOW, style or Style()))


def model(name: str, *conditions: Condition, want: str = "loaded", **have: object) -> ModelStatus:
    return ModelStatus(name, {"state": want}, have, list(conditions))


def test_the_node_stands_first() -> None:
    lines = report(status(), NOW, Style())
    assert lines[:3] == [
        "powerd 0.1.0, pid 42, up 2 hours, listening on 127.0.0.1:11434",
        "Generation 4 of /etc/power/models.yaml: as declared",
        "Memory 3.2 GB of 24 GB in use, store /var/lib/power/models",
    ]
    assert lines[-1] == "No models are declared."


def test_what_is_not_as_declared_is_said() -> None:
    assert "models.yaml: not as declared\n" in text(status(as_declared=False))


def test_a_model_that_is_ready_has_one_row() -> None:
    ready = model("coder", Condition("Ready", "True"), state="running", context=32768, requests=2)
    rows = [line.split() for line in report(status(ready), NOW, Style()) if line.startswith(("NAME", "coder"))]
    assert rows == [
        ["NAME", "WANT", "HAVE", "CONTEXT", "REQUESTS", "CONDITION", "MESSAGE"],
        ["coder", "loaded", "running", "32768", "2", "Ready"],
    ]


def test_the_first_condition_that_is_not_true_speaks_for_the_model() -> None:
    big = ModelStatus(
        "big",
        {"state": "loaded"},
        {"state": "absent"},
        [
            Condition("Resolved", "True"),
            Condition("Fetched", "False", "Offline", "the registry did not answer"),
            Condition("Ready", "Unknown"),
        ],
        next_try=NOW + 48,
    )
    row = next(line for line in report(status(big), NOW, Style()) if line.startswith("big"))
    assert row.split("    ")[-1] == "Offline: the registry did not answer; next try in 48s"
    assert "Fetched=False" in row
    assert row.split()[3:5] == ["-", "-"], "nothing there has no context and no requests"


def test_colours_tell_trouble_from_rest() -> None:
    style = Style(120, colour=True)
    idle = Condition("Loaded", "False", "Idle", "loads on the first request")
    assert "\x1b[2mLoaded=False\x1b[0m" in text(status(model("a", idle, want="available")), style)
    assert "\x1b[31mLoaded=False\x1b[0m" in text(status(model("a", idle, want="loaded")), style)
    assert "\x1b[33mReady=Unknown\x1b[0m" in text(status(model("a", Condition("Ready", "Unknown"))), style)
    assert "\x1b[33mUnknown\x1b[0m" in text(status(model("a")), style)


def test_a_fetch_shows_as_text_in_a_pipe_and_as_a_bar_on_a_terminal() -> None:
    fetching = ModelStatus("big", {}, {}, [], Transfer(1_200_000_000, 2_900_000_000, 35e6))
    assert "\nFetching\n  big  41% 1.2 GB/2.9 GB 35 MB/s 48s" in text(status(fetching))
    assert "▕█" in text(status(fetching), Style(100))


def test_every_problem_of_a_broken_file_keeps_its_line() -> None:
    broken = Condition("ConfigValid", "False", "Invalid", "m.yaml:3:7: unknown key\nm.yaml:9:1: duplicate key")
    seen = text(status(conditions=[broken, Condition("StoreHealthy", "True")]), Style(20))
    assert "Conditions\n  ConfigValid=False Invalid\n    m.yaml:3:7: unknown key\n    m.yaml:9:1: duplicate key" in seen
    assert "StoreHealthy" not in seen


def test_the_last_five_events_in_their_order() -> None:
    events = [Event(NOW - 60 * age, "load", "coder", "Ready", f"number {age}") for age in (2, 9, 3, 4, 5, 6, 7)]
    lines = report(status(events=events), NOW, Style())
    assert [line.split("    ")[-1] for line in lines[lines.index("Events") + 1 :]] == [
        f"Ready: number {age}" for age in (6, 5, 4, 3, 2)
    ]
    assert lines[-1].startswith("  2 minutes ago    load    coder")


def test_nothing_the_daemon_repeats_can_steer_the_terminal() -> None:
    evil = "x\x1b[2J\r\n"
    seen = status(
        model(evil, Condition("Ready", "False", evil, evil), state=evil),
        conditions=[Condition(evil, "False", evil, evil)],
        events=[Event(NOW, evil, evil, evil, evil)],
    )
    assert "\x1b" not in text(seen)
    assert "\r" not in text(seen)
