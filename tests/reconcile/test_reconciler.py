"""reconciler: the least is done, what is lost is put right, and a generation can be gone back to without any source."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from powerd.digest import Digest
from powerd.documents import Reading
from powerd.errors import Conflict, SourceFailed
from powerd.fleet.terms import Want
from powerd.protocol import Generate
from powerd.reconcile import act, reconciler
from powerd.reconcile.generations.rollback import past, roll_back
from powerd.reconcile.step import Have
from tests.reconcile.rig import HEAD, Rig
from tests.reconcile.webfile import serving


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def served(rig: Rig, name: str) -> str:
    """The digest of the weights a declared model is offered with."""
    return rig.library.find(name).stored.weights_digest.hex


def digest(path: Path) -> str:
    return Digest.of(path.read_bytes()).hex


async def visited(rig: Rig, name: str) -> None:
    """Have the interval's visit now, and see it through."""
    entry = rig.reconciler.entries[name]
    entry.settled = False
    entry.wake.set()
    assert await rig.reconciler.waiting.settle(10)
    await rig.quiet()


# ---------------------------------------------------------------- what goes on meanwhile


def test_a_failure_of_what_is_wanted_no_more_is_not_held_against_what_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    a, b = rig.weights("a"), rig.weights("b", seed=2)
    have = act.have

    async def overtaken(*_: object) -> Have:
        monkeypatch.setattr(act, "have", have)
        rig.models(f"  a: {{source: {b}}}\n")
        assert await rig.reconciler.apply() == []
        raise SourceFailed("the old source is gone")

    async def work() -> None:
        rig.models(f"  a: {{source: {a}}}\n")
        async with rig.running():
            monkeypatch.setattr(act, "have", overtaken)
            rig.models(f"  a: {{source: {a}, system: One.}}\n")
            events = await rig.apply()
            assert not [event for event in events if event.kind == "error"]
            assert served(rig, "a") == digest(b)

    run(work())


def test_a_reading_that_fails_in_an_unforeseen_way_is_told_and_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "AGAIN_SECONDS", 0.05)
    rig = Rig(tmp_path)
    a = rig.weights("a")
    take = rig.reconciler.generations.take

    async def broken(reading: Reading, *, locked: bool = False) -> list[str]:
        monkeypatch.setattr(rig.reconciler.generations, "take", take)
        raise RuntimeError("never seen before")

    async def work() -> None:
        rig.models("")
        async with rig.running():
            monkeypatch.setattr(rig.reconciler.generations, "take", broken)
            rig.models(f"  a: {{source: {a}}}\n")
            async with asyncio.timeout(10):
                while "a" not in rig.reconciler.entries:
                    await asyncio.sleep(0.02)
            reasons = [event.reason for event in rig.reconciler.bulletin.events]
            assert reasons[reasons.index("InternalError") :][:2] == ["InternalError", "Accepted"]
            assert not rig.reconciler.ended()

    run(work())


# ---------------------------------------------------------------- the least


def test_a_live_edit_swaps_the_snapshot_and_requests_in_flight_keep_the_old_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    a = rig.weights("a")

    async def work() -> None:
        rig.models(f"  a: {{source: {a}, state: loaded}}\n")
        async with rig.running():
            await rig.quiet()
            old = rig.library.find("a")
            [before] = rig.fleet.views()
            async with await rig.fleet.lease(Want(old.deployment, "a")) as lease:
                stream = lease.submit(Generate(0, prompt="?rate=200", num_predict=100))
                rig.models(f"  a: {{source: {a}, state: loaded, system: New., parameters: {{temperature: 0.5}}}}\n")
                events = await rig.apply()
                assert [event.reason for event in events] == ["Accepted", "Changed"]
                new = rig.library.find("a")
                assert (old.system, new.system, dict(old.parameters)) == (None, "New.", {})
                rows = [row async for batch in stream for row in batch]
                assert len(rows) >= 100
            [after] = rig.fleet.views()
            assert after.pid == before.pid

    run(work())


def test_a_reload_that_fits_beside_lets_the_old_runner_finish_and_leaves_others_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    a, b = rig.weights("a"), rig.weights("b", 2)

    async def work() -> None:
        rest = f"  b: {{source: {b}, state: loaded}}\n"
        rig.models(f"  a: {{source: {a}, state: loaded, context: 512}}\n{rest}")
        async with rig.running():
            await rig.quiet()
            pids = {view.model: view.pid for view in rig.fleet.views()}
            async with await rig.fleet.lease(Want(rig.library.find("a").deployment, "a")) as lease:
                stream = lease.submit(Generate(0, prompt="?rate=150", num_predict=150))
                rig.models(f"  a: {{source: {a}, state: loaded, context: 1024}}\n{rest}")
                plan = await rig.plan()
                assert next(model.drains for model in plan.models if model.name == "a") == 1
                assert await rig.reconciler.apply() == []
                assert await rig.reconciler.waiting.settle(10)
                views = rig.fleet.views()
                assert sorted(view.context for view in views if view.model == "a") == [512, 1024]
                assert len([row async for batch in stream for row in batch]) >= 150
            await rig.quiet()
            now = {view.model: view.pid for view in rig.fleet.views()}
            assert now["b"] == pids["b"]
            assert now["a"] != pids["a"]

    run(work())


def test_a_replacement_is_fetched_and_verified_while_the_old_one_serves(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    a = rig.weights("a")
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"<html>no model</html>")

    async def work() -> None:
        rig.models(f"  a: {{source: {a}, state: loaded}}\n")
        async with rig.running():
            await rig.quiet()
            [before] = rig.fleet.views()
            rig.models(f"  a: {{source: {bad}, state: loaded}}\n")
            events = await rig.apply()
            assert "SourceFailed" in {event.reason for event in events}
            assert served(rig, "a") == digest(a)
            [after] = rig.fleet.views()
            assert after.pid == before.pid

    run(work())


# ---------------------------------------------------------------- drift


@pytest.mark.parametrize("damage", ["manifest", "changed", "deleted"])
def test_what_is_lost_on_disk_is_put_right_at_the_next_visit_with_an_event(tmp_path: Path, damage: str) -> None:
    rig = Rig(tmp_path)
    a = rig.weights("a")

    async def work() -> None:
        rig.models(f"  a: {{source: {a}, state: loaded}}\n")
        async with rig.running():
            await rig.quiet()
            offer = rig.library.find("a")
            blob = offer.stored.weights
            if damage == "manifest":
                next((tmp_path / "store/manifests/powerd.local").rglob("latest")).unlink()
            elif damage == "changed":
                blob.chmod(0o600)
                data = bytearray(blob.read_bytes())
                data[-1] ^= 1
                blob.write_bytes(bytes(data))
            else:
                blob.unlink()
            [view], last = rig.fleet.views(), rig.reconciler.bulletin.last
            await visited(rig, "a")
            assert rig.manifests() == {"a"}
            assert digest(blob) == digest(a)
            events = [event for event in rig.reconciler.bulletin.after(last) if event.kind == "drift"]
            assert [event.model for event in events] == ["a"]
            [after] = rig.fleet.views()
            assert (after.pid != view.pid) == (damage == "changed")

    run(work())


def test_a_lost_manifest_is_made_again_without_asking_the_source(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    a = rig.weights("a")

    async def work() -> None:
        with serving(a.read_bytes()) as web:
            rig.models(f"  a: {{source: '{web.url}'}}\n")
            async with rig.running():
                web.data, asked = b"moved", web.asked
                next((tmp_path / "store/manifests/powerd.local").rglob("latest")).unlink()
                await visited(rig, "a")
                assert (rig.manifests(), web.asked, served(rig, "a")) == ({"a"}, asked, digest(a))

    run(work())


def test_a_source_that_moved_is_not_followed_where_the_blob_got_lost(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    a, b = rig.weights("a"), rig.weights("b", 2)

    async def work() -> None:
        with serving(a.read_bytes()) as web:
            rig.models(f"  a: {{source: '{web.url}'}}\n")
            async with rig.running():
                web.data = b.read_bytes()
                rig.library.find("a").stored.weights.unlink()
                await visited(rig, "a")
                trouble = rig.reconciler.entries["a"].trouble
                assert trouble is not None
                assert (trouble.type, trouble.reason) == ("Resolved", "Moved")
                assert "powerctl update a" in trouble.message

    run(work())


# ---------------------------------------------------------------- updates


def test_an_update_is_found_on_request_and_fetched_only_when_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    a, b = rig.weights("a"), rig.weights("b", 2)

    async def work() -> None:
        with serving(a.read_bytes()) as web:
            rig.models(f"  a: {{source: '{web.url}', state: loaded}}\n")
            async with rig.running():
                updates = rig.reconciler.updates
                assert [news.state for news in await updates.check([])] == ["current"]
                asked = web.asked
                web.data = b.read_bytes()
                await rig.apply()
                assert (web.asked, served(rig, "a")) == (asked, digest(a))
                [news] = await updates.check([])
                assert (news.state, "powerctl update a" in news.message) == ("moved", True)
                assert (served(rig, "a"), rig.reconciler.generations.number) == (digest(a), 1)
                plan = await rig.plan()
                assert any("powerctl update a" in text for model in plan.models for text in model.warnings)
                [done] = await updates.update(["a"])
                assert done.state == "updated"
                assert await rig.reconciler.waiting.settle(10)
                await rig.quiet()
                assert (served(rig, "a"), rig.reconciler.generations.number) == (digest(b), 2)
                assert [news.state for news in await updates.update(["a"])] == ["current"]
                await roll_back(rig.reconciler.generations, rig.store, None)
                assert await rig.reconciler.waiting.settle(10)
                assert served(rig, "a") == digest(a)

    run(work())


def test_a_lock_is_met_or_the_model_is_refused_by_name(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    a, b, nowhere = rig.weights("a"), rig.weights("b", 2), rig.weights("c", 3)
    for name, path, locked in (("good", a, a), ("bad", b, nowhere)):
        lock = f"  {name}: {{source: ./{path.name}, digest: 'sha256:{digest(locked)}'}}\n"
        with (tmp_path / "models.lock.yaml").open("a") as file:
            file.write(lock if file.tell() else HEAD + lock)

    async def work() -> None:
        rig.models(f"  good: {{source: {a}}}\n  bad: {{source: {b}}}\n")
        async with rig.running():
            assert served(rig, "good") == digest(a)
            trouble = rig.reconciler.entries["bad"].trouble
            assert trouble is not None
            assert (trouble.type, trouble.reason) == ("Resolved", "LockMismatch")
            assert await rig.reconciler.apply(locked=True) == []
            rig.models(f"  good: {{source: {a}}}\n  other: {{source: {a}}}\n")
            [problem] = await rig.reconciler.apply(locked=True)
            assert problem.startswith(f'model "other": its source {a} is not in models.lock.yaml; run `powerctl lock`')

    run(work())


# ---------------------------------------------------------------- rollback


def test_a_rollback_serves_the_old_bytes_with_every_source_gone(tmp_path: Path) -> None:
    rig = Rig(tmp_path, offline=True)
    a, b = rig.weights("a"), rig.weights("b", 2)
    first, second = digest(a), digest(b)

    async def work() -> None:
        rig.models(f"  m: {{source: {a}, state: loaded, system: One.}}\n")
        async with rig.running():
            rig.models(f"  m: {{source: {b}, state: loaded, system: Two.}}\n")
            await rig.apply()
            assert served(rig, "m") == second
            a.unlink()
            b.unlink()
            goal = await roll_back(rig.reconciler.generations, rig.store, 1)
            assert await rig.reconciler.waiting.settle(10)
            await rig.quiet()
            assert (goal.number, served(rig, "m"), rig.library.find("m").system) == (1, first, "One.")
            assert not (await rig.plan()).changes
            hold = rig.reconciler.generations.hold
            assert hold is not None
        again = Rig(tmp_path, offline=True)
        async with again.running():
            assert (served(again, "m"), again.reconciler.generations.number) == (first, 3)
            again.models(f"  m: {{source: {b}, state: loaded, system: Three.}}\n")
            events = await again.apply()
            assert "Accepted" in {event.reason for event in events}
            assert (again.reconciler.generations.hold, served(again, "m")) == (None, first)

    run(work())


def test_a_rollback_that_lacks_a_blob_is_refused_beforehand_and_changes_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    a, b = rig.weights("a"), rig.weights("b", 2)

    async def work() -> None:
        rig.models(f"  m: {{source: {a}}}\n")
        async with rig.running():
            rig.models(f"  m: {{source: {b}}}\n")
            await rig.apply()
            (tmp_path / f"store/blobs/sha256-{digest(a)}").unlink()
            with pytest.raises(Conflict, match=f"generation 1 cannot be .*: m lacks {digest(a)[:12]}"):
                await roll_back(rig.reconciler.generations, rig.store, None)
            assert (rig.reconciler.generations.number, rig.reconciler.generations.hold) == (2, None)

    run(work())


def test_the_blobs_of_kept_generations_stay_and_those_of_forgotten_ones_go(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    files = [rig.weights(letter, seed) for seed, letter in enumerate("abcdefg", 1)]

    async def work() -> None:
        rig.models(f"  m: {{source: {files[0]}}}\n")
        async with rig.running():
            for path in files[1:]:
                rig.models(f"  m: {{source: {path}}}\n")
                await rig.apply()
            for digests in rig.store._blobs.leases._held.copy():  # what was just brought in is held for an hour
                rig.store._blobs.leases.release(digests)
            gone = {one.hex for one in rig.store.collect((), grace=0.0)}
            weights = {digest(path) for path in files}
            assert gone & weights == {digest(path) for path in files[:2]}
            kept = past(rig.reconciler.generations.history, str(rig.path))
            assert [one.record.number for one in kept] == [7, 6, 5, 4, 3]
            assert kept[0].changed == ("~m (source)",)
            assert json.loads((tmp_path / "generations/000003.json").read_bytes())["reason"] == "models.yaml"

    run(work())
