"""A process that fails at every failpoint in every way: `python -m tests.store.breaks DIRECTORY`.

For each failpoint and action a fork does everything once with that one armed. A fork that is killed must really die
there; one whose disk fails must be told so by a PowerError, and then do everything again without trouble. Prints a JSON
list of what each fork did.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from powerd.errors import NoSpace, NotFound, PowerError, StoreFailed
from powerd.names import Name
from powerd.store import failpoints, verified
from powerd.store.store import Store
from tests.store.deeds import content, create, pull, take


def prepare(root: Path) -> None:
    """`old`, which will be replaced; `gone`, which will be deleted; a blob that nothing needs; one that is corrupt."""
    store = Store(root)
    store.open()
    pull(store, "old", 1, "version 1")
    pull(store, "gone", 2, "to be deleted")
    pull(store, "kept", 3, "kept")
    stray = store.put(b"nothing needs this")[0]
    corrupt = store.blob(store.put(b"this will be corrupt")[0])
    assert store.blob(stray) is not None
    assert corrupt is not None
    corrupt.chmod(0o600)
    corrupt.write_bytes(b"THIS WILL BE CORRUPT")
    store.close()


def steps(store: Store, ranged: bool) -> list[Callable[[], object]]:
    """Everything that changes a store, once; each may be repeated."""

    def delete() -> None:
        with contextlib.suppress(NotFound):
            store.delete(Name.parse("gone"))

    return [
        lambda: store.fsck(repair=True),
        lambda: pull(store, "new", 7, "pulled", ranged),
        lambda: pull(store, "old", 1, "version 2"),
        lambda: create(store, "made", "old", "created"),
        lambda: take(store, "file", 4, "taken", store.root.parent / "files"),
        lambda: store.copy(Name.parse("old"), Name.parse("copied")),
        delete,
        lambda: store.collect([], grace=0),
    ]


def work(root: Path, ranged: bool = False) -> list[str]:
    """Take every step, each again until it succeeds; returns what failed on the way."""
    store = Store(root)
    failures: list[str] = []
    for step in [store.open, *steps(store, ranged)]:
        for _ in range(3):
            try:
                step()
                break
            except (NoSpace, StoreFailed) as error:
                failures.append(f"{type(error).__name__}: {error.message}")
        else:
            raise AssertionError(failures)
    store.close()
    return failures


def attempt(root: Path, point: str, action: str, ranged: bool) -> None:
    """What one fork does."""
    failpoints.arm(f"{point}={action}")
    try:
        failures = work(root, ranged)
    except PowerError as error:
        failures = [f"not repeatable: {error!r}"]
    fired = not failpoints.waiting()
    (root / "said").write_text(json.dumps({"fired": fired, "failures": failures}))


def main(directory: Path) -> int:
    os.fsync = lambda fd: None  # what was written survives the death of a process without it; the test is faster
    verified.SMALL = 2000  # weights get marks, texts do not
    (directory / "files").mkdir()
    (directory / "files" / "4.gguf").write_bytes(content(4))
    prepare(directory / "before")
    said = []
    for point in failpoints.POINTS:
        ways = (False, True) if point.startswith(("ingest", "commit")) else (False,)
        for action, ranged in itertools.product(failpoints.ACTIONS, ways):
            root = directory / f"{point}.{action}.{'ranged' if ranged else 'whole'}"
            shutil.copytree(directory / "before", root)
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    attempt(root, point, action, ranged)
                    code = 0
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            report = root / "said"
            told = json.loads(report.read_text()) if report.exists() else {"fired": killed, "failures": []}
            said.append({"point": point, "action": action, "killed": killed, "root": root.name, **told})
    sys.stdout.write(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
