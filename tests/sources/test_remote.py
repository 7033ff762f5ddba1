"""The header of a file that is elsewhere, by ranges (demand 45): few bytes, whatever the server does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from powerd.errors import SourceFailed
from powerd.sources import remote
from powerd.sources.remote import read_remote_header
from powerd.sources.transport.location import Link
from powerd.sources.transport.outbound import Outbound, OutboundConfig, Patience
from powerd.store.gguf import Header, TooShort, parse_prefix, read_header
from tests.gguf_maker import tiny
from tests.sources.scripted import Reply, Request, Scripted, Step

DEMO = Path(__file__).parents[2] / "powerd" / "demo" / "tiny-chat-q8_0.gguf"
DATA = DEMO.read_bytes()
QUICK = OutboundConfig(patience=Patience(tries=3, pause=0.01, longest_pause=0.02, stall=5))


def read(server: Scripted, size: int | None = None) -> Header:
    async def run() -> Header:
        async with Outbound(QUICK) as outbound:
            return await read_remote_header(Link(outbound, server.url), outbound, size=size)

    return asyncio.run(run())


def part(data: bytes, sent: list[int], *, total: str = "") -> Callable[[Request], Reply]:
    """The very range that is asked for; `sent` counts the bytes."""

    def reply(request: Request) -> Reply:
        start, _, end = request.headers["range"].removeprefix("bytes=").partition("-")
        piece = data[int(start) : int(end) + 1]
        sent.append(len(piece))
        said = f"bytes {start}-{int(start) + len(piece) - 1}/{total or len(data)}"
        return Reply("206 Partial Content", {"Content-Range": said}, [piece], len(piece))

    return reply


def with_long_template(directory: Path, megabytes: int) -> bytes:
    """A model with a chat template so long that its header is `megabytes` and some."""
    return tiny(directory / "long.gguf", template="x" * (megabytes << 20)).read_bytes()


def test_demand_45_the_header_of_a_remote_file_is_that_of_the_local_one() -> None:
    sent: list[int] = []
    with Scripted(part(DATA, sent)) as server:
        header = read(server)
    assert header == read_header(DEMO)
    assert header.shape() == read_header(DEMO).shape()
    assert sum(sent) <= 1 << 20 < len(DATA)


def test_demand_45_a_long_header_takes_a_few_growing_ranges(tmp_path: Path) -> None:
    data = with_long_template(tmp_path, 5)
    sent: list[int] = []
    with Scripted(part(data, sent)) as server:
        header = read(server)
        ranges = [request.headers["range"] for request in server.requests]
    assert header.chat_template is not None and len(header.chat_template) == 5 << 20
    assert len(ranges) <= 5 and sum(sent) < remote.MAX_BYTES
    assert ranges[0] == "bytes=0-1048575" and ranges[1].startswith("bytes=1048576-")


def test_a_header_that_is_longer_than_we_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = with_long_template(tmp_path, 5)
    monkeypatch.setattr(remote, "MAX_BYTES", 3_000_000)
    sent: list[int] = []
    with (
        Scripted(part(data, sent)) as server,
        pytest.raises(SourceFailed, match="its header is longer"),
    ):
        read(server)
    assert sum(sent) == 3_000_000


def test_r05_a_server_that_ignores_ranges_is_left_as_soon_as_the_header_is_there() -> None:
    pieces: list[bytes | float] = [DATA[:600_000], DATA[600_000:1_200_000], 30.0, DATA[1_200_000:]]
    with Scripted(Reply(body=pieces, length=len(DATA))) as server:
        assert read(server) == read_header(DEMO)
    assert len(server.requests) == 1


def test_r05_a_server_that_ignores_ranges_later_starts_anew(tmp_path: Path) -> None:
    data = with_long_template(tmp_path, 2)
    sent: list[int] = []
    with Scripted(part(data, sent), Reply(body=[data], length=len(data))) as server:
        assert read(server).file_size == len(data)


@pytest.mark.parametrize("said", ["bytes 7-100/1000", "bytes 0-99999999/3140320", "nonsense", ""])
def test_r05_another_range_than_was_asked_for(said: str) -> None:
    reply = Reply("206 Partial Content", {"Content-Range": said}, [DATA[:100]], 100)
    with Scripted(reply) as server, pytest.raises(SourceFailed, match="gave up after 3 tries"):
        read(server)


def test_r02_a_short_answer_is_asked_for_again() -> None:
    sent: list[int] = []
    short = Reply("206 Partial Content", {"Content-Range": f"bytes 0-1048575/{len(DATA)}"}, [DATA[:1000]], 1048576)
    with Scripted(short, part(DATA, sent)) as server:
        assert read(server).file_size == len(DATA)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Reply("404 Not Found", length=0), "the server answered 404 Not Found"),
        (Reply("403 Forbidden", body=[b"<html>"], length=6), "the server answered 403 Forbidden"),
        (Reply("503 Service Unavailable", length=0), "503 Service Unavailable; gave up after 3 tries"),
        (Reply(body=[DATA]), "does not say how long the file is"),
        (Reply(body=[b"<!doctype html>"], length=15), "looks like HTML"),
        (Reply(body=[b"version https://git-lfs.github.com/spec/v1\n"], length=43), "looks like a Git LFS pointer"),
        (Reply(body=[DATA[:2000]], length=2000), "truncated GGUF"),
        (Reply(headers={"Content-Encoding": "gzip"}, body=[b"\x1f\x8b"], length=2), "unexpected Content-Encoding"),
    ],
)
def test_what_is_no_header(step: Step, words: str) -> None:
    with Scripted(step) as server, pytest.raises(SourceFailed) as caught:
        read(server)
    assert words in caught.value.message


def test_a_size_that_is_not_the_one_expected() -> None:
    sent: list[int] = []
    with Scripted(part(DATA, sent)) as server, pytest.raises(SourceFailed):
        read(server, size=len(DATA) + 1)
    with Scripted(part(DATA, sent, total="*")) as server:
        assert read(server, size=len(DATA)).file_size == len(DATA)


def test_a_prefix_says_how_much_more_it_takes() -> None:
    whole = read_header(DEMO)
    length = 0
    while True:
        try:
            assert parse_prefix(DATA[:length], len(DATA)) == whole
            break
        except TooShort as short:
            assert length < short.wanted <= len(DATA)
            length = short.wanted
    assert length < len(DATA)
