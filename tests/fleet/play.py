"""Play: drives a FleetState by hand, without processes or time, and keeps what came of it.

Memory is counted in GiB: a deployment `model("a", 4)` needs exactly 4 GiB of "cpu", and each further 1024 tokens of
context another 1 GiB when `per_context` is set. `budgets` and `places` bring further devices in. `check` runs after
every event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from powerd.errors import PowerError
from powerd.fleet.budget import Estimate
from powerd.fleet.check import check
from powerd.fleet.effects import Effect, Emit, Grant, Loaded, Refuse, Spawn, Stop
from powerd.fleet.entries import Phase, Runner
from powerd.fleet.ledger import Ledger
from powerd.fleet.state import FleetState
from powerd.fleet.terms import FleetConfig, FleetEvent, Reason, Unload, Want, Wish
from powerd.protocol import Deployment, DeviceShare, ReadBack, Shape

GIB = 1 << 30


def model(
    name: str, gib: int = 1, *, context: int = 1024, parallel: int = 1, auto: bool = False, per_context: bool = False
) -> Deployment:
    """A deployment that needs `gib` GiB."""
    width = GIB // 1024 if per_context else 0
    shape = Shape(gib * GIB - context * parallel * width, 1, 0, width, 0, 1 << 20)
    return Deployment(f"/weights/{name}", name * 64, context, parallel, shape, context_auto=auto)


def embedder(name: str, gib: int = 1) -> Deployment:
    """An embedding model's deployment."""
    plain = model(name, gib)
    return msgspec.structs.replace(plain, shape=msgspec.structs.replace(plain.shape, pooling="mean", causal=False))


def wordy(plain: Deployment, vocab: int) -> Deployment:
    """The same with a vocabulary of so many words."""
    return msgspec.structs.replace(plain, shape=msgspec.structs.replace(plain.shape, vocab=vocab))


def read_back(deployment: Deployment, size: int = 1, devices: Mapping[str, int] | None = None) -> ReadBack:
    """What a well-behaved runner says of itself."""
    context, parallel = deployment.context, deployment.parallel
    shares = {device: DeviceShare(1, held) for device, held in (devices or {}).items()}
    rss = 0 if devices else 1
    return ReadBack(
        context, context * parallel, parallel, 1, 0, "f16", True, 1, 1, 1, "fake", "cpu", rss, size, 0, devices=shares
    )


@dataclass
class Play:
    """One state, its clock, and the effects so far."""

    budget: int = 10
    budgets: Mapping[str, int] = field(default_factory=dict)  # GiB of further devices
    places: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # GiB by device, by model
    config: FleetConfig = field(default_factory=FleetConfig)
    now: float = 0.0
    granted: list[int] = field(default_factory=list)
    loaded: list[int] = field(default_factory=list)
    refused: dict[int, PowerError] = field(default_factory=dict)
    spawned: list[Spawn] = field(default_factory=list)
    stopped: list[Stop] = field(default_factory=list)
    events: list[FleetEvent] = field(default_factory=list)
    grants: dict[int, Grant] = field(default_factory=dict)
    ticket: int = 0

    def __post_init__(self) -> None:
        budgets = {"cpu": self.budget, **self.budgets}
        ledger = Ledger({device: size * GIB for device, size in budgets.items()})
        self.state = FleetState(self.config, ledger, self._needs)

    def _needs(self, deployment: Deployment) -> Estimate:
        place = self.places.get(deployment.weights_digest[0])
        if place is None:
            shape = deployment.shape
            cells = deployment.context * deployment.parallel * shape.kv_width
            return Estimate(shape.weights_bytes, cells, 0, {"cpu": shape.weights_bytes + cells})
        sizes = {device: size * GIB for device, size in place.items()}
        return Estimate(sum(sizes.values()), 0, 0, sizes)

    def _take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Grant(ticket):
                    assert ticket not in self.outcomes
                    self.granted.append(ticket)
                    self.grants[ticket] = effect
                case Loaded(ticket):
                    assert ticket not in self.outcomes
                    self.loaded.append(ticket)
                case Refuse(ticket, error):
                    assert ticket not in self.outcomes
                    self.refused[ticket] = error
                case Spawn():
                    self.spawned.append(effect)
                case Stop():
                    self.stopped.append(effect)
                case Emit(event):
                    self.events.append(event)
        check(self.state.board)

    @property
    def outcomes(self) -> set[int]:
        """Every ticket that has got its answer."""
        return {*self.granted, *self.loaded, *self.refused}

    # ------------------------------------------------------------ requests

    def ask(self, deployment: Deployment, **want: Any) -> int:
        """A request; returns its ticket."""
        self.ticket += 1
        name = want.pop("model", deployment.weights_digest[0])
        self._take(self.state.request(self.ticket, Want(deployment, name, **want), self.now))
        return self.ticket

    def load(self, deployment: Deployment, hold: float | None = None) -> int:
        """The operator's `load`."""
        self.ticket += 1
        want = Want(deployment, deployment.weights_digest[0])
        self._take(self.state.load(self.ticket, want, hold, self.now))
        return self.ticket

    def release(self, ticket: int) -> None:
        """A lease ends."""
        self._take(self.state.release(ticket, self.now))

    def cancel(self, ticket: int) -> None:
        """A waiting request goes away."""
        self._take(self.state.cancel(ticket, self.now))

    # ------------------------------------------------------------ runners

    def runner(self, name: str, phase: Phase | None = None) -> Runner:
        """The newest runner of a model, of that phase if one is given."""
        found = [r for r in self.state.board.runners.values() if r.deployment.weights_digest[0] == name]
        return [r for r in found if phase is None or r.phase is phase][-1]

    def running(self) -> str:
        """Models by phase: loading in capitals, stopping with a `-`, leaving with a `~`."""
        words = []
        for runner in self.state.board.runners.values():
            name = runner.deployment.weights_digest[0]
            if runner.phase is Phase.STOPPING:
                name = f"-{name}"
            elif runner.leaving is not None:
                name = f"~{name}"
            words.append(name.upper() if runner.phase is Phase.LOADING else name)
        return " ".join(words)

    def ready(self, name: str, size: int = 1, devices: Mapping[str, int] | None = None) -> None:
        """The loading runner of this model is ready, and holds `size` bytes, or `devices`."""
        runner = self.runner(name, Phase.LOADING)
        devices = devices or (runner.need.by_device if name in self.places else None)
        self._take(self.state.ready(runner.id, read_back(runner.deployment, size, devices), 1, self.now))

    def up(self, deployment: Deployment, seconds: float = 0.0, **want: Any) -> int:
        """A request for a model that is not loaded and takes `seconds` to load, until it holds its lease."""
        ticket = self.ask(deployment, **want)
        self.wait(seconds)
        self.ready(deployment.weights_digest[0])
        assert ticket in self.granted
        return ticket

    def idle(self, deployment: Deployment, seconds: float = 0.0, **want: Any) -> None:
        """Load a model by a request that has ended."""
        self.release(self.up(deployment, seconds, **want))

    def canary(self, deployment: Deployment, seconds: float = 5.0) -> int:
        """A canary; returns its ticket."""
        return self.ask(deployment, quiet=True, deadline_s=seconds)

    def fail_load(self, name: str, reason: str = "bad file", *, oom: bool = False) -> None:
        """The loading runner says LoadFailed and exits."""
        runner = self.runner(name, Phase.LOADING)
        self._take(self.state.load_failed(runner.id, reason, self.now, out_of_memory=oom))
        self._take(self.state.exited(runner.id, "exit status 1", self.now))

    def exit(self, name: str, how: str = "exit status 0", *, out_of_memory: bool = False) -> None:
        """The oldest runner of this model that is stopping, else the newest there is, is gone."""
        found = [r for r in self.state.board.runners.values() if r.deployment.weights_digest[0] == name]
        stopping = [r for r in found if r.phase is Phase.STOPPING]
        number = (stopping or found[::-1])[0].id
        self._take(self.state.exited(number, how, self.now, out_of_memory=out_of_memory))

    # ------------------------------------------------------------ the owner, and time

    def wish(self, *wishes: Wish) -> None:
        """What the catalog says."""
        self._take(self.state.wishes({wish.deployment.key: wish for wish in wishes}, self.now))

    def unload(self, deployment: Deployment, reason: Reason = Reason.OPERATOR, **how: Any) -> Unload:
        """Unload by hand."""
        answer, effects = self.state.unload(deployment.key, reason, self.now, **how)
        self._take(effects)
        return answer

    def do(self, event: Callable[[FleetState], list[Effect]]) -> None:
        """Any other event."""
        self._take(event(self.state))

    def wait(self, seconds: float, *, heard: bool = True) -> None:
        """Let time pass, ticking when something is due. `heard`: busy runners send frames all the while."""
        end = self.now + seconds
        while (due := self.state.due(self.now)) <= end:
            assert due > self.now or due == self.state.due(self.now), "time stands still"
            self.now = max(due, self.now)
            self.tick(heard=heard)
            assert self.state.due(self.now) > self.now, "what was due is done"
        self.now = end
        self.tick(heard=heard)

    def tick(self, *, heard: bool = True) -> None:
        """The timer."""
        times = dict.fromkeys(self.state.board.runners, self.now) if heard else {}
        self._take(self.state.tick(self.now, times))

    # ------------------------------------------------------------ what to compare

    def said(self, kind: str) -> list[str]:
        """`model reason` of every event of a kind."""
        return [f"{event.model} {event.reason}".strip() for event in self.events if event.kind == kind]

    def waiting(self) -> list[int]:
        """Tickets still waiting."""
        return sorted(self.state.board.waiting)


def wish(deployment: Deployment, *names: str, **how: Any) -> Wish:
    """A wish for a deployment, named after its weights unless names are given."""
    return Wish(deployment, names or (deployment.weights_digest[0],), **how)
