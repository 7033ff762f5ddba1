"""Updates: whether the sources of declared models have moved since, and fetching one that has, when it is asked for.

Nothing here happens by itself: what a tag means stays as it was resolved until the operator says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from powerd.catalog.show import redacted
from powerd.digest import Digest
from powerd.errors import Conflict, NotFound, PowerError
from powerd.reconcile import act
from powerd.reconcile.entry import Entry, Tools
from powerd.reconcile.generations.generation import Generations
from powerd.reconcile.generations.pin import Pins, Refused
from powerd.reconcile.generations.records import Resolved, resolved
from powerd.reconcile.making import modelfiles
from powerd.sources.upstream import Upstream, upstream

PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class News:
    """What a model's source has, against what the accepted generation has of it."""

    model: str
    source: str
    state: Literal["current", "moved", "updated", "unknown"]
    message: str
    have: str = ""
    there: str = ""


class Updates:
    """Asks sources, on request; what it heard last stands in `Entry.moved` until the model changes."""

    def __init__(self, entries: Mapping[str, Entry], generations: Generations, tools: Tools) -> None:
        self._entries = entries
        self._generations = generations
        self._tools = tools
        #: Told of each model whose source has moved, as an event.
        self.moved: Callable[[str, str], None] = lambda _model, _message: None

    async def check(self, names: list[str]) -> list[News]:
        """Ask the sources of these models, or of all; nothing is fetched. Raises NotFound for one not declared."""
        return list(await asyncio.gather(*(self._check(entry) for entry in self._chosen(names))))

    async def update(self, names: list[str]) -> list[News]:
        """Fetch what these models' sources have by now, beside what they had; the reconciler then takes it up.

        One after the other. Raises NotFound for one not declared.
        """
        return [await self._update(entry) for entry in self._chosen(names)]

    def _chosen(self, names: list[str]) -> list[Entry]:
        for name in names:
            if name not in self._entries:
                raise NotFound(f'"{name}" is not declared in {self._generations.path}')
        chosen = [self._entries[name] for name in names or self._entries]
        return [entry for entry in chosen if entry.want is not None and entry.want.state != "absent"]

    async def _check(self, entry: Entry) -> News:
        assert entry.want is not None
        spec, known = entry.want, self._generations.resolved.get(entry.name)
        shown = redacted(spec.source)
        if known is None:
            return News(entry.name, shown, "unknown", "it has not been fetched yet")
        reach = self._tools.reach
        try:
            source = act.source_of(spec, self._generations.path.parent)
            if source.kind == "modelfile":
                source = (await asyncio.to_thread(modelfiles.read, source, reach.store)).base
            async with asyncio.timeout(PATIENCE):
                there = await upstream(source, reach.outbound, reach.hub, quantization=spec.quantization or "")
        except (PowerError, Refused) as error:
            why = error.trouble.message if isinstance(error, Refused) else error.message
            return News(entry.name, shown, "unknown", why)
        except TimeoutError:
            return News(entry.name, shown, "unknown", f"the source did not answer within {PATIENCE:g} s")
        return self._compared(entry, shown, known, there)

    def _compared(self, entry: Entry, shown: str, known: Resolved, there: Upstream) -> News:
        have = known.revision or known.identity
        if not have or not there.revision:
            return News(entry.name, shown, "unknown", "the source does not say which version it has")
        if have == there.revision or (
            there.weights is not None and str(there.weights) == known.origin and not known.inherited
        ):
            entry.moved = ""
            return News(entry.name, shown, "current", "nothing newer is there", _short(have), _short(there.revision))
        message = f"moved from {_short(have)} to {_short(there.revision)}; `powerctl update {entry.name}` fetches it"
        if entry.moved != message:
            entry.moved = message
            self.moved(entry.name, message)
        return News(entry.name, shown, "moved", message, _short(have), _short(there.revision))

    async def _update(self, entry: Entry) -> News:
        assert entry.want is not None
        spec, shown = entry.want, redacted(entry.want.source)
        known, locked = self._generations.resolved.get(entry.name), entry.pins.locked
        if self._generations.hold is not None:
            raise Conflict(self._generations.hold.message)
        if known is None or entry.fetch is not None:
            return News(entry.name, shown, "unknown", "it is being fetched for the first time")
        try:
            directory = self._generations.path.parent
            fetched = await act.bring(self._tools, entry, spec, directory, Pins(), afresh=True)
        except (PowerError, Refused) as error:
            why = error.trouble.message if isinstance(error, Refused) else error.message
            return News(entry.name, shown, "unknown", why)
        if entry.want is not spec:
            raise Conflict(f'"{entry.name}" was changed in {self._generations.path} meanwhile; run the update again')
        entry.moved = ""
        one = replace_manifest(resolved(fetched, Digest("0" * 64)), known)
        if one == known:
            return News(entry.name, shown, "current", "nothing newer is there", known.revision, one.revision)
        if locked is not None and locked.digest != one.origin:
            raise Conflict(
                f'models.lock.yaml has "{entry.name}" at {Digest.parse(locked.digest).short}: take its entry out, '
                f"update again, then run `powerctl lock`"
            )
        await self._generations.renew(entry.name, one)
        message = f"generation {self._generations.number} takes up {fetched.origin.short}"
        return News(entry.name, shown, "updated", message, _short(known.revision), _short(one.revision))


def replace_manifest(one: Resolved, known: Resolved) -> Resolved:
    """What was resolved anew, with the old composition's digest until the new one is there."""
    return msgspec.structs.replace(one, manifest=known.manifest)


def _short(revision: str) -> str:
    return revision.removeprefix("sha256:")[:12] if len(revision) > 20 else revision
