"""`powerd --plan` and `--diff`: from the last generation and the store, without a daemon and without writing a byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from powerd.control.offline import foretell
from powerd.paths import Paths
from powerd.settings import Settings, load
from tests.reconcile.rig import HEAD, Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    rig.models(f"  a: {{source: {rig.weights('a')}, state: loaded, context: 512}}\n")

    async def once() -> None:
        async with rig.running():
            await rig.quiet()

    asyncio.run(once())
    yield rig


def settings(**more: object) -> Settings:
    return load({"store": {"read_only": ()}, **more}, {}, {})


def paths(rig: Rig) -> Paths:
    here = rig.directory
    return Paths(here / "powerd.yaml", rig.path, here, here / "store", here / "socket")


def foretold(rig: Rig, file: str | None, capsys: pytest.CaptureFixture[str], **more: object) -> tuple[int, dict]:  # type: ignore[type-arg]
    code = foretell(settings(**more), paths(rig), file, as_json=True)
    return code, json.loads(capsys.readouterr().out)


def marks(rig: Rig) -> list[tuple[Path, int]]:
    return sorted((path, path.stat().st_mtime_ns) for path in rig.directory.rglob("*"))


def test_what_is_declared_and_composed_needs_nothing(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    before = marks(rig)
    code, plan = foretold(rig, "", capsys)
    assert (code, plan["changes"], plan["generation"], plan["following"]) == (0, False, 1, 1)
    code, diff = foretold(rig, None, capsys)
    assert (code, diff["changes"]) == (0, False)
    assert marks(rig) == before


def test_a_daemon_that_holds_the_store_is_no_obstacle(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.store.open()
    assert foretold(rig, "", capsys)[0] == 0
    rig.store.close()


def test_changes_exit_2_and_tell_loads_and_memory(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    text = rig.path.read_text().replace("512", "1024") + "  demo: {source: 'builtin:demo', state: loaded}\n"
    rig.path.write_text(text)
    code, plan = foretold(rig, "", capsys)
    assert (code, plan["following"]) == (2, 2)
    assert sorted((move["kind"], move["model"]) for move in plan["moves"]) == [
        ("load", "a"),
        ("load", "demo"),
        ("unload", "a"),
    ]
    [cpu] = [device for device in plan["devices"] if device["id"] == "cpu"]
    assert cpu["before"] < cpu["after"] <= cpu["budget"]
    code, diff = foretold(rig, None, capsys)
    assert (code, [(row["field"], row["kind"]) for row in diff["rows"] if row["kind"] != "same"]) == (
        2,
        [("context", "pending"), ("model", "pending")],
    )
    assert foretell(settings(), paths(rig), "", as_json=False) == 2
    told = capsys.readouterr().out
    assert "update a reload: context 512 -> 1024" in told
    assert "load demo: " in told


def test_another_file_stands_in_the_place_of_the_real_one(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    other = rig.directory / "elsewhere.yaml"
    other.write_text(HEAD + "  a: {source: ./a.gguf, state: loaded, context: 512}\n")
    assert foretold(rig, str(other), capsys)[0] == 2  # the text differs, so it is a generation; nothing moves
    code, plan = foretold(rig, str(other), capsys, locked=True)
    assert (code, plan["problems"][0].startswith('model "a": its source')) == (1, True)
    other.write_text(HEAD + "  a: {sorce: x}\n")
    assert foretold(rig, str(other), capsys)[0] == 1
    assert foretell(settings(), paths(rig), str(rig.directory / "none"), as_json=True) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_machine_without_state_or_store_is_planned_from_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = Rig(tmp_path)
    rig.models("  demo: {source: 'builtin:demo', state: loaded}\n")
    code, plan = foretold(rig, "", capsys)
    assert (code, plan["generation"], plan["following"], plan["models"][0]["action"]) == (2, 0, 1, "create")
    assert not (tmp_path / "store").exists()
