"""The store against a dict: any order of pulls, creations, copies, deletions, leases, collections and restarts."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from powerd.digest import Digest
from powerd.errors import Conflict, NotFound
from powerd.names import Name
from powerd.store import collect, files, verified
from powerd.store.collect import Lease
from powerd.store.store import Store
from tests.store.deeds import content, create, manifest, pull, shown, wrong_blobs
from tests.store.test_taking_away import Clock

NAMES = st.sampled_from(["a", "b", "c"])
SEEDS = st.integers(0, 3)
TEXTS = st.sampled_from(["one", "two", "three"])
CLOCK = Clock()


class StoreMachine(RuleBasedStateMachine):
    """`models` is what should be there: each name's text and the digests its manifest names."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="powerd-store-"))
        self.store = self._opened()
        self.models: dict[str, tuple[str, frozenset[Digest]]] = {}
        self.leases: list[Lease] = []
        self.corrupt: set[Digest] = set()
        self.torn = False

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    def _opened(self) -> Store:
        store = Store(self.directory / "store")
        store.open()
        return store

    def _note(self, name: str, text: str) -> None:
        found = self.store.find(Name.parse(name))
        assert found is not None
        path = self.store.root / "manifests" / found.name.path
        named = collect.references([path])
        assert named is not None
        self.models[name] = (text, frozenset(named))

    def _servable(self) -> dict[str, str]:
        """Models whose weights are corrupt are listed all the same: only loading them is refused."""
        return {name: text for name, (text, _) in self.models.items()}

    # ------------------------------------------------------------ changes

    @rule(name=NAMES, seed=SEEDS, text=TEXTS, ranged=st.booleans())
    def pull(self, name: str, seed: int, text: str, ranged: bool) -> None:
        pull(self.store, name, seed, text, ranged)
        self.corrupt.discard(Digest.of(content(seed)))
        self._note(name, text)
        path = self.store.root / "manifests/registry.ollama.ai/library" / name / "latest"
        assert path.read_bytes() == manifest(seed, text)

    @rule(name=NAMES, source=NAMES, text=TEXTS)
    def create(self, name: str, source: str, text: str) -> None:
        if source not in self.models:
            with pytest.raises(NotFound):
                create(self.store, name, source, text)
        elif self.models[source][1] & self.corrupt:
            with pytest.raises(Conflict, match="is corrupt, re-pull"):
                create(self.store, name, source, text)
        else:
            create(self.store, name, source, text)
            self._note(name, text)

    @rule(source=NAMES, name=NAMES)
    def copy(self, source: str, name: str) -> None:
        if source not in self.models:
            with pytest.raises(NotFound):
                self.store.copy(Name.parse(source), Name.parse(name))
        else:
            self.store.copy(Name.parse(source), Name.parse(name))
            self.models[name] = self.models[source]

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name not in self.models:
            with pytest.raises(NotFound):
                self.store.delete(Name.parse(name))
            return
        _, named = self.models.pop(name)
        gone = set(self.store.delete(Name.parse(name)))
        assert gone <= named
        assert not gone & self._needed()
        if self.torn:
            assert not gone

    @rule()
    def tear(self) -> None:
        path = self.store.root / "manifests/registry.ollama.ai/library/torn/latest"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"schemaVersion":2,')
        self.torn = True

    @precondition(lambda self: self.torn)
    @rule()
    def mend(self) -> None:
        assert self.store.delete(Name.parse("torn")) == []
        self.torn = False

    @rule(seed=SEEDS)
    def corrupt_weights(self, seed: int) -> None:
        digest = Digest.of(content(seed))
        path = self.store.root / "blobs" / digest.blob_name
        if path.exists():
            path.chmod(0o600)
            path.write_bytes(bytes(len(content(seed)) - 1) + b"!")
            path.write_bytes(content(seed)[:-1] + b"!")  # still a GGUF
            self.corrupt.add(digest)

    @precondition(lambda self: self.corrupt)
    @rule()
    def repair(self) -> None:
        report = self.store.fsck(repair=True)
        moved = {finding.subject for finding in report.findings if finding.moved_to}
        assert moved == {str(digest) for digest in self.corrupt}
        for digest in self.corrupt:
            for name in [name for name, (_, named) in self.models.items() if digest in named]:
                assert self.store.find(Name.parse(name)) is None
        for seed in range(4):
            if Digest.of(content(seed)) in self.corrupt:
                self.store.put(content(seed))
        self.corrupt.clear()

    # ------------------------------------------------------------ keeping and collecting

    @rule(seed=SEEDS)
    def lease(self, seed: int) -> None:
        self.leases.append(self.store.lease([Digest.of(content(seed))]))

    @precondition(lambda self: self.leases)
    @rule(at=st.integers(0, 10))
    def end_lease(self, at: int) -> None:
        self.leases.pop(at % len(self.leases)).close()

    @rule(seconds=st.sampled_from([1.0, 1800.0, collect.LEASE * 2]))
    def time_passes(self, seconds: float) -> None:
        CLOCK.now += seconds

    @rule()
    def collect_noted(self) -> None:
        gone = set(self.store.collect([]))
        assert not gone & self._needed()

    @rule()
    def collect_everything(self) -> None:
        CLOCK.now += collect.LEASE * 2
        gone = set(self.store.collect([], grace=0))
        assert not gone & self._needed()
        if self.torn:
            assert not gone
        else:
            left = {Digest.parse(path.name) for path in (self.store.root / "blobs").iterdir()}
            assert left - self._needed() == set()
            self.corrupt &= left

    @rule()
    def restart(self) -> None:
        for lease in self.leases:
            lease.close()
        self.leases.clear()
        self.store.close()
        self.store = self._opened()

    # ------------------------------------------------------------ what always holds

    def _needed(self) -> set[Digest]:
        named: set[Digest] = set().union(*(digests for _, digests in self.models.values()))
        return named | {digest for lease in self.leases for digest in lease.digests}

    @invariant()
    def the_models_are_those_of_the_dict(self) -> None:
        assert shown(self.store) == self._servable()
        assert len(self.store.problems) == int(self.torn)
        assert len(self.store.unreadable()) == int(self.torn)

    @invariant()
    def every_blob_matches_its_name_and_corrupt_ones_are_refused(self) -> None:
        self.corrupt = {digest for digest in self.corrupt if self.store.blob(digest) is not None}
        assert set(wrong_blobs(self.store.root)) == {digest.blob_name for digest in self.corrupt}
        for seed in range(4):
            digest = Digest.of(content(seed))
            here = (self.store.root / "blobs" / digest.blob_name).exists()
            assert self.store.intact(digest) == (here and digest not in self.corrupt)

    @invariant()
    def nothing_a_model_needs_is_gone(self) -> None:
        for _, named in self.models.values():
            assert all(self.store.blob(digest) is not None for digest in named)
        assert list((self.store.root / ".powerd" / "ingest").iterdir()) == []


def test_any_order_of_changes_agrees_with_a_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "time", CLOCK)
    monkeypatch.setattr(verified, "SMALL", 2000)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(files, "sync_directory", lambda _: None)
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
