"""The writing end of the socket: frames leave in order, from any thread, and no writer ever waits for the reader.

A frame goes straight to the kernel. Only when the daemon reads too slowly does it queue here, and a thread of its own
passes it on; the engine asks `wait` before it makes more, the reading thread goes on obeying cancellations.
"""

from __future__ import annotations

import contextlib
import socket
import threading

import msgspec

from powerd.protocol import encode

#: Bytes waiting for a slow daemon before the engine pauses.
_MOST_WAITING = 4 * 1024 * 1024
_KERNEL_BUFFER = 1024 * 1024


class Outbox:
    """Owns the writing end of `sock`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
        self._sock = sock
        self._changed = threading.Condition()
        self._waiting = bytearray()
        threading.Thread(target=self._pass_on, name="outbox", daemon=True).start()

    def send(self, *frames: msgspec.Struct) -> None:
        """Send `frames` in one go. A daemon that is gone is noticed by the reading thread, not here."""
        data = b"".join(map(encode, frames))
        with self._changed:
            if not self._waiting:
                data = data[self._try(data) :]
            if data:
                self._waiting += data
                self._changed.notify_all()

    def _try(self, data: bytes | bytearray) -> int:
        """How many bytes the kernel took."""
        try:
            return self._sock.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def wait(self) -> None:
        """Return once little enough waits for the daemon to read."""
        if len(self._waiting) > _MOST_WAITING:
            with self._changed:
                self._changed.wait_for(lambda: len(self._waiting) <= _MOST_WAITING)

    def flush(self, seconds: float) -> None:
        """Return once everything has left, or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, seconds)

    def _pass_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                piece = bytes(self._waiting[:_KERNEL_BUFFER])
            with contextlib.suppress(OSError):
                self._sock.sendall(piece)
            with self._changed:
                del self._waiting[: len(piece)]
                self._changed.notify_all()
