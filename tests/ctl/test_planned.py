"""planned: a plan and a diff as people read them."""

from __future__ import annotations

import msgspec

from powerd.control.schema_plan import DiffReply, PlanReply
from powerd.ctl.planned import diff_text, plan_text
from powerd.ctl.terminal import Style

GIB = 1 << 30


def model(name: str, action: str, **more: object) -> dict[str, object]:
    base: dict[str, object] = {
        "change": "",
        "steps": [],
        "fields": [],
        "fetch": None,
        "memory": {},
        "memory_before": {},
        "measured": "",
        "drains": 0,
        "deletes": [],
        "warnings": [],
    }
    return {"name": name, "action": action} | base | more


def plan(*models: dict[str, object], **more: object) -> PlanReply:
    base: dict[str, object] = {
        "changes": True,
        "generation": 7,
        "following": 8,
        "file": "/etc/power/models.yaml",
        "hold": "",
        "problems": [],
        "models": list(models),
        "moves": [],
        "devices": [],
        "waiting": [],
        "deletes": [],
        "warnings": [],
    }
    return msgspec.convert(base | more, PlanReply)


def text(reply: PlanReply, style: Style = Style()) -> str:  # noqa: B008 - immutable
    return "\n".join(plan_text(reply, style))


RELOAD = model(
    "coder",
    "update",
    change="reload",
    fields=[{"name": "context", "change": "reload", "before": 4096, "after": 8192}],
    memory={"CUDA0": 20 * GIB, "cpu": GIB},
    measured="measured",
    drains=3,
)


def test_a_reload_says_what_drains_and_what_it_needs() -> None:
    told = text(plan(RELOAD, model("b", "none")))
    assert told.splitlines()[0] == "Plan for /etc/power/models.yaml, generation 7 -> 8"
    assert "~ coder    update    reload    context 4096 -> 8192" in told
    assert "3 running requests finish first" in told
    assert "needs 21 GB on CUDA0, 1.1 GB on cpu when loaded (as measured)" in told
    assert told.splitlines()[-1].startswith("1 to change; 1 unchanged; nothing to fetch; nothing is evicted")


def test_a_fetch_says_bytes_and_place_or_that_they_are_not_known() -> None:
    fetch = {"place": "the registry x", "missing": GIB, "total": 2 * GIB, "files": [], "problem": ""}
    lost = fetch | {"problem": "the source did not answer within 20 s", "missing": 0}
    told = text(plan(model("a", "create", fetch=fetch), model("b", "create", fetch=lost)))
    assert "+ a    create        fetch 1.1 GB of 2.1 GB from the registry x" in told
    assert "fetch, how much is not known: the source did not answer within 20 s" in told
    assert "2 to create; 1.1 GB to fetch, 1 not known" in told


def test_evictions_and_what_must_wait_are_told() -> None:
    moves = [
        {"kind": "unload", "model": "old", "reason": "evicted", "why": "x", "bytes": {"cpu": GIB}, "requests": 1},
        {"kind": "load", "model": "new", "reason": "declared", "why": "y", "bytes": {"cpu": 2 * GIB}, "requests": 0},
    ]
    device = {"id": "cpu", "budget": 4 * GIB, "before": GIB, "after": 3 * GIB}
    waiting = [{"model": "big", "why": "needs 9 GiB and 4 GiB are free"}]
    told = text(plan(model("new", "create"), moves=moves, devices=[device], waiting=waiting))
    evicted = next(line for line in told.splitlines() if "evicted," in line)
    assert evicted.split() == ["unload", "old", "evicted,", "after", "1", "request", "-1.1", "GB", "cpu"]
    assert "needs 9 GiB and 4 GiB are free" in told
    assert "evicts old; 1 request drains" in told
    assert "75%" in told
    assert "█" in text(plan(model("new", "create"), devices=[device]), Style(100))


def test_nothing_to_do_and_a_refusal_are_plain() -> None:
    assert text(plan(model("a", "none"), changes=False, following=7)).endswith("everything is as declared.")
    refused = text(plan(problems=["models.yaml:3:4: no"]))
    assert refused.splitlines() == ["/etc/power/models.yaml would be refused:", "models.yaml:3:4: no"]
    assert "held: a rollback" in text(plan(hold="a rollback", changes=False, following=7))


def test_text_of_a_model_cannot_steer_the_terminal() -> None:
    evil = model("a\x1b[2J", "update", warnings=["\x1b]0;x\x07"], fields=[
        {"name": "system", "change": "live", "before": None, "after": "\x1b[31m" + "x" * 99}
    ])  # fmt: skip
    assert "\x1b" not in text(plan(evil))


def test_a_diff_has_three_columns() -> None:
    rows = [
        {"model": "a", "field": "context", "file": 1, "accepted": 2, "actual": 2, "kind": "pending"},
        {"model": "a", "field": "parallel", "file": 4, "accepted": 4, "actual": "2 sequences", "kind": "drift"},
        {"model": "a", "field": "state", "file": "loaded", "accepted": "loaded", "actual": "loaded", "kind": "same"},
    ]
    said = {"changes": True, "generation": 3, "file": "/f", "hold": "", "problems": [], "rows": rows}
    reply = msgspec.convert(said, DiffReply)
    short = diff_text(reply, Style(), everything=False)
    assert short[0].split() == ["MODEL", "FIELD", "FILE", "GENERATION", "3", "ACTUAL"]
    assert [line.split()[-1] for line in short[1:]] == ["pending", "drift"]
    assert len(diff_text(reply, Style(), everything=True)) == 4
    same = msgspec.structs.replace(reply, rows=reply.rows[2:])
    assert diff_text(same, Style(), everything=False) == ["No difference: /f, generation 3 and what is there agree."]
