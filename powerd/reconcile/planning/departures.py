"""Departures: which blobs nothing will need any more once a file is taken over, and what they wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from powerd.digest import Digest
from powerd.reconcile.generations.generation import Generations, Judged
from powerd.reconcile.generations.records import Resolved, blobs
from powerd.reconcile.planning.plan import Deletion
from powerd.reconcile.step import Fetched
from powerd.store.store import Store


@dataclass(frozen=True, slots=True)
class Departures:
    """What names blobs now and afterwards. Sizes in bytes."""

    sizes: Mapping[Digest, int]  # of every blob that a manifest or a generation names
    users: Mapping[Digest, frozenset[str]]  # the names of the models whose manifests name it
    kept: Mapping[Digest, int]  # the newest generation that will still be kept and needs it
    leaving: frozenset[Digest]  # what only generations need that will be forgotten
    keep: int

    @classmethod
    def of(cls, store: Store, generations: Generations, judged: Judged, following: int) -> Departures:
        """Look at the store and the kept generations. Blocking."""
        sizes: dict[Digest, int] = {}
        users: dict[Digest, set[str]] = {}
        for stored in store.models():
            for layer in stored.layers:
                sizes[layer.digest] = layer.size
                users.setdefault(layer.digest, set()).add(stored.name.key)
        history = generations.history
        numbers = sorted({record.number for record in history.records()} | ({following} if following else set()))
        kept: dict[Digest, int] = {}
        for number in numbers[-history.keep :]:
            known = judged.resolved if number == following else history.resolved(number)
            kept |= dict.fromkeys(_needed(known), number)
        leaving: set[Digest] = set()
        for number in numbers[: -history.keep]:
            leaving |= _needed(history.resolved(number))
        leaving -= kept.keys() | users.keys()
        for digest in leaving | kept.keys():
            path = store.blob(digest)
            sizes.setdefault(digest, path.stat().st_size if path is not None else 0)
        named = {digest: frozenset(names) for digest, names in users.items()}
        return cls(sizes, named, kept, frozenset(leaving), history.keep)

    def blobs(self, name: str, fetched: Fetched) -> tuple[Deletion, ...]:
        """What becomes of the bytes that a model was made of, when nothing is made of them any more."""
        mine = {fetched.weights, *(layer.digest for layer in fetched.inherited)}
        alone = {digest for digest in mine if len(self.users.get(digest, ())) <= 1}
        stay = {digest for digest in alone if digest in self.kept}
        told = []
        if stay:
            last = max(self.kept[digest] for digest in stay)
            when = f"kept for rollback until generation {last} is forgotten ({self.keep} are kept)"
            told.append(Deletion("blobs", self._size(stay), when, name))
        if alone - stay:
            told.append(Deletion("blobs", self._size(alone - stay), "at the next collection, an hour later", name))
        return tuple(told)

    def forgotten(self) -> tuple[Deletion, ...]:
        """What goes with the oldest generation."""
        size = self._size(self.leaving)
        when = "at the next collection, an hour later: the oldest generation is forgotten"
        return (Deletion("blobs", size, when),) if size else ()

    def _size(self, digests: set[Digest] | frozenset[Digest]) -> int:
        return sum(self.sizes.get(digest, 0) for digest in digests)


def _needed(known: Mapping[str, Resolved]) -> set[Digest]:
    needed: set[Digest] = set()
    for one in known.values():
        try:
            needed |= blobs(one)
        except ValueError:
            continue
    return needed
