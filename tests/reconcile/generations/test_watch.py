"""watch: stable bytes of models.yaml, however it is edited (reliability Y05, Y06, Y09)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from powerd.documents import Reading, read
from powerd.reconcile.generations.watch import Watch


def watched(path: Path, edit: Callable[[], object], *, count: int = 1) -> list[Reading]:
    """The readings a watch yields after `edit`."""

    async def main() -> list[Reading]:
        readings: list[Reading] = []
        watch = Watch(path, stable=0.05, look=0.1)

        async def collect() -> None:
            async for reading in watch.changes(read(path)):
                readings.append(reading)
                if len(readings) == count:
                    return

        task = asyncio.create_task(collect())
        await asyncio.sleep(0.05)
        edit()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(task, 5)
        return readings

    return asyncio.run(main())


def test_y06_a_write_in_place_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("a")
    assert [reading.documents.get(str(path)) for reading in watched(path, lambda: path.write_text("b"))] == ["b"]


def test_y06_a_rename_over_it_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("a")

    def edit() -> None:
        (tmp_path / ".new").write_text("b")
        (tmp_path / ".new").rename(path)

    assert [reading.documents.get(str(path)) for reading in watched(path, edit)] == ["b"]


def test_y06_a_flipped_symbolic_link_is_seen(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "models.yaml").write_text(name)
    (tmp_path / "data").symlink_to("one")
    path = tmp_path / "models.yaml"
    path.symlink_to("data/models.yaml")

    def edit() -> None:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "data")

    assert [reading.documents.get(str(path)) for reading in watched(path, edit)] == ["two"]


def test_y06_deleting_it_is_seen_and_so_is_its_return(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("a")
    assert watched(path, path.unlink) == [Reading()]
    assert [reading.documents.get(str(path)) for reading in watched(path, lambda: path.write_text("b"))] == ["b"]


def test_y05_a_slow_writer_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("start")

    async def main() -> list[str | None]:
        texts: list[str | None] = []
        watch = Watch(path, stable=0.3, look=0.05)

        async def collect() -> None:
            async for reading in watch.changes(read(path)):
                texts.append(reading.documents.get(str(path)))
                if texts[-1] == "123456":
                    return

        task = asyncio.create_task(collect())
        for end in range(1, 7):
            path.write_text("123456"[:end])
            await asyncio.sleep(0.1)
        await asyncio.wait_for(task, 5)
        return texts

    assert asyncio.run(main()) == ["123456"]


@pytest.mark.root
def test_y09_files_that_others_could_change_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("a")
    path.chmod(0o666)
    assert "chmod o-w" in read(path).problem
    path.chmod(0o644)
    os.chown(path, 12345, 12345)
    assert "owned by uid 12345" in read(path).problem


def test_y09_what_is_no_regular_file_is_said_and_never_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in read(tmp_path / "fifo").problem
    assert "not a regular file" in read(tmp_path).problem
    (tmp_path / "dangling").symlink_to("nowhere")
    assert "points to nothing" in read(tmp_path / "dangling").problem
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    assert "not UTF-8 at byte 3" in read(tmp_path / "latin").problem
    assert read(tmp_path / "missing") == Reading()


def test_a_watch_ends_when_cancelled_although_its_directory_just_changed(tmp_path: Path) -> None:
    """In Python 3.11 `asyncio.wait_for` loses a cancellation that meets an event already set."""

    async def main() -> bool:
        watch = Watch(tmp_path / "models.yaml", look=5)

        async def follow() -> None:
            async for _ in watch.changes(Reading()):
                pass

        task = asyncio.create_task(follow())
        await asyncio.sleep(0.05)
        watch._event.set()
        await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2)
        task.cancel()
        return bool(done)

    assert asyncio.run(main())


# ---------------------------------------------------------------- fragments and templates


def names(readings: list[Reading]) -> list[list[str]]:
    return [[Path(name).name for name in reading.documents] for reading in readings]


def test_y06_a_first_fragment_is_seen_and_so_is_its_end(tmp_path: Path) -> None:
    path, fragment = tmp_path / "models.yaml", tmp_path / "models.d" / "a.yaml"
    path.write_text("main")

    def begin() -> None:
        fragment.parent.mkdir()
        fragment.write_text("a")

    assert names(watched(path, begin)) == [["models.yaml", "a.yaml"]]
    assert names(watched(path, lambda: fragment.rename(fragment.with_name("b.yaml")))) == [["models.yaml", "b.yaml"]]
    assert names(watched(path, path.unlink)) == [["b.yaml"]]
    assert names(watched(path, fragment.with_name("b.yaml").unlink)) == [[]]


def test_y06_a_flipped_link_to_the_directory_of_fragments_is_seen(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.yaml").write_text(name)
    (tmp_path / "models.d").symlink_to("one")

    def edit() -> None:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "models.d")

    assert names(watched(tmp_path / "models.yaml", edit)) == [["two.yaml"]]


def test_y05_files_that_change_one_after_the_other_are_one_change(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    (tmp_path / "models.d").mkdir()
    path.write_text("main")

    async def main() -> list[Reading]:
        readings: list[Reading] = []

        async def collect() -> None:
            async for reading in Watch(path, stable=0.3, look=0.05).changes(read(path)):
                readings.append(reading)
                return

        task = asyncio.create_task(collect())
        for name in "abcd":
            (tmp_path / "models.d" / f"{name}.yaml").write_text(name)
            await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await task
        return readings

    assert names(asyncio.run(main())) == [["models.yaml", "a.yaml", "b.yaml", "c.yaml", "d.yaml"]]


def test_events_tell_of_changes_long_before_the_next_look(tmp_path: Path) -> None:
    """Of a fragment, and of a template in a directory of its own."""
    path, fragment, template = tmp_path / "models.yaml", tmp_path / "models.d" / "a.yaml", tmp_path / "t" / "t.jinja"
    for one in (path, fragment, template):
        one.parent.mkdir(exist_ok=True)
        one.write_text("1")

    async def main() -> int:
        seen = 0
        watch = Watch(path, also=lambda: [template], stable=0.05, look=60)
        changes = watch.changes(read(path, [template]))
        for one in (fragment, template, path):
            following = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.3)
            one.write_text("2")
            async with asyncio.timeout(5):
                await following
            seen += 1
        await changes.aclose()
        return seen

    assert asyncio.run(main()) == 3
