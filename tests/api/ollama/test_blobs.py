"""/api/blobs/:digest over the real store."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest

from powerd.api.app import TCP_ROUTES, build_app
from powerd.api.auth import access
from powerd.store.store import Store
from tests.api.rig import Client, Rig

BYTES = bytes(range(256)) * 8000  # 2 MB


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def blob(rig: Rig) -> str:
    digest = digest_of(BYTES)
    assert rig.post(f"/api/blobs/{digest}", BYTES).status_code == 201
    return digest


def test_an_upload_is_created_once(rig: Rig) -> None:
    digest = digest_of(b"once")
    assert rig.ask("HEAD", f"/api/blobs/{digest}").status_code == 404
    answers = [rig.post(f"/api/blobs/{digest}", b"once") for _ in range(2)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(201, b""), (200, b"")]
    assert rig.ask("HEAD", f"/api/blobs/{digest}").status_code == 200


def test_n08_a_digest_in_upper_case_or_with_a_hyphen_is_the_same(rig: Rig, blob: str) -> None:
    for form in (blob.replace(":", "-"), "sha256:" + blob[7:].upper()):
        assert rig.ask("HEAD", f"/api/blobs/{form}").status_code == 200
        assert rig.post(f"/api/blobs/{form}", b"not read").status_code == 200


@pytest.mark.parametrize(
    "form",
    [
        *("", "x", "sha256:", "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "g" * 64, "md5:" + "0" * 64),
        *("sha256:..%2f..%2fetc%2fpasswd", "..%5c..%5cx", "sha256:" + "0" * 64 + "/x", "sha256:" + "٠" * 64),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "HEAD"])
def test_n07_digests_that_are_none(rig: Rig, method: str, form: str) -> None:
    answer = rig.ask(method, f"/api/blobs/{form}", b"x" if method == "POST" else None)
    assert answer.status_code == 400
    assert method == "HEAD" or answer.json() == {"error": "invalid digest format"}


def test_n09_wrong_bytes_are_refused_and_nothing_is_kept(rig: Rig) -> None:
    blobs = rig.store.root / "blobs"
    before = sorted(blobs.iterdir())
    wanted, got = digest_of(b"wanted"), digest_of(b"other")
    answer = rig.post(f"/api/blobs/{wanted}", b"other")
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": f'digest mismatch, expected "{wanted}", got "{got}"'},
    )
    assert sorted(blobs.iterdir()) == before
    assert not list((rig.store.root / ".powerd/ingest").iterdir())


def test_the_empty_blob_is_one_too(rig: Rig) -> None:
    digest = digest_of(b"")
    assert rig.post(f"/api/blobs/{digest}", b"").status_code in {200, 201}
    assert rig.get(f"/api/blobs/{digest}").content == b""


def test_bytes_come_back_whole_or_in_one_range(rig: Rig, blob: str) -> None:
    whole = rig.get(f"/api/blobs/{blob}")
    assert (whole.status_code, whole.content) == (200, BYTES)
    assert whole.headers["etag"] == f'"{blob}"'
    size = len(BYTES)
    for asked, first, last in (
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, size - 1),
        ("bytes=-10", size - 10, size - 1),
        (f"bytes=5-{size * 2}", 5, size - 1),
    ):
        part = rig.get(f"/api/blobs/{blob}", range=asked)
        assert (part.status_code, part.content) == (206, BYTES[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
    assert rig.get(f"/api/blobs/{blob}", range="lines=1-2").status_code == 200


@pytest.mark.parametrize(
    "asked", [f"bytes={2**60}-", "bytes=9-5", "bytes=-", "bytes=x-y", "bytes=" + ",".join(["0-0"] * 1000), "bytes=-0"]
)
def test_s54_one_range_at_most(rig: Rig, blob: str, asked: str) -> None:
    answer = rig.get(f"/api/blobs/{blob}", range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(BYTES)}"


def test_a_blob_is_deleted_only_when_nothing_needs_it(rig: Rig) -> None:
    digest = digest_of(b"lonely")
    rig.post(f"/api/blobs/{digest}", b"lonely")
    assert rig.ask("DELETE", f"/api/blobs/{digest}").status_code == 200
    assert rig.ask("DELETE", f"/api/blobs/{digest}").status_code == 404
    weights = str(rig.library.find("demo").stored.weights_digest)
    answer = rig.ask("DELETE", f"/api/blobs/{weights}")
    assert answer.status_code == 409
    assert "is needed by a model" in answer.json()["error"]


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "HEAD"])
def test_only_those_who_may_manage_models_reach_blobs(rig: Rig, blob: str, method: str) -> None:
    assert rig.ask(method, f"/api/blobs/{blob}", peer="192.0.2.7").status_code == 403
    assert rig.ask("HEAD", f"/api/blobs/{blob}", app=rig.app(mutations="any"), peer="192.0.2.7").status_code == 200


def test_an_upload_over_the_quota_is_refused_before_it_is_read(rig: Rig, blob: str) -> None:
    small = Store(rig.store.root.parent / "small", quota=1000)
    small.open()
    try:
        rules = access(bound="127.0.0.1", hostname="rig")
        app = build_app(replace(rig.context, store=small), rules, TCP_ROUTES)
        answer = rig.ask("POST", f"/api/blobs/{blob}", BYTES, app=app)
        assert answer.status_code == 413
        assert "limited by a quota of 1000" in answer.json()["error"]
        assert answer.headers["connection"] == "close"
    finally:
        small.close()


def talk(rig: Rig, pieces: list[bytes | None], body_seconds: float) -> Client:
    client = Client(rig.app(body_seconds=body_seconds), "/api/blobs/" + digest_of(b"never"), pieces)
    rig.run(asyncio.wait_for(client.talk(), 20))
    return client


def test_h10_h20_an_upload_that_stalls_or_crawls_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled = talk(rig, [b"some", None], body_seconds=0.1)
    assert (stalled.status, b"nothing of the body came" in stalled.body) == (408, True)
    monkeypatch.setattr("powerd.api.ollama.blobs.SLOWEST", 1 << 40)
    crawling = talk(rig, [b"x"] * 200_000, body_seconds=0.05)
    assert (crawling.status, b"the body comes slower" in crawling.body) == (408, True)
    assert not list((rig.store.root / ".powerd/ingest").iterdir())


def test_a_client_that_hangs_up_in_mid_upload_leaves_nothing(rig: Rig) -> None:
    client = Client(rig.app(), "/api/blobs/" + digest_of(b"never"), [b"x" * (3 << 20), None])
    client.gone.set()
    rig.run(asyncio.wait_for(client.talk(), 20))
    assert not list((rig.store.root / ".powerd/ingest").iterdir())
