"""Fetching over HTTP from servers that misbehave (reliability section 2.4): right bytes, or a clear reason."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import Forbidden, NoSpace, SourceFailed
from powerd.sources.fetch import fetch
from powerd.sources.source import Source, parse
from powerd.sources.transport.outbound import Outbound, OutboundConfig, Patience
from powerd.store.partial import Partial
from powerd.store.store import Store
from tests.sources.scripted import Reply, Request, Scripted, cut, ranged, whole
from tests.store.test_gguf import DEMO

DATA = DEMO.read_bytes()
RIGHT = Digest.of(DATA)
QUICK = Patience(connect=2.0, stall=0.4, pause=0.01, longest_pause=0.05)


async def bring(
    store: Store,
    url: str,
    expect: Digest | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    patience: Patience = QUICK,
) -> Digest:
    async with Outbound(OutboundConfig(patience=patience)) as outbound:
        return await fetch(parse(url, Path("/")), store, expect=expect, on_progress=on_progress, outbound=outbound)


def get(store: Store, url: str, expect: Digest | None = None, heard: list[tuple[int, int]] | None = None) -> Digest:
    def progress(done: int, total: int) -> None:
        if heard is not None:
            heard.append((done, total))

    digest = asyncio.run(bring(store, url, expect, progress))
    path = store.blob(digest)
    assert path is not None
    assert Digest.of(path.read_bytes()) == digest
    return digest


def fail(store: Store, url: str, message: str, expect: Digest | None = None) -> str:
    with pytest.raises((SourceFailed, Forbidden), match=message) as caught:
        asyncio.run(bring(store, url, expect))
    assert nothing(store)
    return caught.value.message


def nothing(store: Store) -> bool:
    return [*(store.root / ".powerd" / "ingest").iterdir(), *(store.root / "blobs").iterdir()] == []


# ------------------------------------------------------------ what works


def test_a_download_with_its_progress(store: Store) -> None:
    heard: list[tuple[int, int]] = []
    with Scripted(whole(DATA)) as server:
        assert get(store, server.url, RIGHT, heard) == RIGHT
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert heard[0] == (0, len(DATA))
    assert heard[-1] == (len(DATA), len(DATA))
    assert heard == sorted(heard)
    assert list((store.root / ".powerd" / "ingest").iterdir()) == []


def test_a_body_of_unknown_length(store: Store) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (DATA[:1000], DATA[1000:])) + b"0\r\n\r\n"
    with Scripted(Reply(body=[DATA])) as server:
        assert get(store, server.url) == RIGHT
    with Scripted(Reply(headers={"Transfer-Encoding": "chunked"}, body=[chunks])) as server:
        assert get(store, server.url) == RIGHT


def test_redirects_are_followed_relative_ones_too(store: Store) -> None:
    with Scripted(
        Reply("302 Found", {"Location": "/elsewhere?signature=1"}, length=0),
        Reply("307 Temporary Redirect", {"Location": "third"}, length=0),
        whole(DATA),
    ) as server:
        assert get(store, server.url) == RIGHT
    assert [request.target for request in server.requests] == ["/model.gguf", "/elsewhere?signature=1", "/third"]


def test_what_is_here_already_opens_no_connection(store: Store) -> None:
    digest, _ = store.put(DATA)
    assert get(store, "http://127.0.0.1:9/model.gguf", digest) == digest


def test_a_proxy_of_the_environment_is_used(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(whole(DATA)) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/model.gguf"))
        assert get(store, "http://weights.invalid/model.gguf") == RIGHT
    assert server.requests[0].target == "http://weights.invalid/model.gguf"


# ------------------------------------------------------------ broken connections


def test_r02_a_short_body_is_resumed_where_it_ended(store: Store) -> None:
    with Scripted(cut(DATA, 2_000_000, ETag='"v1"'), ranged(DATA)) as server:
        assert get(store, server.url, RIGHT) == RIGHT
    assert server.requests[1].headers["range"] == "bytes=2000000-"
    assert server.requests[1].headers["if-range"] == '"v1"'


def test_r02_a_body_that_is_always_short(store: Store) -> None:
    with Scripted(lambda request: cut(DATA, 1000) if not request.start else Reply("500 No", length=0)) as server:
        fail(store, server.url, "500 Internal Server Error; gave up after 6 tries")
    assert len(server.requests) == 6


def test_progress_earns_more_tries(store: Store) -> None:
    def half_a_meg(request: Request) -> Reply:
        start = request.start
        reply = ranged(DATA)(request)
        reply.body = [DATA[start : start + 1_500_000]]
        return reply

    patience = Patience(tries=2, stall=1.0, pause=0.01)
    with Scripted(half_a_meg) as server:
        digest = asyncio.run(bring(store, server.url, patience=patience))
    assert digest == RIGHT
    assert len(server.requests) == 3


def test_r11_a_stall_is_cut_and_resumed(store: Store) -> None:
    stalled = Reply(body=[DATA[:1_500_000], 30.0], length=len(DATA))
    with Scripted(stalled, Reply(silence=30.0), ranged(DATA)) as server:
        began = time.monotonic()
        assert get(store, server.url) == RIGHT
        assert time.monotonic() - began < 5
    assert server.requests[2].start == 1_500_000


def test_r11_a_server_that_never_says_anything(store: Store) -> None:
    with Scripted(Reply(body=[30.0], length=10)) as server:
        fail(store, server.url, r"no bytes for 0.4 s; gave up after 6 tries")


def test_a_refused_connection(store: Store) -> None:
    with Scripted() as server:
        url = server.url
    fail(store, url, r"connection attempts failed|refused.*gave up after 6 tries")


def test_r14_a_host_that_does_not_exist(store: Store) -> None:
    fail(store, "http://no-such-host.invalid/model.gguf", r"there is no such host|gave up after 6 tries")


# ------------------------------------------------------------ resuming


def test_r05_a_server_that_ignores_ranges_is_read_from_the_start(store: Store) -> None:
    with Scripted(cut(DATA, 2_000_000), whole(DATA)) as server:
        assert get(store, server.url) == RIGHT
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "said",
    ["bytes 0-{last}/{all}", "bytes 5-{last}/{all}", "bytes {start}-{last}/7", "bytes */{all}", "nonsense", ""],
)
def test_r05_a_wrong_range_is_never_appended(store: Store, said: str) -> None:
    def wrong(request: Request) -> Reply:
        text = said.format(start=request.start, last=len(DATA) - 1, all=len(DATA))
        return Reply("206 Partial Content", {"Content-Range": text} if text else {}, [DATA[request.start :]])

    with Scripted(cut(DATA, 2_000_000), wrong, whole(DATA)) as server:
        assert get(store, server.url) == RIGHT
    assert "range" not in server.requests[2].headers


def test_r05_a_server_that_never_resumes_rightly_is_given_up(store: Store) -> None:
    def wrong(request: Request) -> Reply:
        if not request.start:
            return cut(DATA, 2_000_000)
        return Reply("206 Partial Content", {"Content-Range": "bytes 0-9/10"}, [b"x"])

    with Scripted(wrong) as server:
        fail(store, server.url, "gave up after 6 tries")
    assert len(server.requests) < 20


def test_r05_416_starts_over(store: Store) -> None:
    with Scripted(cut(DATA, 2_000_000), Reply("416 Range Not Satisfiable", length=0), whole(DATA)) as server:
        assert get(store, server.url) == RIGHT
    assert "range" not in server.requests[2].headers


def test_a_file_that_was_replaced_meanwhile_is_read_from_the_start(store: Store) -> None:
    other = DATA[:-1] + b"\x01"
    with Scripted(cut(other, 2_000_000, ETag='"v1"'), whole(DATA, ETag='"v2"')) as server:
        assert get(store, server.url) == RIGHT


def test_r03_a_body_longer_than_declared(store: Store) -> None:
    def longer(request: Request) -> Reply:
        said = {"Content-Range": f"bytes {request.start}-{len(DATA) - 1}/{len(DATA)}"}
        return Reply("206 Partial Content", said, [DATA[request.start :] + b"more"])

    with Scripted(cut(DATA, 2_000_000), longer) as server:
        fail(store, server.url, f"longer than the declared {len(DATA)} bytes")


# ------------------------------------------------------------ wrong bytes


def test_r01_wrong_bytes_are_fetched_once_more_and_then_refused(store: Store) -> None:
    wrong = DATA[:-1] + b"\x01"
    with Scripted(whole(wrong)) as server:
        fail(store, server.url, f'digest mismatch, expected "{RIGHT}", got "{Digest.of(wrong)}"', RIGHT)
    assert len(server.requests) == 2
    with Scripted(whole(wrong), whole(DATA)) as server:
        assert get(store, server.url, RIGHT) == RIGHT


def _endless_page() -> Iterator[bytes | float]:
    yield b"<!DOCTYPE html><html>" + b" " * 65_536
    while True:
        yield b"<p>please wait</p>" * 1000
        yield 0.01


def test_g19_a_page_instead_of_weights_fails_at_once(store: Store) -> None:
    with Scripted(Reply(body=_endless_page())) as server:
        began = time.monotonic()
        fail(store, server.url, r"not a GGUF file \(looks like HTML\)")
        assert time.monotonic() - began < 2
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (b'{"error":"gated"}', "JSON"),
        (b"PK\x03\x04" + bytes(5000), "zip"),
        (b"", "an empty file"),
    ],
)
def test_g19_r19_other_answers_are_named(store: Store, body: bytes, name: str) -> None:
    with Scripted(whole(body)) as server:
        fail(store, server.url, rf"not a GGUF file \(looks like .*{name}")


def test_a_file_that_was_cut_at_its_source(store: Store) -> None:
    with Scripted(whole(DATA[:-4096])) as server:
        fail(store, server.url, "ends beyond file")


def test_r13_s12_an_encoding_nobody_asked_for(store: Store) -> None:
    for encoding in ("gzip", "br", "identity, gzip"):
        with Scripted(whole(DATA, **{"Content-Encoding": encoding})) as server:
            fail(store, server.url, "unexpected Content-Encoding")


# ------------------------------------------------------------ statuses


@pytest.mark.parametrize("status", ["400 Bad", "401 No", "403 No", "404 Gone", "409 X", "410 Y", "451 Z", "204 Empty"])
def test_r10_refusals_are_not_retried(store: Store, status: str) -> None:
    with Scripted(Reply(status, length=None if status.startswith("204") else 0)) as server:
        message = fail(store, server.url + "?token=secret", f"the server answered {status[:3]} ")
    assert len(server.requests) == 1
    assert "secret" not in message


def test_r10_server_errors_are_retried(store: Store) -> None:
    with Scripted(Reply("503 B", length=0)) as server:
        fail(store, server.url, "the server answered 503 Service Unavailable; gave up after 6 tries")
    assert len(server.requests) == 6
    with Scripted(Reply("500 A", length=0), Reply("503 B", length=0), Reply("408 C", length=0), whole(DATA)) as server:
        assert get(store, server.url) == RIGHT


@pytest.mark.parametrize("said", ["0", "-1", "garbage", "Thu, 01 Jan 1970 00:00:00 GMT", ""])
def test_r10_429_waits_as_told(store: Store, said: str) -> None:
    with Scripted(Reply("429 Slow", {"Retry-After": said}, length=0), whole(DATA)) as server:
        assert get(store, server.url) == RIGHT


# ------------------------------------------------------------ redirects and addresses


def test_r07_a_loop_of_redirects(store: Store) -> None:
    with Scripted(Reply("302 Found", {"Location": "/model.gguf"}, length=0)) as server:
        fail(store, server.url, "more than 10 redirects")
    assert len(server.requests) == 11


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "a redirect without a Location"),
        ({"Location": "file:///etc/passwd"}, "only http and https"),
        ({"Location": "ftp://127.0.0.1/x"}, "only http and https"),
        ({"Location": "http://user:secret@127.0.0.1/x"}, "user name or password"),
        ({"Location": "http://[broken/"}, "not fetched"),
        ({"Location": "http://169.254.169.254/latest/meta-data"}, "link-local or metadata address"),
    ],
)
def test_r07_s19_redirects_that_lead_astray(store: Store, headers: dict[str, str], message: str) -> None:
    with Scripted(Reply("302 Found", headers, length=0)) as server:
        assert "secret" not in fail(store, server.url, message)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "2852039166", "0xa9fea9fe", "[fe80::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"]
)
def test_s19_metadata_addresses_are_never_asked(store: Store, host: str) -> None:
    began = time.monotonic()
    fail(store, f"http://{host}/model.gguf", "link-local or metadata address")
    assert time.monotonic() - began < 1


def test_s19_the_connected_peer_is_checked_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolved_elsewhere(_host: str, _port: int, _shown: str, *, private: bool) -> None:
        pass

    def refuse(address: str, shown: str, *, private: bool) -> None:
        raise Forbidden(f"{shown}: {address} refused")

    monkeypatch.setattr("powerd.sources.transport.outbound.check_host", resolved_elsewhere)
    monkeypatch.setattr("powerd.sources.transport.outbound.check_address", refuse)
    with Scripted(whole(DATA)) as server:
        fail(store, server.url, r"127\.0\.0\.1 refused")
        assert server.requests == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    where = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", where / "key", "-out", where / "cert"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(where / "cert", where / "key")
    return where / "cert", context


def test_r14_a_certificate_nobody_vouches_for(store: Store, certificate: tuple[Path, ssl.SSLContext]) -> None:
    with Scripted(whole(DATA), tls=certificate[1]) as server:
        fail(store, server.url, "the server's certificate is not trusted: self.signed certificate")
        assert server.requests == []


def test_https_and_no_step_down_from_it(
    store: Store, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Scripted(whole(DATA)) as plain:
        down = Reply("302 Found", {"Location": plain.url}, length=0)
        with Scripted(down, whole(DATA), tls=certificate[1]) as server:
            fail(store, server.url, "a redirect from https to http is not followed")
            assert plain.requests == []
            assert get(store, server.url) == RIGHT


# ------------------------------------------------------------ room and cancelling


def test_d02_what_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    store = Store(tmp_path / "small", quota=3_000_000)
    store.open()
    with Scripted(Reply(body=[30.0], length=50_000_000)) as server, pytest.raises(NoSpace, match=r"quota of 2.9 MiB"):
        asyncio.run(bring(store, server.url))
    assert nothing(store)
    store.close()


def test_an_endless_body_does_not_fill_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("powerd.sources.transport.transfer.MARGIN", 4 << 20)
    monkeypatch.setattr(store, "free", lambda: 5 << 20)

    def endless() -> Iterator[bytes]:
        yield DATA
        while True:
            yield bytes(1 << 20)

    with Scripted(Reply(body=endless())) as server, pytest.raises(NoSpace, match="does not say how long it is"):
        asyncio.run(bring(store, server.url))
    assert nothing(store)


@pytest.mark.parametrize("sent", [0, 100, 2_500_000])
def test_r11_cancelling_ends_it_within_a_second_and_leaves_nothing(store: Store, sent: int) -> None:
    async def run(url: str) -> None:
        task = asyncio.create_task(fetch(Source("url", url, url=url), store))
        while not server.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1
        assert len(asyncio.all_tasks()) == 1

    with Scripted(Reply(body=[DATA[:sent], 30.0], length=len(DATA))) as server:
        asyncio.run(run(server.url))
    assert nothing(store)


def test_cancelling_while_the_ingest_is_made_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, begun = store.partial, threading.Event()

    def slow(digest: Digest | None, size: int | None) -> Partial:
        begun.set()
        time.sleep(0.2)
        return real(digest, size)

    async def run(url: str) -> None:
        task = asyncio.create_task(fetch(Source("url", url, url=url), store))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(store, "partial", slow)
    with Scripted(whole(DATA)) as server:
        asyncio.run(run(server.url))
    assert nothing(store)


def test_the_loop_stays_free_while_bytes_come_in(store: Store) -> None:
    gaps: list[float] = []
    others = threading.active_count()

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            gaps.append(time.monotonic() - before)

    async def run(url: str) -> None:
        ticking = asyncio.create_task(tick())
        await bring(store, url)
        ticking.cancel()

    with Scripted(whole(DATA)) as server:
        asyncio.run(run(server.url))
    gaps.sort()
    assert gaps[len(gaps) // 2] < 0.05
    assert threading.active_count() - others < 40
