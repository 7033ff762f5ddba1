"""R17: pull, create, copy, delete, collection and a running model at once end as some order of them would."""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from powerd.errors import NotFound
from powerd.names import Name
from powerd.store import verified
from powerd.store.store import Store
from tests.store.deeds import create, pull, shown, wrong_blobs

NAMES = ("a", "b", "c")
SECONDS = 2.0


@dataclass
class Deed:
    """Something a thread did. `text` None: the name was taken away; "?": it got what another name had."""

    name: str
    text: str | None
    began: float
    ended: float


class Worker(threading.Thread):
    """Changes the store until `until`, and remembers what it did."""

    def __init__(self, store: Store, number: int, until: float) -> None:
        super().__init__()
        self.store, self.number, self.until = store, number, until
        self.deeds: list[Deed] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        dice = random.Random(self.number)
        try:
            while time.monotonic() < self.until:
                self.step(dice, f"{self.number}.{len(self.deeds)}")
        except BaseException as error:
            self.failure = error

    def step(self, dice: random.Random, text: str) -> None:
        name, source, began = dice.choice(NAMES), dice.choice(NAMES), time.monotonic()
        result: str | None = text
        try:
            match dice.choice(("pull", "ranged", "create", "copy", "delete", "collect", "load")):
                case "pull":
                    pull(self.store, name, dice.randrange(4), text)
                case "ranged":
                    pull(self.store, name, 10 * self.number + dice.randrange(3), text, ranged=True)
                case "create":
                    create(self.store, name, source, text)
                case "copy":
                    result = "?"
                    self.store.copy(Name.parse(source), Name.parse(name))
                case "delete":
                    result = None
                    self.store.delete(Name.parse(name))
                case "collect":
                    self.store.collect([], grace=0)
                    return
                case "load":
                    self.load(name)
                    return
        except NotFound:
            return
        self.deeds.append(Deed(name, result, began, time.monotonic()))

    def load(self, name: str) -> None:
        """What is leased stays, whatever the others do."""
        found = self.store.find(Name.parse(name))
        if found is None:
            return
        with self.store.lease([found.weights_digest]):
            if self.store.blob(found.weights_digest) is not None:
                for _ in range(3):
                    time.sleep(0.001)
                    self.store.check_blob(found.weights_digest)


def test_r17_everything_at_once_ends_as_some_order_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "SMALL", 2000)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    store = Store(tmp_path / "store")
    store.open()
    until = time.monotonic() + SECONDS
    workers = [Worker(store, number, until) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for worker in workers:
        if worker.failure is not None:
            raise worker.failure
    deeds = [deed for worker in workers for deed in worker.deeds]
    assert len(deeds) > 50
    held = shown(store)
    assert store.problems == []
    assert wrong_blobs(store.root) == []
    assert list((store.root / ".powerd" / "ingest").iterdir()) == []
    for name in NAMES:
        of_name = [deed for deed in deeds if deed.name == name]
        latest_start = max(deed.began for deed in of_name)
        last = [deed for deed in of_name if deed.ended >= latest_start]  # any of these may have come last
        possible = {deed.text for deed in last}
        assert held.get(name) in possible or "?" in possible, name
    store.close()
    again = Store(store.root)
    again.open()
    again.collect([], grace=0)
    assert again.fsck().findings == ()
    assert shown(again) == held
    again.close()
