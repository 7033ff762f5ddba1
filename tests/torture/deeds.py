"""What the process that will be killed does, and what the store should hold after each deed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from powerd.errors import NotFound
from powerd.names import Name
from powerd.store import verified
from powerd.store.store import Store
from tests.store.deeds import create, pull, take
from tests.store.dies import die_at

NAMES = ("alpha", "beta", "gamma", "delta")
SEEDS = range(8)
CALLS = (
    "open",
    "write",
    "fchmod",
    "chmod",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "ftruncate",
    "close",
    "pread",
    "read",
)

#: What a store holds: each model's system text.
Held = dict[str, str]


@dataclass(frozen=True)
class Deed:
    """One change. `text` tells the result apart from every other deed's."""

    kind: str
    name: str
    source: str
    seed: int
    text: str

    @classmethod
    def random(cls, dice: random.Random, text: str) -> Deed:
        kind = dice.choice(("pull", "pull", "ranged", "create", "take", "copy", "delete", "collect"))
        return cls(kind, dice.choice(NAMES), dice.choice(NAMES), dice.choice(SEEDS), text)

    def do(self, store: Store) -> None:
        """Do it; where there is no such model to work on, nothing."""
        files = store.root.parent / "files"
        with contextlib.suppress(NotFound):
            match self.kind:
                case "pull" | "ranged":
                    pull(store, self.name, self.seed, self.text, self.kind == "ranged")
                case "create":
                    create(store, self.name, self.source, self.text)
                case "take":
                    take(store, self.name, self.seed, self.text, files)
                case "copy":
                    store.copy(Name.parse(self.source), Name.parse(self.name))
                case "delete":
                    store.delete(Name.parse(self.name))
                case "collect":
                    store.collect([], grace=0)

    def after(self, held: Held) -> Held:
        """What `held` becomes by it."""
        held = dict(held)
        if self.kind in {"pull", "ranged", "take"} or (self.kind == "create" and self.source in held):
            held[self.name] = self.text
        elif self.kind == "copy" and self.source in held:
            held[self.name] = held[self.source]
        elif self.kind == "delete":
            held.pop(self.name, None)
        return held


@dataclass(frozen=True)
class Order:
    """How one round is to go: until the `calls`-th system call, or for `seconds`, whichever is first."""

    seed: int
    calls: int
    seconds: float


def suffer(root: Path, journal: Path, order: Order) -> None:
    """Change the store until killed, writing each deed down before and after."""
    os.fsync = lambda fd: None  # what was written survives the death of a process without it; the test is faster
    verified.SMALL = 2000
    dice = random.Random(order.seed)
    log = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    write = os.write
    die_at(order.calls, CALLS)
    threading.Thread(target=_die_after, args=(order.seconds,), daemon=True).start()
    store = Store(root)
    store.open()
    threading.Thread(target=_collect, args=(store,), daemon=True).start()
    for number in range(100_000):
        deed = Deed.random(dice, f"{order.seed}.{number}")
        write(log, msgspec.json.encode(deed) + b"\n")
        deed.do(store)
        write(log, b"done\n")


def _collect(store: Store) -> None:
    """K05, D08: collections between everything, and someone who reads."""
    try:
        while True:
            store.collect([], grace=0)
            store.models()
            time.sleep(0.001)
    except BaseException as error:
        sys.stderr.write(f"a collection failed: {error!r}\n")
        os._exit(1)


def _die_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def replay(journal: Path, held: Held) -> tuple[Held, Deed | None]:
    """What the store held after the last deed that ended, and the deed that was cut off, if one was."""
    deed = None
    for line in journal.read_bytes().split(b"\n") if journal.exists() else []:
        if line == b"done":
            assert deed is not None
            held, deed = deed.after(held), None
        elif line:
            deed = msgspec.json.decode(line, type=Deed)
    return held, deed
