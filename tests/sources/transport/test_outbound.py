"""The rules of the way out: addresses, origins, proxies, bounds, and what the settings make of them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest

from powerd.errors import Forbidden, SourceFailed
from powerd.settings import Settings, load
from powerd.sources.configured import outbound_config
from powerd.sources.transport.broken import Interrupted
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.outbound import Document, Host, Outbound, OutboundConfig, Patience
from powerd.sources.transport.peers import check_address
from powerd.sources.transport.rate import RateLimit
from tests.sources import lab
from tests.sources.evil import redirect
from tests.sources.models import QUICK, config
from tests.sources.scripted import Reply, Scripted, whole


def ask(url: str, rules: OutboundConfig | None = None, *, trusted: bool = True, secret: str = "") -> Document:
    async def run() -> Document:
        async with Outbound(rules or config()) as outbound:
            credentials = {"Authorization": secret} if secret else {}
            return await outbound.document(url, trusted=trusted, credentials=credentials)

    return asyncio.run(run())


def test_a_document() -> None:
    with Scripted(redirect("/there"), whole(b"text")) as server:
        document = ask(server.url)
    assert (document.status, document.body) == (200, b"text")
    assert document.url.endswith("/there")


def test_r10_what_passes_is_tried_again_and_the_rest_is_an_answer() -> None:
    with Scripted(Reply("503 B", length=0), Reply("429 S", {"Retry-After": "0"}, length=0), whole(b"x")) as server:
        assert ask(server.url).body == b"x"
    with Scripted(Reply("404 N", length=0)) as server:
        assert ask(server.url).status == 404
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_r08_s18_credentials_stay_on_their_origin_and_do_not_come_back(status: str) -> None:
    with Scripted(whole(b"x")) as first:
        with Scripted(redirect(f"http://{first.host}/again", status)) as second:
            first.steps = (redirect(second.url, status), whole(b"x"))
            assert ask(first.url, secret="canary").status == 200
            assert "authorization" not in second.requests[0].headers
        assert [request.headers.get("authorization") for request in first.requests] == ["canary", None]


def test_s21_redirects_are_not_followed_by_themselves() -> None:
    async def run(url: str) -> int:
        async with Outbound(config()) as outbound, outbound.stream("GET", url) as response:
            return response.status_code

    with Scripted(redirect("/elsewhere")) as server:
        assert asyncio.run(run(server.url)) == 307
        assert len(server.requests) == 1


def test_s11_a_document_has_a_bound() -> None:
    with Scripted(whole(bytes((1 << 20) + 1))) as server, pytest.raises(SourceFailed, match=r"longer than 1\.0 MiB"):
        ask(server.url)


def test_offline() -> None:
    with Scripted(whole(b"")) as server, pytest.raises(Forbidden, match="offline: true"):
        ask(server.url, replace(config(), offline=True))
    assert server.requests == []


# ------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("address", "private", "fine"),
    [
        ("93.184.216.34", False, True),
        ("2606:2800:220:1::1", False, True),
        *((address, True, True) for address in ("127.0.0.1", "10.0.0.1", "::1", "fd00::1", "0.0.0.0", "192.168.1.1")),
        *(
            (address, False, False)
            for address in ("127.0.0.1", "10.0.0.1", "::1", "::", "fd00::1", "0.0.0.0", "100.64.0.1")
        ),
        *(
            (address, False, False)
            for address in ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1%eth0")
        ),
        *(
            (address, True, False)
            for address in (
                "169.254.169.254",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "2002:a9fe:a9fe::1",
                "fe80::1",
                "fd00:ec2::254",
                "100.100.100.200",
            )
        ),
    ],
)
def test_s19_addresses(address: str, private: bool, fine: bool) -> None:
    if fine:
        check_address(address, "x", private=private)
    else:
        with pytest.raises(Forbidden, match="host not allowed"):
            check_address(address, "x", private=private)


def test_s19_a_name_that_changes_its_address_is_caught_when_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look-up says a public address, the connection's own says the loopback."""

    async def public(_host: str, _port: int, _shown: str, *, private: bool) -> None:
        pass

    monkeypatch.setattr("powerd.sources.transport.outbound.check_host", public)
    with Scripted(whole(b"secret")) as server:
        with pytest.raises(Forbidden, match="private or loopback address"):
            ask(server.url, trusted=False)
        assert server.requests == []


def test_the_owners_proxy_may_be_anywhere_but_what_it_is_asked_for_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(whole(b"by proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        assert ask("http://weights.invalid/x", trusted=False).body == b"by proxy"
        with pytest.raises(Forbidden):
            ask("http://169.254.169.254/latest/meta-data")
        with pytest.raises(Forbidden):
            ask("http://127.0.0.1:9/x", trusted=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with Scripted(whole(b"direct")) as server:
            assert ask(server.url).body == b"direct"
    assert [request.target for request in proxy.requests] == ["http://weights.invalid/x"]


def test_connections_of_the_owner_are_not_lent_to_strangers() -> None:
    async def run(url: str) -> None:
        async with Outbound(config()) as outbound:
            assert (await outbound.document(url)).body == b"x"
            with pytest.raises(Forbidden):
                await outbound.document(url, trusted=False)

    with Scripted(whole(b"x")) as server:
        asyncio.run(run(server.url))


# ------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lab.certificates(tmp_path_factory.mktemp("tls"))


def tls(authority: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.parent / "srv.crt", authority.parent / "srv.key")
    return context


def test_r14_authorities_for_all_and_for_one_host(authority: Path, tmp_path: Path) -> None:
    with Scripted(whole(b"x"), tls=tls(authority)) as server:
        with pytest.raises(SourceFailed, match="certificate is not trusted"):
            ask(server.url)
        assert ask(server.url, replace(config(), ca=authority)).body == b"x"
        assert ask(server.url, config({server.host: Host(ca=authority)})).body == b"x"
        wrong = server.url.replace("127.0.0.1", "localhost.localdomain")
        with pytest.raises(SourceFailed):
            ask(wrong, replace(config(), ca=authority))
        (tmp_path / "empty").touch()
        with pytest.raises(SourceFailed, match="CA file"):
            ask(server.url, replace(config(), ca=tmp_path / "empty"))


def test_r14_a_host_that_never_answers() -> None:
    """A listener whose queue is full: the connection is never made."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        rules = config(patience=replace(QUICK, connect=0.2, tries=2))
        with pytest.raises(SourceFailed, match=r"no connection within 0\.2 s; gave up after 2 tries"):
            ask(f"http://127.0.0.1:{port}/", rules)
        for each in waiting:
            each.close()


# ------------------------------------------------------------ patience and rate


def test_waits_double_with_jitter_up_to_a_limit() -> None:
    patience = Patience()
    for failures, seconds in ((1, 1.0), (2, 2.0), (3, 4.0), (5, 16.0), (9, 30.0)):
        waits = {patience.wait(failures) for _ in range(50)}
        assert len(waits) > 1
        assert all(0.5 * seconds <= wait <= 1.5 * seconds for wait in waits)


def test_patience_ends_with_the_last_reason() -> None:
    async def fails() -> None:
        raise Interrupted("the sky fell")

    async def run() -> None:
        async with Outbound(config()) as outbound:
            await outbound.patiently("there", fails)

    with pytest.raises(SourceFailed, match=r"^there: the sky fell; gave up after 6 tries$"):
        asyncio.run(run())


def test_the_rate_is_shared() -> None:
    async def run() -> float:
        rate = RateLimit(1000)
        began = time.monotonic()
        await asyncio.gather(*(rate.take(50) for _ in range(4)))
        return time.monotonic() - began

    assert 0.19 < asyncio.run(run()) < 1.0


# ------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://A.example", "https://a.example:443/x", True),
        ("http://a:80", "http://a", True),
        ("http://a", "https://a", False),
        ("https://a", "https://a:444", False),
        ("https://[::1]:5", "https://[::1]:5/x", True),
    ],
)
def test_origins(one: str, other: str, same: bool) -> None:
    assert (Origin.of(one) == Origin.of(other)) is same
    assert Origin.of(str(Origin.of(one))) == Origin.of(one)


def test_what_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    (tmp_path / "ca").touch()
    file = {
        "registries": {
            "Lab:5000": {"insecure": True, "username": "u", "password_file": str(tmp_path / "password")},
            "r.example": {
                "mirrors": ["https://m.example/x"],
                "token_hosts": ["Auth.example"],
                "ca": str(tmp_path / "ca"),
            },
            "*": {"allow": False},
        },
        "pull": {"rate": "10MB", "parts": 4, "connections": 9, "stall": "5s", "tries": 2, "key": "~/k"},
    }
    made = outbound_config(load({}, {}, file), tmp_path)
    assert made.hosts["lab:5000"] == Host(insecure=True, username="u", password="s3cret")
    assert made.hosts["r.example"] == Host(
        mirrors=("https://m.example/x",), token_hosts=("auth.example",), ca=tmp_path / "ca"
    )
    assert not made.hosts["*"].allow
    assert (made.max_rate, made.parts, made.max_connections) == (10_000_000, 4, 9)
    assert made.patience == Patience(tries=2, stall=5.0)
    assert made.key == Path.home() / "k"
    assert "s3cret" not in repr(made)
    assert outbound_config(Settings(), tmp_path).key == tmp_path / "id_ed25519"


def test_settings_that_name_files_which_are_none(tmp_path: Path) -> None:
    (tmp_path / "two").write_text("a\nb")
    for name, message in (("absent", "No such file"), ("two", "does not hold one line")):
        file = {"registries": {"h": {"token_file": str(tmp_path / name)}}}
        with pytest.raises(SourceFailed, match=rf"^registries\.h\.token_file: .*{message}"):
            outbound_config(load({}, {}, file), tmp_path)
    with pytest.raises(SourceFailed, match=r"^pull\.ca: there is no file"):
        outbound_config(load({}, {}, {"pull": {"ca": "/nowhere"}}), tmp_path)


@pytest.mark.parametrize(
    "registries",
    [
        {"a b": {}},
        {"http://x": {}},
        {"x/y": {}},
        {"x:y": {}},
        {"A": {}, "a": {}},
        {"x": {"mirrors": ["ftp://x"]}},
        {"x": {"no": 1}},
    ],
)
def test_settings_that_are_none(registries: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"registries"):
        load({}, {}, {"registries": registries})
