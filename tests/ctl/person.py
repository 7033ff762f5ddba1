"""A person at a real terminal: types keys into a pseudo-terminal and reads what appears there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
PATIENCE = 15.0
#: Makes the terminal the process's own, so that Ctrl-C reaches it.
_OWN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


class Person:
    """`with Person(command, environ) as person:` starts the command at a terminal of 80 columns that is its own."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        line = [sys.executable, "-S", "-c", _OWN_TERMINAL, *command]
        self._process = subprocess.Popen(
            line, cwd=cwd, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self._seen = ""
        self._read = 0

    def __enter__(self) -> Person:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def sees(self, text: str) -> str:
        """Wait until the text appears; returns all that appeared since the last call, without colours."""
        deadline = time.monotonic() + PATIENCE
        while text not in self._seen[self._read :]:
            left = deadline - time.monotonic()
            if left <= 0 or not self._more(left):
                raise AssertionError(f"{text!r} did not appear; there was {self._seen[self._read :]!r}")
        end = self._seen.index(text, self._read) + len(text)
        new, self._read = self._seen[self._read : end], end
        return new

    def interrupts(self, text: str) -> str:
        """Press Ctrl-C until the text appears, as people do: CPython misses one that comes just before it waits."""
        for _ in range(5):
            self.type("\x03")
            until = time.monotonic() + 2
            while text not in self._seen[self._read :] and (left := until - time.monotonic()) > 0:
                self._more(left)
            if text in self._seen[self._read :]:
                break
        return self.sees(text)

    def leaves(self) -> int:
        """Wait for the end; returns the exit code."""
        while self._more(PATIENCE):
            pass
        return self._process.wait(PATIENCE)

    def _more(self, patience: float) -> bool:
        """Read what has come; False when nothing comes any more."""
        if not select.select([self._ours], [], [], patience)[0]:
            return False
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux reports the far end's closing as EIO
            return False
        self._seen += _STEERING.sub("", piece.decode(errors="replace"))
        return bool(piece)
