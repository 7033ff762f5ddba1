"""The hub's files in the store, and a pull foretold: real huggingface_hub, real transfer, scripted hub."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from powerd.digest import Digest
from powerd.errors import BadRequest, NoSpace, SourceFailed
from powerd.sources.dryrun import DryRun, Piece, dry_run
from powerd.sources.hub.model import HubConfig
from powerd.sources.hub.pull import HubBlobs, bring, resolve
from powerd.sources.transport.outbound import Outbound, OutboundConfig, Patience
from powerd.store.gguf import read_header
from powerd.store.manifest import (
    CONFIG_TYPE,
    MODEL_TYPE,
    TEMPLATE_TYPE,
    Layer,
    build_manifest,
)
from powerd.store.store import Store
from tests.sources.hub.server import COMMIT, Hub, Repo, _Handler
from tests.sources.scripted import Reply, Request, Scripted, whole
from tests.sources.test_remote import part

DEMO = Path(__file__).parents[3] / "powerd" / "demo" / "tiny-chat-q8_0.gguf"
DATA = DEMO.read_bytes()
QUICK = OutboundConfig(patience=Patience(tries=3, pause=0.01, longest_pause=0.02, stall=5))
PROJECTOR = b"GGUF projector"


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    yield
    huggingface_hub.close_session()


def brought(
    hub: Hub, source: str, store: Store, *, expect: Digest | None = None, heard: list[tuple[int, int]] | None = None
) -> HubBlobs:
    def tell(completed: int, total: int) -> None:
        if heard is not None:
            heard.append((completed, total))

    async def run() -> HubBlobs:
        async with Outbound(QUICK) as outbound:
            files = await resolve(source, outbound, HubConfig(hub.endpoint))
            return await bring(files, store, outbound, tell, expect)

    return asyncio.run(run())


def foretold(
    text: str, store: Store, hub: Hub | None = None, *, insecure: bool = False, declared: bool = True
) -> DryRun:
    async def run() -> DryRun:
        async with Outbound(QUICK) as outbound:
            config = HubConfig(hub.endpoint if hub is not None else "http://127.0.0.1:9")
            return await dry_run(
                text, store, outbound, config, directory=DEMO.parent, insecure=insecure, declared=declared
            )

    return asyncio.run(run())


def chat() -> Repo:
    return Repo({"chat-Q8_0.gguf": DATA, "mmproj-F16.gguf": PROJECTOR})


# ------------------------------------------------------------ the bytes


def test_model_and_projector_arrive_verified_under_their_digests(store: Store) -> None:
    heard: list[tuple[int, int]] = []
    with Hub(org__chat=chat()) as hub:
        blobs = brought(hub, "hf.co/org/chat", store, heard=heard)
    assert blobs == HubBlobs((Digest.of(DATA),), Digest.of(PROJECTOR))
    for digest, data in ((Digest.of(DATA), DATA), (Digest.of(PROJECTOR), PROJECTOR)):
        path = store.blob(digest)
        assert path is not None and path.read_bytes() == data
    total = len(DATA) + len(PROJECTOR)
    assert heard[-1] == (total, total) and heard == sorted(heard) and {each for _, each in heard} == {total}


def test_what_is_here_is_not_fetched_again(store: Store) -> None:
    with Hub(org__chat=chat()) as hub:
        brought(hub, "hf.co/org/chat", store)
        hub.asked.clear()
        brought(hub, "hf.co/org/chat", store)
        assert {each.method for each in hub.asked} <= {"GET", "HEAD"}
        assert not [each for each in hub.asked if each.where == "storage"]


def test_every_part_of_a_split_model_arrives(store: Store) -> None:
    parts = {f"big-Q4_K_M-{n:05d}-of-00002.gguf": b"GGUF part %d" % n for n in (1, 2)}
    with Hub(org__big=Repo(parts)) as hub:
        assert brought(hub, "hf.co/org/big", store).weights == tuple(Digest.of(data) for data in parts.values())


def test_a_small_file_without_a_digest_arrives_by_its_size(store: Store) -> None:
    with Hub(org__tiny=Repo({"tiny-Q8_0.gguf": DATA}, small={"tiny-Q8_0.gguf"})) as hub:
        assert brought(hub, "hf.co/org/tiny", store).weights == (Digest.of(DATA),)


def test_r01_wrong_bytes_from_the_storage_host_are_not_kept(store: Store) -> None:
    def other(handler: _Handler) -> bool:
        if handler.server.role == "storage":
            handler.answer(200, DATA[:-1] + b"!")
        return handler.server.role == "storage"

    with Hub(org__chat=chat()) as hub:
        hub.trick = other
        with pytest.raises(SourceFailed, match="digest mismatch"):
            brought(hub, "hf.co/org/chat", store)
    assert store.blob(Digest.of(DATA)) is None


def test_r19_a_pointer_instead_of_the_file_does_not_arrive(store: Store) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 4000000000\n"
    repo = Repo({"m-Q8_0.gguf": pointer}, small={"m-Q8_0.gguf"})
    with Hub(org__bare=repo) as hub, pytest.raises(SourceFailed, match="looks like a Git LFS pointer"):
        brought(hub, "hf.co/org/bare", store)


def test_what_is_no_model_does_not_arrive(store: Store) -> None:
    with Hub(org__bad=Repo({"m-Q8_0.gguf": b"GGUF" + b"\0" * 600})) as hub, pytest.raises(SourceFailed):
        brought(hub, "hf.co/org/bad", store)
    assert not list((store.root / "blobs").iterdir())


def test_r19_a_revision_that_vanishes_between_listing_and_fetching(store: Store) -> None:
    def vanishes(handler: _Handler) -> bool:
        if handler.command == "GET" and "/resolve/" in handler.path:
            handler.refuse(404, "RevisionNotFound")
            return True
        return False

    with Hub(org__chat=chat()) as hub:
        hub.trick = vanishes
        with pytest.raises(SourceFailed, match=rf"resolve/{COMMIT}/chat-Q8_0\.gguf: the server answered 404"):
            brought(hub, "hf.co/org/chat", store)


def test_a_pinned_digest_is_compared_before_the_first_byte(store: Store) -> None:
    with Hub(org__chat=chat()) as hub:
        with pytest.raises(SourceFailed, match=f'expected "sha256:{"e" * 64}", the hub offers'):
            brought(hub, "hf.co/org/chat", store, expect=Digest("e" * 64))
        assert {each.where for each in hub.asked} == {"hub"}
        assert brought(hub, "hf.co/org/chat", store, expect=Digest.of(DATA)).weights == (Digest.of(DATA),)


def test_no_room_is_said_before_the_first_byte_with_both_numbers(tmp_path: Path) -> None:
    small = Store(tmp_path / "small", quota=1 << 20)
    small.open()
    try:
        with Hub(org__chat=chat()) as hub:
            with pytest.raises(NoSpace, match=r"need 3\.\d MiB .* for hf\.co/org/chat, have"):
                brought(hub, "hf.co/org/chat", small)
            assert {each.where for each in hub.asked} == {"hub"}
    finally:
        small.close()


# ------------------------------------------------------------ a pull foretold (demand 45)


def test_demand_45_a_hub_pull_foretold_reads_the_header_and_fetches_nothing(store: Store) -> None:
    with Hub(org__chat=chat()) as hub:
        run = foretold("hf.co/org/chat:Q8_0", store, hub)
        ranges = [each.range for each in hub.asked if each.where == "storage"]
    assert run.place == f"hf.co/org/chat:Q8_0, commit {COMMIT[:12]}" and run.failed == ()
    assert run.pieces == (
        Piece("weights", "chat-Q8_0.gguf", len(DATA), Digest.of(DATA), present=False),
        Piece("projector", "mmproj-F16.gguf", len(PROJECTOR), Digest.of(PROJECTOR), present=False),
    )
    assert (run.total, run.present) == (len(DATA) + len(PROJECTOR), 0)
    assert run.shape == read_header(DEMO).shape() and run.unread == ""
    assert ranges == ["bytes=0-1048575"]
    assert not list((store.root / "blobs").iterdir())


def test_what_is_here_already_is_counted_and_not_asked_for(store: Store) -> None:
    store.take(DEMO)
    with Hub(org__chat=chat()) as hub:
        run = foretold("hf.co/org/chat", store, hub)
        assert {each.where for each in hub.asked} == {"hub"}
    assert run.present == len(DATA) and [piece.present for piece in run.pieces] == [True, False]
    assert run.shape == read_header(DEMO).shape() and run.quantization == "Q8_0"


def test_a_split_model_weighs_as_much_as_its_parts(store: Store) -> None:
    parts = {"m-Q8_0-00001-of-00002.gguf": DATA, "m-Q8_0-00002-of-00002.gguf": b"GGUF" + b"x" * 1_000_000}
    with Hub(org__big=Repo(parts)) as hub:
        run = foretold("hf.co/org/big", store, hub)
    header = read_header(DEMO)
    assert run.shape is not None
    assert run.shape.weights_bytes == len(DATA) + 1_000_004 - header.data_offset
    assert (run.shape.layers, run.shape.vocab) == (header.layers, header.vocab)


def test_a_header_that_cannot_be_read_leaves_the_rest_of_the_answer(store: Store) -> None:
    with Hub(org__bad=Repo({"m-Q8_0.gguf": b"GGUF" + b"\0" * 600})) as hub:
        run = foretold("hf.co/org/bad", store, hub)
    assert run.shape is None and "GGUF version 0" in run.unread and run.total == 604


def test_a_url_a_file_and_the_model_inside_the_package(store: Store) -> None:
    shape = read_header(DEMO).shape()
    with Scripted(part(DATA, [])) as server:
        run = foretold(server.url, store)
        assert (run.place, run.total, run.present, run.shape) == (server.url, len(DATA), 0, shape)
    for text in ("./tiny-chat-q8_0.gguf", "builtin:demo"):
        run = foretold(text, store)
        assert (run.total, run.present, run.shape) == (len(DATA), len(DATA), shape)
    with pytest.raises(SourceFailed, match="No such file"):
        foretold("./absent.gguf", store)
    with pytest.raises(BadRequest, match="its FROM line"):
        foretold("./Modelfile", store)


def test_demand_45_a_registry_pull_foretold(store: Store) -> None:
    template = b"{{ .Prompt }}"
    config = b"{}"
    store.put(template)
    layers = [Layer(kind, Digest.of(data), len(data)) for kind, data in ((MODEL_TYPE, DATA), (TEMPLATE_TYPE, template))]
    manifest = build_manifest(Layer(CONFIG_TYPE, Digest.of(config), len(config)), layers)

    def registry(request: Request) -> Reply:
        if "/manifests/" in request.target:
            return whole(manifest)
        return part(DATA, [])(request)

    with Scripted(registry) as server:
        host = server.url.split("/")[2]
        run = foretold(f"{host}/ns/chat:v1", store, insecure=True, declared=False)
        asked = [request.target for request in server.requests]
    assert run.place == f"the registry {host}"
    assert [(piece.role, piece.size, piece.present) for piece in run.pieces] == [
        ("weights", len(DATA), False),
        ("template", len(template), True),
        ("config", len(config), False),
    ]
    assert run.shape == read_header(DEMO).shape()
    assert asked == ["/v2/ns/chat/manifests/v1", f"/v2/ns/chat/blobs/{Digest.of(DATA)}"]
