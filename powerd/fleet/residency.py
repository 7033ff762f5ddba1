"""Who may come into memory and who has to leave for it (pure).

Demands are looked at in order. A demand that must wait claims the room it waits for, so that a later, smaller one
cannot take it away; one is let in only when its bytes are free on every device at this moment and every claim before
it still holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from powerd.fleet.budget import Estimate
from powerd.fleet.entries import NEVER, Entry, Phase, Runner, Turn
from powerd.fleet.ledger import Ledger, Sizes
from powerd.protocol import Deployment
from powerd.quantities import show_bytes

#: A runner that took longer than `min_residency` to load serves its own queue for as long as that, up to this.
LONGEST_RESIDENCY = 30.0


@dataclass(frozen=True, slots=True)
class Demand:
    """An entry that should get a runner. `turn` is that of its first request; NEVER = it is only wished for.

    `extra`: it has its runner, which needs this besides what it holds.
    """

    entry: Entry
    deployment: Deployment
    need: Estimate
    turn: Turn
    extra: bool = False

    @property
    def wish(self) -> bool:
        """Whether nobody waits for it."""
        return self.turn == NEVER

    @property
    def sizes(self) -> Sizes:
        """Bytes it must be promised, by device."""
        return self.need.by_device

    @property
    def seats(self) -> int:
        """How many more models are loaded after it: none when it has or replaces its own runner, or only embeds."""
        return 0 if self.extra or self.entry.current or self.entry.embeds else 1


class Room:
    """The memory and the model count as they stand, and as they will when everything decided has happened."""

    def __init__(self, ledger: Ledger, runners: Mapping[int, Runner], max_models: int) -> None:
        self._ledger = ledger
        self._runners = runners.values()  # a live view: who is let in or told to stop counts from then on
        self._max_models = max_models
        self._leaving: set[int] = set()
        self._claimed: Counter[str] = Counter()
        self._seats_claimed = 0

    def claim(self, demand: Demand) -> None:
        """Keep room for a demand that has to wait."""
        self._claimed.update(demand.sizes)
        self._seats_claimed += demand.seats

    def unclaimed(self, device: str) -> int:
        """Bytes of `device` that are free and that nobody waits for; negative when more is waited for."""
        return self._ledger.free(device) - self._claimed[device]

    def leave(self, runner: Runner) -> None:
        """Count on this runner's room: it was told to go as soon as it is idle."""
        self._leaving.add(runner.id)

    def admits(self, demand: Demand) -> bool:
        """Whether it can be let in at this moment."""
        seated = not self._max_models or len(self._seated(demand, ())) <= self._max_models
        return seated and self._ledger.fits(demand.sizes) and not self._short(demand, [])

    def never(self, demand: Demand) -> str:
        """Why the demand can never be met as things are declared, or "" when it can."""
        pins = [runner for runner in self._runners if runner.staying and runner.entry.pinned]
        pins = [runner for runner in pins if runner.entry is not demand.entry]
        for device, size in demand.sizes.items():
            here = [runner for runner in pins if self._held(runner, device)]
            if size > self._ledger.budget(device) - sum(self._held(runner, device) for runner in here):
                return _too_big(demand, self._ledger, device, here)
        seated = {runner.entry.key for runner in pins if not runner.entry.embeds}
        if self._max_models and not demand.entry.embeds and len(seated) + 1 > self._max_models:
            return (
                f"model '{demand.entry.model}' cannot be loaded: max_loaded_models is {self._max_models} and "
                f"{names(pins)} cannot be unloaded, pinned by keep_alive: always"
            )
        return ""

    def victims(self, demand: Demand, candidates: list[Runner]) -> list[Runner] | None:
        """The fewest of `candidates`, taken in their order, whose room meets the demand; None when all do not.

        Only those are taken that free a device, or a seat, which lacks.
        """
        taken: list[Runner] = []
        for runner in candidates:
            if not self._short(demand, taken):
                break
            if runner.id not in self._leaving and self._helps(runner, demand, taken):
                taken.append(runner)
        if self._short(demand, taken):
            return None
        for runner in reversed(taken[:-1]):
            rest = [other for other in taken if other is not runner]
            taken = taken if self._short(demand, rest) else rest
        return taken

    def lacks(self, demand: Demand, taken: Collection[Runner] = ()) -> dict[str, int]:
        """Bytes missing by device once everything decided has happened, `taken` have gone and all claims are met."""
        going = [runner for runner in self._runners if not runner.staying or runner.id in self._leaving]
        missing = {}
        for device, size in demand.sizes.items():
            coming = sum(self._held(runner, device) for runner in (*going, *taken))
            lack = size + self._claimed[device] - self._ledger.free(device) - coming
            if size and lack > 0:
                missing[device] = lack
        return missing

    def _helps(self, runner: Runner, demand: Demand, taken: list[Runner]) -> bool:
        frees = any(self._held(runner, device) for device in self.lacks(demand, taken))
        seated = runner.entry is not demand.entry and not runner.entry.embeds
        return frees or (self._crowded(demand, taken) and seated)

    def _short(self, demand: Demand, taken: list[Runner]) -> bool:
        return bool(self.lacks(demand, taken)) or self._crowded(demand, taken)

    def _crowded(self, demand: Demand, taken: list[Runner]) -> bool:
        """Whether there are too many models once everything decided has happened and `taken` have gone."""
        gone = self._leaving | {runner.id for runner in taken}
        seated = len(self._seated(demand, gone)) + self._seats_claimed
        counts = bool(self._max_models) and not demand.extra and not demand.entry.embeds
        return counts and seated > self._max_models

    def _seated(self, demand: Demand, gone: Collection[int]) -> set[str]:
        """The keys of the models that count, with the demand met; embedding models do not."""
        staying = [runner.entry for runner in self._runners if runner.staying and runner.id not in gone]
        return {entry.key for entry in (*staying, demand.entry) if not entry.embeds}

    def _held(self, runner: Runner, device: str) -> int:
        return self._ledger.held(runner.id).get(device, 0)


# ---------------------------------------------------------------- who leaves


def candidates(demand: Demand, runners: Iterable[Runner], now: float, residency: float) -> list[Runner]:
    """Who could leave for this demand, the first to go first: never loading, never pinned.

    Its own smaller runner goes first. Then idle before busy, lowest priority, not declared `loaded`, and the one with
    the least to lose by `loss`. A mere wish moves only idle runners, of lower priority unless it is pinned.
    """
    able = [runner for runner in runners if runner.phase is Phase.READY and runner.staying]
    able = [runner for runner in able if runner.entry is demand.entry or not runner.entry.pinned]
    able = [runner for runner in able if not spares(demand.entry, runner.entry)]
    if demand.wish:
        able = [runner for runner in able if not runner.leases and not busy(runner, demand, now, residency)]
        if not demand.entry.pinned:
            able = [runner for runner in able if runner.entry.priority < demand.entry.priority]
    return sorted(able, key=lambda runner: _order(runner, demand, now, residency))


def idlers(demand: Demand, runners: Iterable[Runner], now: float, residency: float) -> list[Runner]:
    """Who could leave at this moment, the first to go first: others that are ready, idle and not pinned."""
    able = [runner for runner in runners if runner.phase is Phase.READY and runner.staying and not runner.leases]
    able = [runner for runner in able if runner.entry is not demand.entry and not runner.entry.pinned]
    able = [runner for runner in able if not busy(runner, demand, now, residency)]
    return sorted(able, key=lambda runner: _order(runner, demand, now, residency))


def spares(demanding: Entry, entry: Entry) -> bool:
    """Whether one model must not be unloaded for the other: one that chats, for an embedding model without priority.

    A question that is looked up while somebody chats must not unload what they chat with.
    """
    return demanding.embeds and not entry.embeds and entry.priority >= demanding.priority


def busy(runner: Runner, demand: Demand, now: float, residency: float) -> bool:
    """Whether somebody uses it, or comes before this demand in the queue for it. A canary is nobody."""
    if runner.users:
        return True
    fresh = now < rest(runner, residency)
    return any(fresh or waiter.turn < demand.turn for waiter in runner.queue() if not waiter.want.quiet)


def rest(runner: Runner, residency: float) -> float:
    """Until when a ready runner serves its own queue, whoever waits: `residency` seconds, or as long as it loaded."""
    return runner.ready_at + max(residency, min(runner.load_seconds, LONGEST_RESIDENCY))


def loss(runner: Runner, now: float) -> float:
    """What evicting an idle runner costs: seconds to load it again for each second that nobody has missed it.

    A model that has idled for long is likely not to be asked for soon, and one that loads fast is quickly back.
    """
    return runner.entry.load_seconds / max(now - runner.used, 1e-3)


def parting(runner: Runner, model: str, now: float) -> str:
    """Why this runner had to leave for `model`, as a phrase."""
    entry = runner.entry
    return (
        f"evicted for {model}: of priority {entry.priority}, idle for {max(0.0, now - runner.used):.1f} s and loaded "
        f"in {entry.load_seconds:.1f} s, it had the least to lose"
    )


def _order(runner: Runner, demand: Demand, now: float, residency: float) -> tuple[bool, bool, int, bool, float, float]:
    entry = runner.entry
    in_use = busy(runner, demand, now, residency)
    return (entry is not demand.entry, in_use, entry.priority, entry.kept, loss(runner, now), runner.used)


# ---------------------------------------------------------------- sentences


def _too_big(demand: Demand, ledger: Ledger, device: str, pins: list[Runner]) -> str:
    text = f"model '{demand.entry.model}' does not fit: {needed(demand.deployment, demand.need)} and "
    text += f"{named(ledger, device)} is {show_bytes(ledger.budget(device))}"
    if pins:
        held = sum(ledger.held(runner.id)[device] for runner in pins)
        text += f", of which {show_bytes(held)} are held by {names(pins)}, pinned by keep_alive: always"
    return text


def needed(deployment: Deployment, need: Estimate) -> str:
    """How much a deployment needs, what for and where."""
    places = {device: size for device, size in need.by_device.items() if size}
    where = ", ".join(f"{show_bytes(size)} on {device}" for device, size in places.items())
    return (
        f"with {deployment.context} tokens of context for {deployment.parallel} at once it needs "
        f"{show_bytes(need.total)} (weights {show_bytes(need.weights)}, cells {show_bytes(need.cells)}, "
        f"compute {show_bytes(need.compute)})" + (f", {where}" if len(places) > 1 else "")
    )


def named(ledger: Ledger, device: str) -> str:
    """The budget of a device, by the device's id where there are several."""
    return "the memory budget" if ledger.devices == (device,) else f"the memory budget of {device}"


def names(runners: Iterable[Runner]) -> str:
    """The models of these runners."""
    return ", ".join(f"'{name}'" for name in sorted({runner.entry.model for runner in runners}))
