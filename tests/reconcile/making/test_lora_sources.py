"""Where adapters come from: files, addresses behind a real nginx, models on a real registry, the scripted hub."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from powerd.catalog.spec import Adapter
from powerd.digest import Digest
from powerd.errors import BadRequest, Forbidden, PowerError, SourceFailed
from powerd.names import Name
from powerd.reconcile.making.lora_sources import take
from powerd.reconcile.reach import Reach
from powerd.sources.hub.model import HubConfig
from powerd.sources.transport.outbound import Host, Outbound, OutboundConfig
from powerd.store.gguf import read_header
from powerd.store.manifest import ADAPTER_TYPE, MODEL_TYPE, Layer, describe
from powerd.store.store import Store
from tests.sources import lab
from tests.sources.hub.server import Hub, Repo
from tests.sources.models import QUICK, push

ROOT = Path(__file__).parents[3]
LORA = (ROOT / "tests" / "models" / "tiny-chat-pirate-lora-f16.gguf").read_bytes()
DEMO = (ROOT / "powerd" / "demo" / "tiny-chat-q8_0.gguf").read_bytes()
EMBED = (ROOT / "tests" / "models" / "tiny-embed-q8_0.gguf").read_bytes()
MODEL = read_header(ROOT / "powerd" / "demo" / "tiny-chat-q8_0.gguf")
OTHER = read_header(ROOT / "tests" / "models" / "tiny-embed-q8_0.gguf")
DIGEST = Digest(hashlib.sha256(LORA).hexdigest())


def publish(store: Store, name: str, *files: bytes) -> None:
    """A model of the demo's weights with these adapters."""
    layers = [Layer(MODEL_TYPE, *store.put(DEMO))] + [Layer(ADAPTER_TYPE, *store.put(file)) for file in files]
    store.publish(Name.parse(name), layers, describe(MODEL))


def taken(
    store: Store,
    adapter: Adapter | str,
    config: OutboundConfig | None = None,
    *,
    weights: bytes = DEMO,
    hub: HubConfig | None = None,
) -> Digest:
    async def run() -> Digest:
        async with Outbound(config or OutboundConfig(patience=QUICK)) as outbound:
            said = adapter if isinstance(adapter, Adapter) else Adapter(adapter)
            reach = Reach(store, outbound, hub or HubConfig())
            return await take(said, MODEL if weights is DEMO else OTHER, reach, store.root)

    return asyncio.run(run())


def refused(store: Store, adapter: Adapter | str, *args: OutboundConfig, **more: bytes | HubConfig) -> str:
    with pytest.raises(PowerError) as caught:
        taken(store, adapter, *args, **more)  # type: ignore[arg-type]  # the keywords of taken()
    assert isinstance(caught.value, BadRequest | SourceFailed | Forbidden)
    return caught.value.message


# ---------------------------------------------------------------- files, and what is here


def test_a_file_is_held_to_its_digest(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(LORA)
    wrong = Digest.of(b"another")
    assert "digest mismatch" in refused(store, Adapter(str(file), digest=wrong))
    assert store.blob(DIGEST) is None
    assert taken(store, Adapter(str(file), digest=DIGEST)) == DIGEST
    file.unlink()
    assert taken(store, Adapter(str(file), digest=DIGEST)) == DIGEST, "what is in the store already is not asked for"
    assert "for llama, not for bert models" in refused(store, Adapter(str(file), digest=DIGEST), weights=EMBED)


def test_what_cannot_be_an_adapter_is_refused_by_its_name(store: Store) -> None:
    assert "is no LoRA adapter" in refused(store, "builtin:demo")
    assert "is no LoRA adapter" in refused(store, str(store.root / "Modelfile"))
    assert "to name a file begin with / or ./" in refused(store, "lora.gguf")


def test_an_installed_model_gives_its_adapter_and_nobody_is_asked(store: Store) -> None:
    publish(store, "mario", LORA)
    publish(store, "plain")
    publish(store, "two", LORA, LORA[:-1] + b"x")
    offline = OutboundConfig(offline=True)
    assert taken(store, "mario", offline) == DIGEST
    assert "plain is no LoRA adapter, but a model that has none" in refused(store, "plain", offline)
    assert "two has 2 adapters" in refused(store, "two", offline)
    assert "digest mismatch" in refused(store, Adapter("mario", digest=Digest.of(b"x")), offline)
    assert "`offline: true`" in refused(store, "another", offline)
    assert "`offline: true`" in refused(store, "https://127.0.0.1:9/a.gguf", offline)


# ---------------------------------------------------------------- a web server and a registry, with TLS


@dataclass(frozen=True)
class Net:
    host: str
    ca: Path
    log: Path

    @property
    def config(self) -> OutboundConfig:
        return OutboundConfig(hosts={self.host: Host(ca=self.ca)}, patience=QUICK)

    def sent(self, path: str) -> int:
        """Bytes the server sent of `path`."""
        rows = [line.split() for line in self.log.read_text().splitlines()]
        return sum(int(row[2]) for row in rows if row[0].endswith(path))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    root = tmp_path_factory.mktemp("net")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ.pop(name, None)
    ca = lab.certificates(root)
    (root / "www").mkdir()
    (root / "www" / "lora.gguf").write_bytes(LORA)
    (root / "www" / "model.gguf").write_bytes(DEMO + bytes(64 << 20))
    port = lab.free_port()
    with lab.registry(root / "registry") as behind:
        proxy = (
            f"proxy_pass http://{behind}; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;"
        )
        keys = f"ssl_certificate {root}/srv.crt; ssl_certificate_key {root}/srv.key;"
        server = (
            f"server {{ listen 127.0.0.1:{port} ssl; {keys}"
            f" location /v2/ {{ {proxy} proxy_request_buffering off; }} location / {{ root {root}/www; }} }}"
        )
        with lab.nginx(root / "nginx", server, port):
            here = Net(f"127.0.0.1:{port}", ca, root / "nginx" / "access.log")
            seller = Store(root / "seller")
            seller.open()
            for name, files in {"mario": [LORA], "plain": [], "two": [LORA, LORA[:-1] + b"x"]}.items():
                publish(seller, name, *files)
                stored = seller.find(Name.parse(name))
                assert stored is not None
                push(seller, stored, f"{here.host}/me/{name}", here.config, insecure=False)
            seller.close()
            yield here


@pytest.mark.lab
def test_an_address_gives_an_adapter_which_is_verified(net: Net, store: Store) -> None:
    url = f"https://{net.host}/lora.gguf"
    assert "digest mismatch" in refused(store, Adapter(url, digest=Digest.of(b"x")), net.config)
    assert store.blob(DIGEST) is None
    assert taken(store, Adapter(url, digest=DIGEST), net.config) == DIGEST
    path = store.blob(DIGEST)
    assert path is not None
    assert path.read_bytes() == LORA
    assert "not trusted" in refused(store, url)


@pytest.mark.lab
def test_g18_nothing_is_fetched_of_what_does_not_fit(net: Net, store: Store) -> None:
    url = f"https://{net.host}/model.gguf"
    assert "is no LoRA adapter, but a model" in refused(store, url, net.config)
    assert net.sent("/model.gguf") < 8 << 20, "no more than the header of 64 MiB"
    assert "for llama, not for bert models" in refused(
        store, f"https://{net.host}/lora.gguf", net.config, weights=EMBED
    )
    assert "404" in refused(store, f"https://{net.host}/gone.gguf", net.config)
    assert not any((store.root / "blobs").glob("sha256-*"))


@pytest.mark.lab
def test_a_name_on_a_registry_gives_its_adapter_and_nothing_else_of_it(net: Net, store: Store) -> None:
    assert taken(store, f"{net.host}/me/mario", net.config) == DIGEST
    assert [each.name for each in (store.root / "blobs").glob("sha256-*")] == [f"sha256-{DIGEST.hex}"]
    assert "but a model that has none" in refused(store, f"{net.host}/me/plain", net.config)
    assert "has 2 adapters" in refused(store, f"{net.host}/me/two", net.config)
    assert "does not exist" in refused(store, f"{net.host}/me/nobody", net.config)


# ---------------------------------------------------------------- the hub


def test_a_repository_on_the_hub_gives_its_adapter(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    model = DEMO + bytes(64 << 20)
    repo = Repo({"lora-f16.gguf": LORA, "README.md": b"hello"})
    both = Repo({"lora-f16.gguf": LORA, "model-q8_0.gguf": model})
    with Hub(org__lora=repo, org__both=both) as hub:
        config = HubConfig(hub.endpoint)
        assert taken(store, "hf.co/org/lora", hub=config) == DIGEST
        assert taken(store, Adapter("hf://org/both/lora-f16.gguf", digest=DIGEST), hub=config) == DIGEST
        shutil.rmtree(store.root / "blobs")
        assert "no LoRA adapter, but a model" in refused(store, "hf.co/org/both:Q8_0", hub=config)
        assert "digest mismatch" in refused(store, Adapter("hf.co/org/lora", digest=Digest.of(b"x")), hub=config)
        assert "not for bert" in refused(store, "hf.co/org/lora", hub=config, weights=EMBED)
    huggingface_hub.close_session()


# ---------------------------------------------------------------- a server that tells no length


def test_a_file_whose_length_nobody_tells_is_fetched_and_then_judged(store: Store) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(LORA if self.path == "/lora.gguf" else DEMO)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert taken(store, f"{url}/lora.gguf") == DIGEST
        assert "is no LoRA adapter, but a model" in refused(store, f"{url}/model.gguf")
        assert [each.name for each in (store.root / "blobs").glob("sha256-*")] == [f"sha256-{DIGEST.hex}"]
    finally:
        server.shutdown()
        server.server_close()
