"""The helpers that convert and quantize, over a real store, when they fail in every way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import BackendUnavailable, BadRequest, Busy, NoSpace, PowerError
from powerd.reconcile.making.converting import convert
from powerd.reconcile.making.job import OnProgress
from powerd.reconcile.making.quantizing import quantize
from powerd.store.store import Store
from tests import gguf_maker

Make = Callable[[Sequence[str], OnProgress], Awaitable[Digest]]

SPEAK = (
    "import socket, sys; from powerd.jobs import *; from powerd.protocol import *; "
    "peer = socket.socket(fileno=int(sys.argv[1])); peer.recv(9999);"
)
ODD = "peer.sendall(b'\\1\\0\\0\\0\\xc1')"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf_maker.full(tmp_path_factory.mktemp("full") / "full.gguf")[0]


@pytest.fixture
def work(request: pytest.FixtureRequest, store: Store, full: Path) -> Make:
    """What starts the helper named by the parameter, by a command."""
    if request.param == "quantize":
        return lambda command, told: quantize(full, "Q8_0", store, told, command)
    files = {"config.json": store.put(b"{}")[0]}
    return lambda command, told: convert(files, store, told, command)


def nothing_left(store: Store, before: set[str]) -> bool:
    return not list((store.root / ".powerd/ingest").iterdir()) and blobs(store) == before


def blobs(store: Store) -> set[str]:
    return {path.name for path in (store.root / "blobs").iterdir()}


def ignored(_done: int, _total: int) -> None:
    pass


@pytest.mark.parametrize(
    ("work", "code", "kind", "message"),
    [
        ("convert", "import sys; sys.exit(3)", BadRequest, "^conversion failed: the helper ended early: exit status 3"),
        ("convert", "import os, signal; os.kill(0, signal.SIGKILL)", BadRequest, "killed by signal 9"),
        ("convert", SPEAK + "peer.sendall(encode(ConvertFailed('it is odd')))", BadRequest, "failed: it is odd"),
        ("convert", SPEAK + "peer.sendall(encode(ConvertFailed('', missing=True)))", BackendUnavailable, "not install"),
        ("convert", SPEAK + ODD, BadRequest, "it sent a frame that cannot be read"),
        ("convert", SPEAK + "peer.sendall(encode(Converted()))", BadRequest, "what came out is unsound"),
        (
            "convert",
            SPEAK + "peer.sendall(encode(Converting(0, 1 << 60))); peer.recv(1)",
            NoSpace,
            "the converted model needs 1",
        ),
        ("quantize", "import sys; sys.exit(3)", BadRequest, "^quantization failed: the helper ended early: exit statu"),
        ("quantize", "import os, signal; os.kill(0, signal.SIGABRT)", BadRequest, "killed by signal 6"),
        ("quantize", SPEAK + "peer.sendall(encode(QuantizeFailed('it is odd')))", BadRequest, "failed: it is odd"),
        ("quantize", SPEAK + "peer.sendall(encode(QuantizeFailed('', missing=True)))", BackendUnavailable, "not inst"),
        ("quantize", SPEAK + ODD, BadRequest, "it sent a frame that cannot be read"),
        ("quantize", SPEAK + "peer.sendall(encode(Quantized()))", BadRequest, "the engine wrote an unsound file"),
    ],
    indirect=["work"],
)
def test_a_helper_that_fails_leaves_nothing(
    work: Make, store: Store, code: str, kind: type[PowerError], message: str
) -> None:
    before = blobs(store)
    with pytest.raises(kind, match=message):
        asyncio.run(waited(work((sys.executable, "-c", code), ignored)))
    assert nothing_left(store, before)


async def waited(making: Awaitable[Digest]) -> Digest:
    return await making


@pytest.mark.parametrize("work", ["convert", "quantize"], indirect=True)
def test_a_helper_that_cannot_be_started(work: Make, store: Store) -> None:
    before = blobs(store)
    with pytest.raises(Busy, match="cannot be started"):
        asyncio.run(waited(work(("/nonexistent",), ignored)))
    assert nothing_left(store, before)


@pytest.mark.parametrize(
    ("work", "step"), [("convert", "Converting(0, 9)"), ("quantize", "Quantizing('x')")], indirect=["work"]
)
def test_cancelling_ends_the_helper_and_leaves_nothing(work: Make, store: Store, step: str) -> None:
    before = blobs(store)

    async def cancelled() -> None:
        command = (sys.executable, "-c", SPEAK + f"peer.sendall(encode({step})); peer.recv(1)")
        begun = asyncio.Event()
        making = asyncio.ensure_future(work(command, lambda *_: begun.set()))
        async with asyncio.timeout(20):
            await begun.wait()
            making.cancel()
            with pytest.raises(asyncio.CancelledError):
                await making

    asyncio.run(cancelled())
    assert nothing_left(store, before)
