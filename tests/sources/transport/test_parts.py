"""Large files: fetched in parts at once, gone on with after a stop, hashed as they grow, shared by who wants them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.digest import Digest
from powerd.errors import SourceFailed
from powerd.sources.transport.location import Link
from powerd.sources.transport.outbound import Outbound, OutboundConfig
from powerd.sources.transport.parts import Part, cut, part_size
from powerd.sources.transport.transfer import download
from powerd.store.partial import Partial
from powerd.store.ranges import Ranges
from powerd.store.store import Store
from tests.sources.models import QUICK, blobs, config, nothing, opened
from tests.sources.scripted import Reply, Request, Scripted, ranged, whole

MIB = 1 << 20
DATA = random.Random(7).randbytes(20 * MIB)
RIGHT = Digest.of(DATA)
PARTS = [0, 8 * MIB, 16 * MIB]


def get(
    store: Store,
    url: str,
    digest: Digest | None = RIGHT,
    size: int | None = len(DATA),
    rules: OutboundConfig | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Digest:
    async def run() -> Digest:
        async with Outbound(rules or config()) as outbound:
            where = Link(outbound, url)
            return await download(store, outbound, where, digest=digest, size=size, on_progress=on_progress)

    return asyncio.run(run())


def starts(server: Scripted) -> list[int]:
    return sorted(request.start for request in server.requests)


# ------------------------------------------------------------ in parts


def test_a_large_file_comes_in_parts_at_once(store: Store) -> None:
    heard: list[tuple[int, int]] = []
    with Scripted(ranged(DATA)) as server:
        assert get(store, server.url, on_progress=lambda *both: heard.append(both)) == RIGHT
    assert starts(server) == PARTS
    assert heard[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert blobs(store) == {RIGHT: DATA}


def test_parts_are_fetched_side_by_side(store: Store) -> None:
    def slow(request: Request) -> Reply:
        reply = ranged(DATA)(request)
        reply.silence = 0.3
        return reply

    with Scripted(slow) as server:
        began = time.monotonic()
        get(store, server.url)
        assert time.monotonic() - began < 0.85
    with Scripted(ranged(DATA)) as server:
        get(store, server.url, rules=replace(config(), parts=1))
        assert [request.start for request in server.requests] == PARTS


def test_a_file_of_unknown_digest_in_parts_only_with_a_strong_etag(store: Store) -> None:
    said = {"Accept-Ranges": "bytes", "ETag": '"v1"'}
    with Scripted(ranged(DATA, **said)) as server:
        assert get(store, server.url, None, None) == RIGHT
        assert starts(server) == PARTS
        assert {request.headers.get("if-range") for request in server.requests} == {None, '"v1"'}
    for less in ({"Accept-Ranges": "bytes", "ETag": 'W/"v1"'}, {"ETag": '"v1"'}):
        with Scripted(ranged(DATA, **less)) as server:
            assert get(store, server.url, None, None) == RIGHT
            assert len(server.requests) == 1


def test_r05_a_server_that_ignores_ranges_is_read_by_one(store: Store) -> None:
    with Scripted(lambda _: whole(DATA, **{"Accept-Ranges": "bytes"})) as server:
        assert get(store, server.url) == RIGHT
        assert len(server.requests) <= 1 + len(PARTS)
    assert blobs(store) == {RIGHT: DATA}


def test_r05_a_part_that_is_another_one_is_never_written(store: Store) -> None:
    def shifted(request: Request) -> Reply:
        if "range" not in request.headers:
            return whole(DATA)
        start, stop = request.start + 1, request.stop or len(DATA)
        said = {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}
        return Reply("206 Partial Content", said, [DATA[start:stop]], stop - start)

    with Scripted(shifted) as server:
        assert get(store, server.url) == RIGHT


def test_r05_a_part_longer_than_asked_is_not_taken(store: Store) -> None:
    def longer(request: Request) -> Reply:
        reply = ranged(DATA)(request)
        if request.stop is not None and request.stop < len(DATA):
            last = request.stop + 5
            reply.headers["Content-Range"] = f"bytes {request.start}-{last}/{len(DATA)}"
            reply.body, reply.length = [DATA[request.start : last + 1]], last + 1 - request.start
        return reply

    with Scripted(longer) as server:
        assert get(store, server.url) == RIGHT


def test_r05_416_for_a_part_starts_over(store: Store) -> None:
    def no_ranges(request: Request) -> Reply:
        # As docker-registry says it: the length of the whole blob, and 33 bytes.
        said = Reply("416 Range", {"Content-Length": str(len(DATA))}, [b"x" * 33])
        return said if "range" in request.headers else whole(DATA)

    with Scripted(no_ranges) as server:
        assert get(store, server.url) == RIGHT


def test_r02_short_parts_are_completed(store: Store) -> None:
    def short(request: Request) -> Reply:
        reply = ranged(DATA)(request)
        reply.body = [bytes(next(iter(reply.body)))[: 3 * MIB]]  # type: ignore[arg-type]  # one piece of bytes
        return reply

    with Scripted(short) as server:
        assert get(store, server.url) == RIGHT
    assert starts(server) == [0, 3 * MIB, 6 * MIB, 8 * MIB, 11 * MIB, 14 * MIB, 16 * MIB, 19 * MIB]


def test_r01_wrong_bytes_in_one_part_restart_the_blob_once(store: Store) -> None:
    flips = [8 * MIB]

    def flipped(request: Request) -> Reply:
        if request.start not in flips:
            return ranged(DATA)(request)
        flips.remove(request.start)
        return ranged(DATA[: 9 * MIB] + b"\x00" + DATA[9 * MIB + 1 :])(request)

    with Scripted(flipped) as server:
        assert get(store, server.url) == RIGHT
        assert starts(server) == sorted(PARTS * 2)
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    (store.root / "blobs" / RIGHT.blob_name).unlink()
    with Scripted(ranged(wrong)) as server, pytest.raises(SourceFailed, match="digest mismatch"):
        get(store, server.url)
    assert nothing(store)


def test_r11_a_stall_takes_none_of_the_tries(store: Store) -> None:
    """Eight stalls, each after some bytes, with three tries."""

    def drips(request: Request) -> Reply:
        reply = ranged(DATA[:MIB])(request)
        reply.body = [DATA[request.start : request.start + MIB // 8], 30.0]
        return reply

    patience = replace(QUICK, tries=3, stall=0.1)
    with Scripted(drips) as server:
        small = Digest.of(DATA[:MIB])
        assert get(store, server.url, small, MIB, replace(config(), patience=patience)) == small
        assert len(server.requests) == 8


def test_the_rate_is_that_of_all_together(store: Store) -> None:
    with Scripted(ranged(DATA)) as server:
        began = time.monotonic()
        get(store, server.url, rules=replace(config(), max_rate=20 * MIB))
        assert 0.9 < time.monotonic() - began < 5


# ------------------------------------------------------------ over restarts

_CHILD = """
import asyncio, sys
from pathlib import Path
from powerd.digest import Digest
from powerd.sources.transport.location import Link
from powerd.sources.transport.outbound import Outbound, OutboundConfig
from powerd.sources.transport.transfer import download
from powerd.store.store import Store

async def main(root, url, digest, size, stop_at):
    store = Store(Path(root))
    store.open()
    def told(done, total):
        if done >= stop_at:
            print("there", flush=True)
    async with Outbound(OutboundConfig()) as outbound:
        await download(store, outbound, Link(outbound, url), digest=Digest.parse(digest), size=size, on_progress=told)

asyncio.run(main(*sys.argv[1:4], *map(int, sys.argv[4:])))
"""


def test_k01_a_pull_killed_at_60_percent_fetches_little_twice(tmp_path: Path) -> None:
    size = 192 * MIB
    data = random.Random(1).randbytes(MIB) * (size // MIB)
    digest = Digest.of(data)
    sent = 0

    def counted(request: Request) -> Reply:
        stop = request.stop or size

        def pieces() -> object:
            nonlocal sent
            for at in range(request.start, stop, 65_536):
                sent += min(65_536, stop - at)
                yield data[at : min(at + 65_536, stop)]

        said = {"Content-Range": f"bytes {request.start}-{stop - 1}/{size}"}
        return Reply("206 Partial Content", said, pieces(), stop - request.start)  # type: ignore[arg-type]

    root = tmp_path / "store"
    with Scripted(counted) as server:
        arguments = [str(root), server.url, str(digest), str(size), str(size * 6 // 10)]
        with subprocess.Popen([sys.executable, "-c", _CHILD, *arguments], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            child.send_signal(signal.SIGKILL)
        store = opened(root)
        assert list((root / "blobs").iterdir()) == []
        assert store.begun(digest) >= size // 2
        assert get(store, server.url, digest, size) == digest
    assert blobs(store).keys() == {digest}
    assert sent - size <= 32 * MIB
    store.close()


def test_k01_what_the_disk_lost_is_noticed(tmp_path: Path) -> None:
    store = opened(tmp_path / "one")
    with Scripted(ranged(DATA[: 12 * MIB])) as server, pytest.raises(SourceFailed):
        get(store, server.url)
    partial = store.root / ".powerd" / "ingest" / RIGHT.blob_name
    partial.mkdir(exist_ok=True)
    (partial / "data").write_bytes(bytes(len(DATA)))
    (partial / "have").write_bytes(b'{"size":%d,"have":[[0,%d]]}' % (len(DATA), len(DATA)))
    with Scripted(ranged(DATA)) as server:
        assert get(store, server.url) == RIGHT
    assert blobs(store) == {RIGHT: DATA}
    store.close()


@pytest.mark.parametrize(
    "have",
    [
        b"",
        b"{",
        b"[]",
        b'{"size":20971520,"have":[[5,1]]}',
        b'{"size":7,"have":[]}',
        b'{"size":20971520,"have":[[0,99999999]]}',
    ],
)
def test_k07_a_torn_record_begins_anew(tmp_path: Path, have: bytes) -> None:
    store = opened(tmp_path / "one")
    partial = store.root / ".powerd" / "ingest" / RIGHT.blob_name
    partial.mkdir()
    (partial / "data").write_bytes(b"x" * 5)
    (partial / "have").write_bytes(have)
    made = store.partial(RIGHT, len(DATA))
    assert (made.written, made.size) == (0, len(DATA))
    made.close()
    assert nothing(store)
    store.close()


def test_cancelled_and_gone_on_with(tmp_path: Path) -> None:
    async def stopped(store: Store, url: str) -> None:
        async with Outbound(config()) as outbound:
            where = Link(outbound, url)
            reached = asyncio.Event()
            task = asyncio.create_task(
                download(
                    store,
                    outbound,
                    where,
                    digest=RIGHT,
                    size=len(DATA),
                    on_progress=lambda done, _: reached.set() if done >= 4 * MIB else None,
                )
            )
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    def first_half(request: Request) -> Reply:
        reply = ranged(DATA)(request)
        reply.body = [DATA[request.start : request.start + 2 * MIB], 30.0]
        return reply

    store = opened(tmp_path / "one")
    with Scripted(first_half) as server:
        asyncio.run(stopped(store, server.url))
    with Scripted(ranged(DATA)) as server:
        assert get(store, server.url) == RIGHT
    assert sum((request.stop or len(DATA)) - request.start for request in server.requests) <= 16 * MIB
    store.close()


# ------------------------------------------------------------ shared


def slowly(request: Request) -> Reply:
    reply = ranged(DATA)(request)
    reply.silence = 0.3
    return reply


def test_r17_who_wants_the_same_shares_it_and_one_may_leave(store: Store) -> None:
    async def run(url: str) -> None:
        async with Outbound(config()) as outbound:

            def begin() -> asyncio.Task[Digest]:
                where = Link(outbound, url)
                return asyncio.create_task(download(store, outbound, where, digest=RIGHT, size=len(DATA)))

            first, second, third = begin(), begin(), begin()
            await asyncio.sleep(0.15)
            first.cancel()
            assert await second == RIGHT
            assert await third == RIGHT
            assert first.cancelled()

    with Scripted(slowly) as server:
        asyncio.run(run(server.url))
        assert starts(server) == PARTS


def test_r17_it_ends_with_the_last_who_waits_and_may_begin_again(store: Store) -> None:
    async def run(url: str) -> None:
        async with Outbound(config()) as outbound:

            def begin() -> asyncio.Task[Digest]:
                where = Link(outbound, url)
                return asyncio.create_task(download(store, outbound, where, digest=RIGHT, size=len(DATA)))

            first, second = begin(), begin()
            await asyncio.sleep(0.15)
            first.cancel()
            second.cancel()
            again = begin()
            with pytest.raises(asyncio.CancelledError):
                await second
            assert await again == RIGHT
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == 1

    with Scripted(slowly) as server:
        asyncio.run(run(server.url))


def test_r17_a_source_that_failed_is_not_held_against_another(store: Store) -> None:
    async def run(bad: str, good: str) -> None:
        async with Outbound(config()) as outbound:
            results = await asyncio.gather(
                *(download(store, outbound, Link(outbound, url), digest=RIGHT, size=len(DATA)) for url in (bad, good)),
                return_exceptions=True,
            )
        assert isinstance(results[0], SourceFailed)
        assert results[1] == RIGHT

    with Scripted(Reply("404 No", length=0)) as bad, Scripted(ranged(DATA)) as good:
        asyncio.run(run(bad.url, good.url))


# ------------------------------------------------------------ pieces


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20), st.integers(0, 60))
def test_ranges_are_a_set_of_positions(added: list[tuple[int, int]], size: int) -> None:
    ranges, truth = Ranges(), set[int]()
    for start, length in added:
        ranges.add(start, start + length)
        truth |= set(range(start, start + length))
    assert ranges.total == len(truth)
    assert {at for start, end in ranges.spans for at in range(start, end)} == truth
    assert {at for start, end in ranges.missing(size) for at in range(start, end)} == set(range(size)) - truth
    assert ranges.prefix == next(at for at in range(200) if at not in truth)
    assert all(before[1] < after[0] for before, after in zip(ranges.spans, ranges.spans[1:], strict=False))


@given(st.integers(0, 10**12))
def test_parts_cover_a_file_once(total: int) -> None:
    size = part_size(total)
    parts = cut([(0, total)], size) if total // size < 5000 else []
    assert sum((part.end or 0) - part.at for part in parts) in {total, 0}
    assert 8 * MIB <= size <= 64 * MIB


def test_what_a_part_asks_for() -> None:
    assert Part(0, None).headers(None, "") == {}
    assert Part(0, 10).headers(10, '"e"') == {}
    assert Part(0, 5).headers(10, "") == {"Range": "bytes=0-4"}
    assert Part(5, 10).headers(10, '"e"') == {"Range": "bytes=5-", "If-Range": '"e"'}
    assert Part(5, None).headers(None, "") == {"Range": "bytes=5-"}


def test_a_partial_holds_its_bytes_to_its_digest(store: Store) -> None:
    def made() -> Partial:
        partial = store.partial(RIGHT, len(DATA))
        partial.write(8 * MIB, DATA[8 * MIB :])
        assert not partial.hash_more(), "nothing is hashed before a gap"
        return partial

    for first, message in ((bytes(8 * MIB), "digest mismatch"), (DATA[: 7 * MIB], "size mismatch")):
        partial = made()
        partial.write(0, first)
        while partial.hash_more():
            pass
        with pytest.raises(Exception, match=message):
            partial.commit()
        assert nothing(store)
    partial = made()
    partial.write(0, DATA[: 8 * MIB])
    while partial.hash_more():
        pass
    assert partial.commit() == RIGHT
    path = store.blob(RIGHT)
    assert path is not None
    assert os.stat(path).st_mode & 0o777 == 0o440
