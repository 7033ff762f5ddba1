from __future__ import annotations

import re

import pytest

from powerd.control.schema import (
    Condition,
    Device,
    Event,
    Hold,
    LoadFailure,
    ModelStatus,
    Node,
    Override,
    Status,
    Transfer,
)
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


def loaded(have: dict[str, object]) -> ModelStatus:
    return ModelStatus("coder", {"state": "loaded"}, have, [Condition("Ready", "True")])


def test_the_node_stands_first() -> None:
    lines = report(status(), NOW, Style())
    assert lines[:4] == [
        "powerd 0.1.0, pid 42, up 2 hours, listening on 127.0.0.1:11434",
        "Generation 4 of /etc/power/models.yaml: as declared",
        "Store /var/lib/power/models",
        "memory    3.2 GB of 24 GB",
    ]
    assert lines[-1] == "No models are declared."


def test_what_is_not_as_declared_is_said() -> None:
    assert "models.yaml: not as declared\n" in text(status(as_declared=False))


def test_a_model_that_is_ready_has_one_row() -> None:
    devices = {"CUDA0": {"layers": 20, "size": 4_100_000_000}, "cpu": {"layers": 0, "size": 600_000_000}}
    have = {"state": "running", "context": 32768, "parallel": 4, "requests": 2, "queued": 1, "expires_at": NOW + 240}
    assert rows(status(loaded(have | {"devices": devices}))) == [
        ["NAME", "WANT → HAVE", "CONTEXT", "MEMORY", "REQUESTS", "EXPIRES", "CONDITION", "MESSAGE"],
        [
            *("coder", "loaded → running", "32768 × 4", "4.1 GB CUDA0, 600 MB cpu", "2 (1 waiting)"),
            *("4 minutes from now", "Ready"),
        ],
    ]


@pytest.mark.parametrize(("have", "shown"), [({"expires_at": None}, "never"), ({}, "-")])
def test_a_model_that_stays_never_expires(have: dict[str, object], shown: str) -> None:
    assert rows(status(loaded(have)))[1][5] == shown


def rows(seen: Status) -> list[list[str]]:
    """The table of models, cell by cell."""
    lines = report(seen, NOW, Style())
    first = next(at for at, line in enumerate(lines) if line.startswith("NAME"))
    return [re.split(" {4,}", line) for line in lines[first : first + 1 + len(seen.models)]]


def test_devices_with_what_was_given_out_of_what_there_is_and_a_gauge_on_a_terminal() -> None:
    devices = [Device("cpu", 24 * 10**9, 6 * 10**9), Device("CUDA0", 80 * 10**9, 0, "gpu", "NVIDIA H100")]
    assert "\ncpu      6 GB of 24 GB\nCUDA0    0 B of 80 GB NVIDIA H100\n" in text(status(devices=devices))
    drawn = text(status(devices=devices), Style(120))
    assert "cpu      ▕█████               ▏ 6 GB of 24 GB" in drawn


def test_a_load_under_way_has_its_part() -> None:
    loading = model("big", Condition("Loaded", "False", "Loading", "41%"), state="loading", progress=0.41)
    assert "\nLoading\n  big    41%" in text(status(loading))
    assert "▕████████" in text(status(loading), Style(120))


def test_failed_loads_overrides_and_a_hold_are_listed() -> None:
    seen = text(
        status(
            failures=[LoadFailure("big", "out of memory: 3.1 GiB on cpu", NOW - 61, 2, NOW + 48, True)],
            overrides=[
                Override("coder", "stopped", "operator", "stopped by the operator for 600 s more", NOW + 600),
                Override("demo", "keep_alive", "client", "keep_alive 600 s asked for by a client"),
            ],
            hold=Hold(3, "generation 5 (a rollback to 3) is held until the content of models.yaml changes"),
        )
    )
    assert "Held: generation 5 (a rollback to 3) is held until" in seen
    assert (
        "Failed loads\n  big    failed 2 times, about a minute ago: out of memory: 3.1 GiB on cpu; next try in 48s"
        in seen
    )
    assert "Overrides\n  coder    stopped by the operator for 600 s more\n" in seen
    assert "\n  demo     keep_alive 600 s asked for by a client" in seen


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
    row = rows(status(big))[1]
    assert row[-2:] == ["Fetched=False", "Offline: the registry did not answer; next try in 48s"]
    assert row[2:6] == ["-", "-", "-", "-"], "nothing there has no context, memory, requests or end"


def test_what_is_false_speaks_before_what_is_not_known() -> None:
    unmet = Condition("Fits", "False", "RequireUnmet", "this machine offers cpu only")
    assert rows(status(model("a", Condition("Resolved", "Unknown"), unmet)))[1][-2:] == [
        "Fits=False",
        "RequireUnmet: this machine offers cpu only",
    ]


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
