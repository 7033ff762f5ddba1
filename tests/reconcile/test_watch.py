"""watch: stable bytes of models.yaml, however it is edited (reliability Y05, Y06, Y09)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from powerd.reconcile.watch import Reading, Watch, read


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
    assert [reading.text for reading in watched(path, lambda: path.write_text("b"))] == ["b"]


def test_y06_a_rename_over_it_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("a")

    def edit() -> None:
        (tmp_path / ".new").write_text("b")
        (tmp_path / ".new").rename(path)

    assert [reading.text for reading in watched(path, edit)] == ["b"]


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

    assert [reading.text for reading in watched(path, edit)] == ["two"]


def test_y06_deleting_it_is_seen_and_so_is_its_return(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("a")
    assert watched(path, path.unlink) == [Reading(None)]
    assert [reading.text for reading in watched(path, lambda: path.write_text("b"))] == ["b"]


def test_y05_a_slow_writer_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("start")

    async def main() -> list[str | None]:
        texts: list[str | None] = []
        watch = Watch(path, stable=0.3, look=0.05)

        async def collect() -> None:
            async for reading in watch.changes(read(path)):
                texts.append(reading.text)
                if reading.text == "123456":
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
    assert read(tmp_path / "missing") == Reading(None)


def test_a_watch_ends_when_cancelled_although_its_directory_just_changed(tmp_path: Path) -> None:
    """In Python 3.11 `asyncio.wait_for` loses a cancellation that meets an event already set."""

    async def main() -> bool:
        watch = Watch(tmp_path / "models.yaml", look=5)

        async def follow() -> None:
            async for _ in watch.changes(Reading(None)):
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
