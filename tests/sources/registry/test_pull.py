"""Pulling by Ollama's protocol from a scripted registry: the statuses, what is refused, and whom credentials reach."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.digest import Digest
from powerd.errors import Forbidden, NoSpace, PowerError, SourceFailed
from powerd.names import Name
from powerd.sources.registry import pull as registry
from powerd.sources.transport.outbound import Host, Outbound
from powerd.store.manifest import LICENSE_TYPE, MODEL_TYPE
from powerd.store.store import Store
from tests.sources.evil import CONFIG, LICENSE, Evil, layer, manifest, redirect
from tests.sources.models import SMALL, Statuses, blobs, config, nothing, opened, pull
from tests.sources.scripted import Reply, Request, Scripted, cut, whole

DIGEST = Digest.of(SMALL)


def refused(store: Store, name: str, message: str, **options: object) -> str:
    """The pull fails with a message, and leaves no name and no wrong bytes behind."""
    with pytest.raises(PowerError, match=message) as caught:
        pull(store, name, **options)  # type: ignore[arg-type]  # passed on as they are
    blobs(store)
    assert store.models() == []
    return caught.value.message


# ------------------------------------------------------------ what works


def test_statuses_word_for_word_and_the_manifest_byte_for_byte(store: Store) -> None:
    heard: Statuses = []
    with Evil() as server:
        model = pull(store, server.name, heard=heard)
        assert store.manifest_bytes(model.name) == server.says
    told = [status["status"] for status in heard]
    first = [status for index, status in enumerate(told) if index == 0 or told[index - 1] != status]
    short = [Digest.of(data).short for data in (SMALL, LICENSE, CONFIG)]
    assert first == [
        "pulling manifest",
        *(f"pulling {text}" for text in short),
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    done = {"digest": str(DIGEST), "total": len(SMALL), "completed": len(SMALL)}
    assert {"status": f"pulling {DIGEST.short}"} | done in heard
    assert server.asked == ["GET 1", *(f"GET {Digest.of(data)}" for data in (SMALL, LICENSE, CONFIG))]
    accept = server.requests[0].headers
    assert accept["accept"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert accept["user-agent"].startswith("ollama/")


def test_what_is_here_is_told_once_and_not_fetched(store: Store) -> None:
    with Evil() as server:
        pull(store, server.name)
        before = len(server.requests)
        heard: Statuses = []
        pull(store, server.name, heard=heard)
        assert len(server.requests) == before + 1
    assert [status.get("completed") for status in heard[1:4]] == [len(SMALL), len(LICENSE), len(CONFIG)]


def test_a_moved_tag_names_what_is_unused(store: Store) -> None:
    other = b"Another licence."
    with Evil(blobs=(SMALL, LICENSE, CONFIG, other)) as server:
        pull(store, server.name)
        server.says = manifest(layer(SMALL), layer(other, LICENSE_TYPE))
        assert pull(store, server.name).licenses == (other.decode(),)


def test_a_missing_model_in_ollamas_words(store: Store) -> None:
    with Evil(lambda _: Reply("404 Not Found", length=0)) as server:
        assert refused(store, server.name, "file does not exist") == "pull model manifest: file does not exist"


def test_an_answer_is_repeated_with_its_code(store: Store) -> None:
    body = b'{"error":"requires a newer version"}\x1b[2J'
    with Evil(lambda _: Reply("412 Precondition", body=[body], length=len(body))) as server:
        message = refused(store, server.name, "^pull model manifest: 412: .*requires a newer version")
        assert "\x1b" not in message


def test_parts_of_a_model_come_from_where_the_registry_sends_us(store: Store) -> None:
    with Scripted(whole(SMALL)) as elsewhere:

        def cdn(request: Request) -> Reply | None:
            return redirect(elsewhere.url) if str(DIGEST) in request.target else None

        with Evil(cdn) as server:
            rules = config({server.host: Host(token="secret", insecure=True)})
            pull(store, server.name, rules)
            assert all(request.headers["authorization"] == "Bearer secret" for request in server.requests)
        assert [request.headers.get("authorization") for request in elsewhere.requests] == [None]


def test_an_expired_direct_url_is_asked_for_again(store: Store) -> None:
    visits = []

    def expires(request: Request) -> Reply:
        visits.append(request)
        return cut(SMALL, 500) if len(visits) == 1 else Reply("403 Expired", length=0)

    with Scripted(expires) as old, Scripted(lambda _: whole(SMALL)) as new:

        def cdn(request: Request) -> Reply | None:
            return redirect(new.url if visits else old.url) if str(DIGEST) in request.target else None

        with Evil(cdn) as server:
            pull(store, server.name)
    assert len(visits) == 2


def test_a_mirror_is_asked_first_and_the_registry_for_what_it_lacks(store: Store) -> None:
    with Evil(blobs=(SMALL,)) as mirror, Evil() as server:
        rules = config({server.host: Host(insecure=True, mirrors=(f"http://{mirror.host}",))})
        model = pull(store, server.name, rules)
        assert model.name == Name.parse(server.name)
        assert mirror.asked[:2] == ["GET 1", f"GET {DIGEST}"]
        assert f"GET {DIGEST}" not in server.asked
        assert "GET 1" not in server.asked


def test_a_mirror_that_is_down_is_passed_over(store: Store) -> None:
    with Evil(lambda _: Reply("500 No", length=0)) as mirror, Evil() as server:
        pull(store, server.name, config({server.host: Host(insecure=True, mirrors=(f"http://{mirror.host}",))}))
        assert "GET 1" in server.asked


# ------------------------------------------------------------ digests and manifests

BAD_DIGESTS = [
    "../../../../tmp/x",
    "sha256:../../x",
    "sha256:" + "a" * 63,
    "sha256:" + "a" * 65,
    "sha256:" + "A" * 64,
    "SHA256:" + "a" * 64,
    "sha256-" + "a" * 64,
    "sha256:" + "a" * 64 + "\n",
    "sha512:" + "a" * 64,
    "",
    "a" * 2**20,
    "sha256:" + "\uff11" * 64,
    "sha256:ab",
    None,
    7,
]


def misplaced(place: str, kind: str, digest: object) -> bytes:
    bad: dict[str, object] = {"mediaType": kind, "digest": digest, "size": 4}
    good = layer(SMALL)
    layers = {"first": [bad, good], "last": [good, bad], "config": [good]}[place]
    return manifest(*layers, **({"config": bad} if place == "config" else {}))


@pytest.mark.parametrize("kind", [MODEL_TYPE, LICENSE_TYPE, "application/vnd.ollama.image.tensor"])
def test_s01_s02_s03_a_digest_that_is_none_is_refused_before_any_blob(store: Store, kind: str) -> None:
    async def run(server: Evil) -> None:
        async with Outbound(config()) as outbound:
            for digest, place in itertools.product(BAD_DIGESTS, ["first", "last", "config"]):
                server.says = misplaced(place, kind, digest)
                with pytest.raises(SourceFailed, match=r"^pull model manifest: invalid digest"):
                    await registry.pull(
                        Name.parse(server.name), store, outbound, on_status=lambda _: None, insecure=True
                    )

    with Evil() as server:
        asyncio.run(run(server))
        assert len(server.requests) == 3 * len(BAD_DIGESTS)
        assert server.blob_requests() == []
    assert nothing(store)


def test_s04_r01_a_bad_layer_leaves_no_unverified_one_behind(store: Store) -> None:
    wrong = SMALL[:-1] + b"\x01"
    lie = layer(LICENSE, LICENSE_TYPE) | {"digest": str(Digest.of(b"other"))}
    says = manifest(lie, layer(SMALL), layer(wrong) | {"digest": "sha256:" + "0" * 64})
    with Evil(says=says) as server:
        server.blobs[str(Digest.of(b"other"))] = LICENSE
        refused(store, server.name, f'digest mismatch, expected "{Digest.of(b"other")}"')
        assert len(server.blob_requests()) == 2, "once more from zero, then no further"
    assert nothing(store)
    with Evil(says=manifest(layer(SMALL), layer(b"other", LICENSE_TYPE)), blobs=(SMALL, b"other", CONFIG)) as server:
        assert pull(store, server.name).licenses == ("other",)


def test_s05_one_digest_twice_is_verified_all_the_same(store: Store) -> None:
    same = layer(CONFIG, LICENSE_TYPE)
    with Evil(says=manifest(layer(SMALL), same)) as server:
        server.blobs[str(Digest.of(CONFIG))] = b"x" * len(CONFIG)
        refused(store, server.name, "digest mismatch")
        server.blobs[str(Digest.of(CONFIG))] = CONFIG
        assert pull(store, server.name).licenses == (CONFIG.decode(),)


def test_s06_a_blob_that_rotted_is_fetched_again(store: Store) -> None:
    with Evil() as server:
        pull(store, server.name)
        path = store.blob(DIGEST)
        assert path is not None
        path.chmod(0o600)
        path.write_bytes(bytes(len(SMALL)))
        pull(store, server.name)
    assert blobs(store)[DIGEST] == SMALL


MALFORMED = [
    (b"{}", "layers"),
    (b"[]", "not an object"),
    (b"null", "not an object"),
    (b"", "not JSON"),
    (b"<html>", "not JSON"),
    (b"[" * 100_000, "not an object"),
    (manifest(layers=None), "layers"),
    (manifest(layers={}), "layers"),
    (manifest(layers=[None]), "mediaType"),
    (manifest(layers=[{}] * 5000), "layers"),
    (manifest({"mediaType": MODEL_TYPE, "digest": str(DIGEST)}), "size"),
    (manifest({"mediaType": MODEL_TYPE, "size": 4}), "digest"),
    (manifest({"digest": str(DIGEST), "size": 4}), "mediaType"),
    (manifest(layer(SMALL) | {"size": -1}), "size"),
    (manifest(layer(SMALL) | {"size": 2**63}), "size"),
    (manifest(layer(SMALL) | {"size": "12"}), "size"),
    (manifest(layer(SMALL) | {"size": 1.5}), "size"),
    (manifest(layer(SMALL) | {"size": True}), "size"),
    (manifest().replace(b'"size": 992', b'"size": NaN'), "not JSON"),
    (manifest(config=None), "config"),
    (manifest(schemaVersion=1), "schemaVersion"),
    (manifest(mediaType="application/vnd.docker.distribution.manifest.list.v2+json"), "mediaType"),
    (manifest(mediaType=["x"]), "mediaType"),
    (manifest(manifests=[]), "manifests"),
    (b'{"schemaVersion":2,"manifests":[]}', "layers"),
]


@pytest.mark.parametrize(("says", "field"), MALFORMED, ids=lambda value: value if isinstance(value, str) else "")
def test_s07_r15_a_manifest_that_is_none(store: Store, says: bytes, field: str) -> None:
    with Evil(says=says) as server:
        refused(store, server.name, f"^pull model manifest: .*invalid manifest: .*{field}")
        assert server.blob_requests() == []
    assert nothing(store)


def test_r15_the_digest_a_registry_says_of_its_manifest(store: Store) -> None:
    says = manifest()
    with Evil(lambda r: whole(says, **{"Docker-Content-Digest": f"sha256:{'0' * 64}"})) as server:
        refused(store, server.name, "digest mismatch: the registry says")


def test_safetensors_models_say_why_not(store: Store) -> None:
    with Evil(says=manifest(layer(SMALL, "application/vnd.ollama.image.tensor"))) as server:
        refused(store, server.name, "this model requires MLX support, but the MLX runtime is not available")
    with Evil(says=manifest(layer(LICENSE, LICENSE_TYPE))) as server:
        refused(store, server.name, "its manifest names no GGUF weights")


def test_s16_urls_in_a_layer_are_not_followed(store: Store) -> None:
    with Scripted(whole(SMALL)) as other:
        with Evil(says=manifest(layer(SMALL) | {"urls": [other.url]})) as server:
            pull(store, server.name)
        assert other.requests == []


# ------------------------------------------------------------ bodies


def endless(chunk: bytes) -> Reply:
    def body() -> object:
        while True:
            yield chunk

    return Reply(body=body())  # type: ignore[arg-type]  # an endless one


@pytest.mark.parametrize(("what", "limit"), [("/manifests/", "4.0 MiB"), ("/token", "1.0 MiB")])
def test_s11_an_endless_document_is_cut(store: Store, what: str, limit: str) -> None:
    def handle(request: Request) -> Reply | None:
        if what in request.target:
            return endless(b" " * 65_536)
        if what == "/token" and "/manifests/" in request.target:
            realm = f"http://{server.host}/token"
            return Reply("401 No", {"WWW-Authenticate": f'Bearer realm="{realm}"'}, length=0)
        return None

    with Evil(handle) as server:
        refused(store, server.name, f"longer than {limit}")


def test_s11_an_endless_error_body_is_cut(store: Store) -> None:
    with Evil(lambda _: Reply("403 No", body=endless(b"x" * 65_536).body)) as server:
        assert refused(store, server.name, "^pull model manifest: 403: ") == "pull model manifest: 403: "


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, gzip"])
@pytest.mark.parametrize("where", ["/manifests/", "/blobs/", "redirect", "error"])
def test_s12_s21_r13_nothing_is_decoded(store: Store, encoding: str, where: str) -> None:
    def handle(request: Request) -> Reply | None:
        bomb = whole(bytes(100), **{"Content-Encoding": encoding})
        if where in request.target:
            return bomb
        if where in {"redirect", "error"}:
            bomb.status = "302 Found" if where == "redirect" else "403 No"
            bomb.headers["Location"] = f"http://{server.host}/elsewhere"
            return bomb
        return None

    with Evil(handle) as server:
        refused(store, server.name, "unexpected Content-Encoding")
        assert "/elsewhere" not in [request.target for request in server.requests]
        assert all(request.headers["accept-encoding"] == "identity" for request in server.requests)


def test_r03_a_layer_longer_or_shorter_than_the_manifest_says(store: Store) -> None:
    with Evil() as server:
        server.blobs[str(DIGEST)] = SMALL + b"x"
        refused(store, server.name, f"holds {len(SMALL) + 1} bytes and not the {len(SMALL)} that were declared")
    with Evil(lambda request: Reply(body=[SMALL, b"x"]) if str(DIGEST) in request.target else None) as server:
        refused(store, server.name, f"longer than the declared {len(SMALL)} bytes")


def test_a_layer_that_is_no_gguf_is_refused_at_its_first_bytes(store: Store) -> None:
    page = b"<html>" + bytes(5000)
    with Evil(says=manifest(layer(page)), blobs=(page, CONFIG)) as server:
        refused(store, server.name, r"not a GGUF file \(looks like HTML\)")


def test_r02_what_came_of_a_layer_is_kept_and_gone_on_with(tmp_path: Path) -> None:
    data = SMALL + bytes(3 << 20)
    says = manifest(layer(data))

    def broken(request: Request) -> Reply | None:
        if "/blobs/" not in request.target:
            return None
        return cut(data, 2 << 20) if not request.start else Reply("503 Later", length=0)

    store = opened(tmp_path / "one")
    with Evil(broken, says=says) as server:
        refused(store, server.name, "503 Service Unavailable; gave up after 6 tries")
    store.close()
    store = opened(tmp_path / "one")
    with Evil(says=says, blobs=(data, CONFIG)) as server:
        pull(store, server.name)
        assert server.blob_requests()[0].headers["range"] == f"bytes={2 << 20}-"
    assert blobs(store)[Digest.of(data)] == data
    assert list((store.root / ".powerd" / "ingest").iterdir()) == []
    store.close()


def test_d02_what_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    store = Store(tmp_path / "small", quota=1_000_000)
    store.open()
    huge = layer(SMALL) | {"size": 10**9}
    with Evil(says=manifest(huge)) as server, pytest.raises(NoSpace, match=r"need 953.7 MiB .* have 976.6 KiB"):
        pull(store, server.name)
    assert server.blob_requests() == []
    store.close()


# ------------------------------------------------------------ who may be asked


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "169.254.169.254:80",
        "metadata.google.internal",
        "100.100.100.200",
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_s19_metadata_services_are_never_asked(store: Store, host: str, trusted: bool) -> None:
    began = time.monotonic()
    refused(store, f"{host}/library/x:1", "registry host not allowed", insecure=False, trusted=trusted)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "localhost", "localhost.", "0.0.0.0", "10.1.2.3"]
)
def test_s19_strangers_may_not_name_what_is_private(store: Store, host: str) -> None:
    with Evil() as server:
        port = server.host.rpartition(":")[2]
        refused(store, f"{host}:{port}/library/x:1", "registry host not allowed", insecure=False, trusted=False)
        assert server.requests == []


def test_s19_a_redirect_does_not_lead_strangers_inside(store: Store) -> None:
    with Scripted(whole(SMALL)) as inside, Evil(lambda _: redirect(inside.url)) as server:
        rules = config({server.host: Host(insecure=True)})
        refused(store, server.name, "host not allowed", rules=rules, trusted=False, insecure=False)
        assert inside.requests == []


def test_s19_r14_listed_hosts_are_for_everybody_and_others_not_without_tls(store: Store) -> None:
    with Evil() as server:
        refused(store, server.name, "without TLS only hosts", trusted=False)
        refused(store, server.name, "is not `insecure: true`", rules=config({server.host: Host()}), trusted=False)
        assert server.requests == []
        pull(store, server.name, config({server.host: Host(insecure=True)}), insecure=False, trusted=False)


def test_what_powerd_yaml_forbids_is_forbidden_to_the_owner_too(store: Store) -> None:
    with Evil() as server:
        for key in (server.host, "*"):
            refused(store, server.name, "does not allow", rules=config({key: Host(allow=False)}))
        assert server.requests == []
        pull(store, server.name, config({"*": Host(allow=False), server.host: Host()}))


@pytest.mark.parametrize("host", ["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:abc", "a:1:2"])
def test_n06_hosts_that_are_none(store: Store, host: str) -> None:
    refused(store, f"{host}/library/x:1", "invalid model name")


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_r08_a_redirect_to_another_origin_gets_no_credentials(store: Store, status: str) -> None:
    with Evil() as other:

        def away(request: Request) -> Reply:
            return redirect(f"http://{other.host}{request.target}", status)

        with Evil(away) as server:
            pull(store, server.name, config({server.host: Host(token="canary", insecure=True)}))
            assert "canary" in server.requests[0].headers["authorization"]
        assert "canary" not in json.dumps([request.headers for request in other.requests])


def test_r07_redirects_that_do_not_end(store: Store) -> None:
    with Evil(lambda request: redirect(request.target)) as server:
        refused(store, server.name, "more than 10 redirects")
        assert len(server.requests) == 11
    for location in ("file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:pw@127.0.0.1/", "//[", ""):
        with Evil(lambda _, location=location: redirect(location)) as server:  # type: ignore[misc]
            refused(store, server.name, "redirect (to something that is not fetched|without a Location)")
            assert len(server.requests) == 1


def test_offline_asks_nobody(store: Store) -> None:
    with Evil() as server, pytest.raises(Forbidden, match="offline: true"):
        pull(store, server.name, replace(config(), offline=True))
    assert server.requests == []


def test_r10_statuses(store: Store) -> None:
    for status in ("400 B", "403 F", "409 C", "410 G"):
        with Evil(lambda _, status=status: Reply(status, length=0)) as server:  # type: ignore[misc]
            refused(store, server.name, f"pull model manifest: {status[:3]}: ")
            assert len(server.requests) == 1
    with Evil(lambda _: Reply("503 S", length=0)) as server:
        refused(store, server.name, "503 Service Unavailable; gave up after 6 tries")
        assert len(server.requests) == 6


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80) | st.just(str(DIGEST)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["mediaType", "digest", "size", "layers", "config", "from"]), inner, max_size=6
        )
    ),
    max_leaves=20,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    with contextlib.suppress(SourceFailed):
        registry.read_manifest(data, Name.parse("x"))


def test_a_source_that_failed_is_told_apart(store: Store) -> None:
    with Evil() as server:
        host = server.host
    with pytest.raises(SourceFailed, match="gave up after 6 tries"):
        pull(store, f"{host}/library/x:1")
