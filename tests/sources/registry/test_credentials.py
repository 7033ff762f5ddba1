"""Who is told what: tokens signed with our key, passwords, and that nobody else ever sees them (reliability 1B)."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from powerd.digest import Digest
from powerd.errors import SourceFailed
from powerd.sources.registry.challenge import Challenge, parse_challenges, token_url, with_query
from powerd.sources.registry.signing import SigningKey
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.outbound import Host
from powerd.store.store import Store
from tests.sources.evil import CONFIG, Evil, bearer, layer, manifest
from tests.sources.models import SMALL, blobs, config, pull
from tests.sources.registry.test_pull import refused
from tests.sources.scripted import Reply, Request, Scripted, cut, whole

NO_BODY = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="


def tokens(*issued: str) -> Reply:
    body = json.dumps({"token": issued[0]}).encode() if issued else b"{}"
    return whole(body)


class Guarded(Evil):
    """A registry that wants the token `good`, from a realm of its own."""

    def __init__(self, realm: str = "", *, token: str = "good") -> None:
        super().__init__(self._guard)
        self.realm = realm or f"http://{self.host}/token"
        self.token = token
        self.issue: Callable[[Request], Reply] = lambda _request: tokens(self.token)

    def _guard(self, request: Request) -> Reply | None:
        if request.path == "/token":
            return self.issue(request)
        return None if request.headers.get("authorization") == f"Bearer {self.token}" else bearer(self.realm)


# ------------------------------------------------------------ Ollama's signed tokens


def test_the_token_request_is_signed_with_our_key(store: Store, tmp_path: Path) -> None:
    key = tmp_path / "keys" / "id_ed25519"

    def issue(request: Request) -> Reply:
        signed = request.headers.get("authorization", "")
        if not signed:
            return Reply("401 No", length=0)
        public, _, signature = signed.partition(":")
        known = load_ssh_public_key(b"ssh-ed25519 " + public.encode())
        url = f"http://{server.host}{request.target}"
        assert isinstance(known, Ed25519PublicKey)
        known.verify(base64.b64decode(signature), f"GET,{url},{NO_BODY}".encode())
        return tokens("good")

    with Guarded() as server:
        server.issue = issue
        pull(store, server.name, replace(config(), key=key))
        asked = [request for request in server.requests if request.path == "/token"]
    assert len(asked) == 2, "anonymously first, for this is not one of Ollama's own hosts"
    query = parse_qsl(urlsplit(asked[1].target).query)
    assert [name for name, _ in query] == ["nonce", "scope", "service", "ts"]
    assert len(dict(query)["nonce"]) == 22
    assert dict(query)["scope"] == "repository:library/x:pull"
    assert (tmp_path / "keys" / "id_ed25519.pub").read_text().startswith("ssh-ed25519 ")
    assert os.stat(key).st_mode & 0o777 == 0o600


def test_a_key_once_made_is_kept_and_is_what_ssh_keygen_makes(tmp_path: Path) -> None:
    path = tmp_path / "id_ed25519"
    made = SigningKey.load(path)
    assert SigningKey.load(path).public_line == made.public_line
    assert path.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("nonsense")
    with pytest.raises(SourceFailed, match="not an unencrypted OpenSSH private key"):
        SigningKey.load(path)
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    path.write_bytes(rsa)
    with pytest.raises(SourceFailed, match="not an ed25519 key"):
        SigningKey.load(path)
    with pytest.raises(SourceFailed, match="cannot be made"):
        SigningKey.load(Path("/proc/nowhere/key"))


def test_an_anonymous_token_is_enough_where_it_is_given(store: Store, tmp_path: Path) -> None:
    with Guarded() as server:
        pull(store, server.name, replace(config(), key=tmp_path / "key"))
        assert [request.path for request in server.requests].count("/token") == 1
    assert not (tmp_path / "key").exists()


# ------------------------------------------------------------ passwords and tokens of the owner


def test_a_password_goes_to_the_token_server_it_was_given_for(store: Store) -> None:
    with Scripted(tokens("good")) as elsewhere, Guarded(f"http://{elsewhere.host}/token") as server:
        host = Host(insecure=True, username="u", password="canary", token_hosts=(elsewhere.host,))
        pull(store, server.name, config({server.host: host}))
        told = elsewhere.requests[0].headers["authorization"]
    assert base64.b64decode(told.removeprefix("Basic ")) == b"u:canary"


def test_basic_authentication_only_when_asked(store: Store) -> None:
    def guard(request: Request) -> Reply | None:
        if "authorization" in request.headers:
            return None
        return Reply("401 No", {"WWW-Authenticate": 'Basic realm="lab"'}, length=0)

    with Evil(guard) as server:
        pull(store, server.name, config({server.host: Host(insecure=True, username="u", password="p")}))
        assert "authorization" not in server.requests[0].headers
        assert sum("authorization" not in request.headers for request in server.requests) == 1


# ------------------------------------------------------------ S15: the realm


@pytest.mark.parametrize("where", ["other", "other with our password", "other with our key"])
def test_s15_a_realm_elsewhere_gets_nothing(store: Store, tmp_path: Path, where: str) -> None:
    with Scripted(tokens("good")) as attacker, Guarded(f"http://{attacker.host}/token") as server:
        host = Host(insecure=True, username="u", password="canary") if "password" in where else Host(insecure=True)
        rules = replace(config({server.host: host}), key=tmp_path / "key" if "key" in where else None)
        refused(
            store,
            server.name,
            f'realm host "{attacker.host}" does not match original host "{server.host}"',
            rules=rules,
        )
        assert attacker.requests == []


def test_s15_a_stranger_with_the_same_name_and_another_port(store: Store) -> None:
    with Scripted(tokens("good")) as attacker, Guarded() as server:
        for realm in (
            f"http://{attacker.host}/token",
            f"https://{server.host}/token",
            f"http://u:p@{server.host}/token",
            "file:///etc/passwd",
            "http://169.254.169.254/token",
            "//x/token",
            "",
            "http://[::1",
            f"http://{server.host}\\@{attacker.host}/token",
            f"http://{server.host}#@{attacker.host}/token".replace("#", "%23"),
        ):
            server.realm = realm
            refused(store, server.name, "realm")
        assert attacker.requests == []
        assert {request.path for request in server.requests} == {"/v2/library/x/manifests/1"}


@pytest.mark.parametrize(
    ("registry", "realm", "hosts", "fine"),
    [
        ("https://a.example", "https://a.example/token", (), True),
        ("https://a.example", "https://A.example:443/token", (), True),
        ("https://a.example:443", "https://a.example/token", (), True),
        ("https://a.example", "http://a.example/token", (), False),
        ("https://a.example", "https://a.example:8443/token", (), False),
        ("https://a.example", "https://b.example/token", (), False),
        ("https://a.example", "https://b.example/token", ("b.example",), True),
        ("https://a.example", "https://b.example:1/token", ("b.example",), False),
        ("https://a.example", "http://b.example/token", ("b.example",), False),
        ("https://a.example", "https://a.example.evil/token", (), False),
        ("https://registry-1.docker.io", "https://auth.docker.io/token", (), True),
        ("https://auth.docker.io", "https://registry-1.docker.io/token", (), False),
    ],
)
def test_s15_where_a_token_may_come_from(registry: str, realm: str, hosts: tuple[str, ...], fine: bool) -> None:
    challenge = Challenge("bearer", {"realm": realm})
    if fine:
        assert token_url(challenge, Origin.of(registry), hosts) == realm
    else:
        with pytest.raises(SourceFailed, match="realm"):
            token_url(challenge, Origin.of(registry), hosts)


# ------------------------------------------------------------ R09: 401


def test_r09_a_401_for_ever_is_answered_once(store: Store) -> None:
    with Guarded() as server:
        server.issue = lambda _: tokens("bad")
        refused(store, server.name, "unauthorized: access denied")
        assert [request.path for request in server.requests].count("/token") == 1
        assert len(server.requests) == 3


@pytest.mark.parametrize("challenge", [None, "", "Negotiate", 'Basic realm="x"', ",,,", 'Bearer realm="', "Bearer"])
def test_r09_a_401_nobody_can_answer(store: Store, challenge: str | None) -> None:
    headers = {} if challenge is None else {"WWW-Authenticate": challenge}
    with Evil(lambda _: Reply("401 No", headers, length=0)) as server:
        refused(store, server.name, "unauthorized: access denied|realm")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply("401 No", length=0), "unauthorized: access denied"),
        (Reply("403 No", length=0), "unauthorized: access denied"),
        (Reply("404 No", length=0), "token server .*: the server answered 404"),
        (Reply("500 No", length=0), "500 Internal Server Error; gave up after 6 tries"),
        (Reply("302 Found", {"Location": "http://127.0.0.1:9/"}, length=0), "the server answered 302"),
        (whole(b"<html>login</html>"), "its answer is not JSON"),
        (whole(b"[]"), "holds no token"),
        (whole(b"{}"), "holds no token"),
        (whole(b'{"token": 7}'), "holds no token"),
        (whole(b'{"token": "a\\nb"}'), "holds no token"),
        (whole(b'{"token": ""}'), "holds no token"),
        (whole(b"[" * 100_000), "not JSON|holds no token"),
    ],
)
def test_r09_token_servers_that_fail(store: Store, reply: Reply, message: str) -> None:
    with Guarded() as server:
        server.issue = lambda _: reply
        refused(store, server.name, message)


def test_r09_a_token_that_expires_in_the_middle_of_a_blob_is_renewed(store: Store) -> None:
    data, after = SMALL + bytes(3 << 20), 2 << 20
    digest = str(Digest.of(data))

    def expiring(request: Request) -> Reply | None:
        if request.path == "/token":
            server.token += "+"
            return tokens(server.token)
        if request.headers.get("authorization") != f"Bearer {server.token}":
            return bearer(server.realm)
        if digest in request.target and not request.start:
            server.token = "expired"
            return cut(data, after)
        return None

    with Guarded() as server:
        server.handle = expiring
        server.says, server.blobs = manifest(layer(data)), {digest: data, str(Digest.of(CONFIG)): CONFIG}
        pull(store, server.name)
        asked = [(request.start, request.headers["authorization"]) for request in server.blob_requests()]
    assert asked[:3] == [(0, "Bearer good+"), (after, "Bearer good+"), (after, "Bearer expired+")]
    assert data in blobs(store).values()


# ------------------------------------------------------------ the challenge


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (['Bearer realm="https://a/t",scope="x y"'], [("bearer", {"realm": "https://a/t", "scope": "x y"})]),
        (["Basic realm=lab"], [("basic", {"realm": "lab"})]),
        (['Basic realm="a, b=\\"c\\""', "Bearer"], [("basic", {"realm": 'a, b="c"'}), ("bearer", {})]),
        (
            ['Negotiate, Basic realm="x" , Bearer Realm = "y"'],
            [("negotiate", {}), ("basic", {"realm": "x"}), ("bearer", {"realm": "y"})],
        ),
        (["", "\x00", 'realm="x"'], []),
        (["Bearer " + "a" * 9000], []),
    ],
)
def test_challenges(headers: list[str], found: list[tuple[str, dict[str, str]]]) -> None:
    assert [(each.scheme, dict(each.parameters)) for each in parse_challenges(headers)] == found


@given(st.lists(st.text(max_size=200), max_size=3))
def test_any_header_is_read(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        assert challenge.scheme == challenge.scheme.lower()


def test_queries_are_sorted_and_joined_to_what_is_there() -> None:
    assert with_query("https://a/t?x=1#f", [("scope", "b c"), ("a", "ä")]) == "https://a/t?x=1&a=%C3%A4&scope=b+c"
