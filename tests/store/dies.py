"""A process that changes a store and is killed at its n-th system call: `python -m tests.store.dies DIRECTORY`.

For n = 1, 2, 3, … a fork works on DIRECTORY/n and kills itself with SIGKILL just before the n-th call that changes
something on disk, until one fork comes through alive. Prints how many there were.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from powerd.digest import Digest
from powerd.names import Name
from powerd.store.manifest import MODEL_TYPE, SYSTEM_TYPE, Layer
from powerd.store.store import Store
from tests.store.shelves import weights

CALLS = (
    "open",
    "write",
    "fsync",
    "fchmod",
    "chmod",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "ftruncate",
    "pwrite",
    "close",
)


def prepare(root: Path) -> None:
    """Two models: `old`, which will be replaced, and `gone`, which will be deleted; they share weights."""
    store = Store(root)
    store.open()
    for name, system in (("old", "version 1"), ("gone", "to be deleted")):
        parts = [(MODEL_TYPE, weights("shared")), (SYSTEM_TYPE, system.encode())]
        store.publish(Name.parse(name), [Layer(kind, *store.put(data)) for kind, data in parts], {})
    store.close()


def work(root: Path) -> None:
    """Everything that changes a store, once."""
    store = Store(root)
    store.open()
    data = weights("new")
    with store.ingest(Digest.of(data), len(data)) as ingest:
        ingest.write(data[:500])
        ingest.write(data[500:])
        digest = ingest.commit()
    store.publish(Name.parse("team/new"), [Layer(MODEL_TYPE, digest, len(data))], {})
    old = store.find(Name.parse("old"))
    assert old is not None
    layers = [old.layers[0], Layer(SYSTEM_TYPE, *store.put(b"version 2"))]
    store.publish(Name.parse("old"), layers, {})
    store.copy(Name.parse("old"), Name.parse("copied"))
    if store.find(Name.parse("gone")) is not None:
        store.delete(Name.parse("gone"))
    store.collect([], grace=0)
    store.close()


def die_at(number: int, calls: Sequence[str] = CALLS) -> None:
    """Arrange for SIGKILL before the `number`-th of these calls."""
    left = number

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **more)

        return counted

    for name in calls:
        setattr(os, name, wrap(getattr(os, name)))


def main(directory: Path) -> int:
    os.fsync = lambda fd: None  # what was written survives the death of a process without it; the test is faster
    prepare(directory / "0")
    for number in range(1, 1000):
        root = directory / str(number)
        shutil.copytree(directory / "0", root)
        child = os.fork()
        if child == 0:
            try:
                die_at(number)
                work(root)
                os._exit(0)
            except BaseException as error:
                sys.stderr.write(f"{number}: {error!r}\n")
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.stdout.write(str(number))
            return os.waitstatus_to_exitcode(status)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
