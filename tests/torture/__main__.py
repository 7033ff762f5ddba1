"""`python -m tests.torture [--rounds N] [--seed S] [--directory D]`: kill, look, repeat.

One store goes through all rounds. In each, a fork changes it at random, while another of its threads collects, and is
killed at a random system call or after a random time. Afterwards every visible blob matches its name, exactly the
models are there that were complete (the one being changed is old or new), the deed that was cut off succeeds when it
is done again, and a collection leaves nothing that nobody needs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from powerd.store import verified
from powerd.store.store import Store
from tests.store.deeds import content, shown, wrong_blobs
from tests.torture.deeds import SEEDS, Deed, Held, Order, replay, suffer


def kill_one(root: Path, journal: Path, order: Order) -> None:
    """Let a fork work until it is killed."""
    child = os.fork()
    if child == 0:
        try:
            suffer(root, journal, order)
        except BaseException as error:
            sys.stderr.write(f"the process to be killed failed first: {error!r}\n")
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{order} ended by itself"
    assert os.WTERMSIG(status) == signal.SIGKILL, order


def look(root: Path, held: Held, deed: Deed | None) -> Held:
    """Check everything; returns what the store holds when the deed that was cut off has been done again."""
    assert wrong_blobs(root) == []
    store = Store(root)
    store.open()
    seen = shown(store)
    assert store.problems == [], store.problems
    assert seen in ([held] if deed is None else [held, deed.after(held)]), (seen, held, deed)
    if deed is not None:
        deed.do(store)
        held = deed.after(held)
        assert shown(store) == held, deed
    store.close()
    store = Store(root)
    store.open()
    store.collect([], grace=0)
    store.clear_leftovers(0)
    report = store.fsck()
    left = [finding for finding in report.findings if finding.kind != "leftover" or "sha256-" not in finding.subject]
    assert left == [], left
    assert shown(store) == held
    store.close()
    return held


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="0 = another one every time")
    parser.add_argument("--directory", type=Path, help="keep the store here")
    options = parser.parse_args()
    seed = options.seed or time.time_ns() % 10**9
    sys.stdout.write(f"{options.rounds} rounds, seed {seed}\n")
    verified.SMALL = 2000
    os.fsync = lambda fd: None
    with tempfile.TemporaryDirectory(prefix="powerd-torture-") as temporary:
        directory = options.directory or Path(temporary)
        (directory / "files").mkdir(parents=True, exist_ok=True)
        for each in SEEDS:
            (directory / "files" / f"{each}.gguf").write_bytes(content(each))
        dice, held, cut = random.Random(seed), Held(), Counter[str]()
        for number in range(options.rounds):
            order = Order(seed * 1000 + number, int(dice.expovariate(1 / 400)) + 1, dice.uniform(0.005, 0.2))
            journal = directory / f"journal.{number}"
            kill_one(directory / "store", journal, order)
            held, deed = replay(journal, held)
            cut[deed.kind if deed else "between deeds"] += 1
            held = look(directory / "store", held, deed)
            journal.unlink(missing_ok=True)
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(cut.items()))
    sys.stdout.write(f"nothing lost; cut off: {told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
