"""Listeners: sockets of our own behind embedded Granian (its private hook is guarded here)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from granian.server.embed import Server
from structlog.testing import capture_logs

from powerd.listeners import BACKLOG, CannotListen, Listener, UnixDoor, bind_tcp, bind_unix, capacity, claim_files


async def hello(scope: dict[str, Any], receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def fetch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def test_both_kinds_of_socket_serve_and_stop(tmp_path: Path) -> None:
    async def main() -> None:
        tcp, unix = Listener(hello, bind_tcp("127.0.0.1", 0)), Listener(hello, bind_unix(tmp_path / "s"))
        await tcp.start()
        await unix.start()
        assert b"/tcp" in await fetch(*await asyncio.open_connection("127.0.0.1", tcp.port), "/tcp")
        assert b"/unix" in await fetch(*await asyncio.open_unix_connection(tmp_path / "s"), "/unix")
        await asyncio.gather(tcp.stop(1), unix.stop(1))
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", tcp.port)

    asyncio.run(main())


def test_a_server_that_ends_by_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_self: object) -> None:
        raise RuntimeError("out of threads")

    async def main() -> None:
        listener = Listener(hello, bind_tcp("127.0.0.1", 0))
        await listener.start()
        await asyncio.sleep(0)
        await listener.stop(1)

    monkeypatch.setattr(Server, "serve", broken)
    with capture_logs() as said:
        asyncio.run(main())
    assert [line["error"] for line in said] == ["RuntimeError('out of threads')"]


def test_a_busy_port_is_said_with_what_to_do() -> None:
    with bind_tcp("127.0.0.1", 0) as taken, pytest.raises(CannotListen, match="choose another address with --listen"):
        bind_tcp("127.0.0.1", taken.getsockname()[1])


def test_s14_the_control_socket_is_for_owner_and_group(tmp_path: Path) -> None:
    with bind_unix(tmp_path / "run" / "control.sock"):
        assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750
        assert stat.S_IMODE((tmp_path / "run/control.sock").stat().st_mode) == 0o660


def test_s14_its_mode_is_nobody_elses_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The umask is the whole process's: a directory that another thread makes meanwhile could not be entered."""
    monkeypatch.setattr(os, "umask", lambda _mask: pytest.fail("the umask was changed"))
    with bind_unix(tmp_path / "control.sock"):
        assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o660


def test_c06_a_door_takes_its_own_file_away_and_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def main() -> None:
        door = UnixDoor(hello, path, bind_unix(path))
        await door.start()
        await door.stop(1)
        assert not path.exists()
        door = UnixDoor(hello, path, bind_unix(path))
        await door.start()
        path.unlink()
        with bind_unix(path):
            await door.stop(1)
            assert path.exists()

    asyncio.run(main())


def test_c01_a_stale_socket_is_replaced_only_after_connecting_failed(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with bind_unix(path), pytest.raises(CannotListen, match="another powerd already answers"):
        bind_unix(path)
    with bind_unix(path) as again:
        assert again.getsockname() == str(path)


def test_c01_a_socket_whose_owner_is_too_busy_to_accept_is_neither_waited_for_nor_taken(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with contextlib.ExitStack() as sockets:
        owner, *callers = (sockets.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(4))
        owner.bind(str(path))
        owner.listen(0)
        for caller in callers:
            caller.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                caller.connect(str(path))
        started = time.monotonic()
        with pytest.raises(CannotListen, match="another powerd already answers"):
            bind_unix(path)
        assert time.monotonic() - started < 0.5
        assert path.exists()


def test_c01_a_socket_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as owner:
        owner.bind(str(path))
        with pytest.raises(CannotListen, match="cannot make the control socket"):
            bind_unix(path)
        assert path.exists()


def test_c01_anything_else_at_the_path_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(CannotListen, match="is not a socket"):
        bind_unix(path)
    assert path.read_text() == "precious"
    with pytest.raises(CannotListen, match="longer than 107 bytes"):
        bind_unix(tmp_path / ("x" * 110))


def test_a_connection_that_says_nothing_does_not_stop_the_others() -> None:
    async def main() -> None:
        listener = Listener(hello, bind_tcp("127.0.0.1", 0))
        await listener.start()
        silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(200)]
        answer = await asyncio.wait_for(
            fetch(*await asyncio.open_connection("127.0.0.1", listener.port), "/still-here"), 5
        )
        assert b"/still-here" in answer
        for connection in silent:
            connection.close()
        await listener.stop(1)

    asyncio.run(main())


def test_h22_connections_leave_descriptors_to_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, both: limits.update(now=both))
    assert capacity() == 256
    claim_files()
    assert limits["now"] == (4096, 4096)
    assert capacity() == 1792
    for now, connections in (((64, 64), 16), ((1 << 20, 1 << 20), BACKLOG), ((resource.RLIM_INFINITY,) * 2, BACKLOG)):
        limits["now"] = now
        claim_files()
        assert limits["now"] == now, "never lowered"
        assert capacity() == connections
