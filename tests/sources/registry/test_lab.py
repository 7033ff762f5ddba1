"""Against the real docker-registry, open, with basic and with token auth, and nginx in front of it."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import PowerError, SourceFailed
from powerd.names import Name
from powerd.sources.transport.outbound import Host
from powerd.store.manifest import StoredModel
from powerd.store.store import Store
from tests.sources import lab
from tests.sources.chaos import Chaos, Fault, Kind
from tests.sources.models import QUICK, SMALL, Statuses, blobs, config, opened, pull, push, stored

pytestmark = pytest.mark.lab

MIB = 1 << 20
LARGE = SMALL + random.Random(3).randbytes(24 * MIB)


@dataclass
class Lab:
    open: str
    basic: str
    token: str
    tokens: lab.TokenServer
    tls: str
    redirecting: str
    deaf: str  # ignores Range
    slow: str
    silent: str
    ca: Path
    nginx: Path
    seller: Store
    model: StoredModel


def servers(open_host: str, ports: dict[str, int], ca: Path, other: int) -> str:
    """nginx in front of the open registry, in its many ways."""
    proxy = f"proxy_pass http://{open_host}; proxy_set_header Host $http_host; proxy_request_buffering off;"
    cdn_url = f"http://127.0.0.1:{other}"
    plain = {
        "redirecting": f"location ~ /blobs/ {{ return 307 {cdn_url}$request_uri; }} location / {{ {proxy} }}",
        "deaf": f'location / {{ {proxy} proxy_set_header Range ""; }}',
        "slow": f"location / {{ {proxy} limit_rate 8m; }}",
        "silent": "location / { return 444; }",
    }
    tls = (
        f"server {{ listen 127.0.0.1:{ports['tls']} ssl; ssl_certificate {ca.parent}/srv.crt; "
        f"ssl_certificate_key {ca.parent}/srv.key; "
        f"location / {{ {proxy} proxy_set_header X-Forwarded-Proto https; }} }} "
    )
    cdn = f"server {{ listen 127.0.0.1:{other}; location / {{ {proxy} }} }} "
    return tls + cdn + " ".join(f"server {{ listen 127.0.0.1:{ports[name]}; {what} }}" for name, what in plain.items())


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root = tmp_path_factory.mktemp("lab")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ.pop(name, None)
    ca = lab.certificates(root)
    ports = {name: lab.free_port() for name in ("tls", "redirecting", "deaf", "slow", "silent")}
    with (
        lab.TokenServer(anonymous=False) as tokens,
        lab.registry(root / "open") as open_host,
        lab.basic_registry(root / "basic") as basic,
        lab.token_registry(root / "token", tokens) as token,
        lab.nginx(root / "nginx", servers(open_host, ports, ca, lab.free_port()), ports["tls"]),
    ):
        seller = opened(root / "seller")
        model = stored(seller, "lab:1", LARGE)
        push(seller, model, f"{open_host}/library/lab:1")
        hosts = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        yield Lab(open_host, basic, token, tokens, ca=ca, nginx=root / "nginx", seller=seller, model=model, **hosts)
        seller.close()


def same(at: Lab, store: Store, pulled: StoredModel) -> bool:
    """Whether manifest bytes and blobs are those of the model that was pushed."""
    bytes_ = store.manifest_bytes(pulled.name) == at.seller.manifest_bytes(at.model.name)
    return bytes_ and pulled.digest == at.model.digest and blobs(store) == blobs(at.seller)


def test_push_and_pull_give_identical_bytes(at: Lab, store: Store) -> None:
    assert same(at, store, pull(store, f"{at.open}/library/lab:1"))


def test_push_again_sends_no_blob(at: Lab) -> None:
    heard: Statuses = []
    push(at.seller, at.model, f"{at.open}/library/lab:1", heard=heard)
    assert all(status["total"] == status["completed"] for status in heard if "total" in status)


def test_a_large_blob_pushed_in_parts(at: Lab, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("powerd.sources.registry.upload._SMALLEST_PART", 5 * MIB)
    push(at.seller, at.model, f"{at.open}/parts/lab:1")
    assert same(at, store, pull(store, f"{at.open}/parts/lab:1"))


def test_basic_authentication(at: Lab, store: Store) -> None:
    rules = config({at.basic: Host(insecure=True, username=lab.USER, password=lab.PASSWORD)})
    push(at.seller, at.model, f"{at.basic}/library/lab:1", rules)
    assert same(at, store, pull(store, f"{at.basic}/library/lab:1", rules))
    wrong = config({at.basic: Host(insecure=True, username=lab.USER, password="wrong")})
    for bad in (wrong, config()):
        with pytest.raises(PowerError, match="unauthorized: access denied"):
            pull(store, f"{at.basic}/library/lab:1", bad)


def test_token_authentication(at: Lab, store: Store) -> None:
    host = Host(insecure=True, username=lab.USER, password=lab.PASSWORD, token_hosts=(at.tokens.host,))
    push(at.seller, at.model, f"{at.token}/library/lab:1", config({at.token: host}))
    assert same(at, store, pull(store, f"{at.token}/library/lab:1", config({at.token: host})))
    assert any("pull%2Cpush" in path or "push%2Cpull" in path for path, _ in at.tokens.asked)
    with pytest.raises(SourceFailed, match="unauthorized: access denied"):
        pull(store, f"{at.token}/library/lab:1", config({at.token: replace(host, password="wrong")}))


def test_s15_the_token_server_is_not_asked_unless_listed(at: Lab, store: Store) -> None:
    before = len(at.tokens.asked)
    rules = config({at.token: Host(insecure=True, username=lab.USER, password=lab.PASSWORD)})
    with pytest.raises(SourceFailed, match=r"realm host .* does not match original host"):
        pull(store, f"{at.token}/library/lab:1", rules)
    assert len(at.tokens.asked) == before


def test_tls_with_a_private_authority(at: Lab, store: Store) -> None:
    name = f"{at.tls}/library/lab:1"
    assert same(at, store, pull(store, name, config({at.tls: Host(ca=at.ca)}), insecure=False))
    push(at.seller, at.model, f"{at.tls}/tls/lab:1", replace(config(), ca=at.ca), insecure=False)
    with pytest.raises(SourceFailed, match="certificate is not trusted"):
        pull(store, name, insecure=False)
    with pytest.raises(SourceFailed, match="certificate is not trusted"):
        pull(store, name, config({at.open: Host(ca=at.ca)}), insecure=False)


def test_r14_plain_http_is_not_spoken_unasked(at: Lab, store: Store) -> None:
    with pytest.raises(SourceFailed, match=r"gave up after 6 tries|SSL"):
        pull(store, f"{at.open}/library/lab:1", insecure=False)


def test_a_registry_that_redirects_to_another_origin(at: Lab, store: Store) -> None:
    name = Name.parse(f"{at.redirecting}/library/lab:1")
    host = Host(insecure=True, token="canary")
    assert same(at, store, pull(store, name.full, config({at.redirecting: host})))
    sent = (at.nginx / "access.log").read_text()
    assert len(re.findall(rf"/blobs/{at.model.weights_digest} 307 ", sent)) >= 1


def test_r05_a_registry_that_ignores_ranges(at: Lab, store: Store) -> None:
    assert same(at, store, pull(store, f"{at.deaf}/library/lab:1"))


def test_a_slow_registry(at: Lab, store: Store) -> None:
    heard: Statuses = []
    assert same(at, store, pull(store, f"{at.slow}/library/lab:1", heard=heard))
    weights = [
        status["completed"]
        for status in heard
        if status.get("digest") == str(at.model.weights_digest)
        if "completed" in status
    ]
    assert len(weights) >= 4
    assert weights == sorted(weights, key=lambda count: int(str(count)))


def test_a_server_that_hangs_up_without_a_word(at: Lab, store: Store) -> None:
    with pytest.raises(SourceFailed, match="gave up after 6 tries"):
        pull(store, f"{at.silent}/library/lab:1")


def test_an_unknown_tag_and_an_unknown_model(at: Lab, store: Store) -> None:
    for name in ("library/lab:none", "library/none:1"):
        with pytest.raises(SourceFailed, match=r"^pull model manifest: file does not exist$"):
            pull(store, f"{at.open}/{name}")


def test_416_of_a_finished_blob_is_never_provoked(at: Lab, store: Store) -> None:
    """A partial that lacks nothing asks for no range past the end, which docker-registry answers with a broken 416."""
    partial = store.partial(Digest.of(LARGE), len(LARGE))
    partial.write(0, LARGE)
    partial.close()
    assert same(at, store, pull(store, f"{at.open}/library/lab:1"))


KINDS: tuple[Kind, ...] = ("refuse", "reset", "end", "stall")


@pytest.mark.parametrize("seed", range(6))
def test_f16_r02_r11_a_network_that_breaks_at_random(at: Lab, store: Store, seed: int) -> None:
    """The first connection breaks, and then every second one; the model arrives, and little of it twice."""
    chance = random.Random(seed)

    def choose() -> Fault:
        if network.broken and chance.random() < 0.5:
            return Fault()
        return Fault(chance.choice(KINDS), chance.randrange(len(LARGE) // 3))

    with Chaos(at.open, choose) as network:
        rules = config(patience=replace(QUICK, stall=0.3))
        assert same(at, store, pull(store, f"{network.host}/library/lab:1", rules))
        assert network.down <= 1.5 * len(LARGE)


def test_f16_r01_a_bit_that_flips_on_the_way(at: Lab, store: Store) -> None:
    faults = [Fault("flip", 6 * MIB)]
    with Chaos(at.open, lambda: faults.pop() if faults else Fault()) as network:
        assert same(at, store, pull(store, f"{network.host}/library/lab:1", replace(config(), parts=1)))
        assert network.down >= 2 * len(LARGE)
