"""Foretell: what a change of the wishes is going to load and unload, by playing it on a copy of the board (pure).

The copy runs the same decisions as the fleet. Whatever it spawns is ready at once and holds what it was admitted with,
whatever it stops is gone at once, and the requests on a runner that has to go have ended. No time passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from powerd.fleet.board import Board
from powerd.fleet.budget import HOST
from powerd.fleet.effects import Effect, Spawn, Stop
from powerd.fleet.entries import Phase, Runner
from powerd.fleet.state import FleetState
from powerd.fleet.terms import Forecast, Move, Wish
from powerd.protocol import DeviceShare, ReadBack

#: Steps after which a forecast ends; no board needs nearly as many.
ENOUGH = 10_000


def foretell(board: Board, wishes: Mapping[str, Wish], now: float) -> Forecast:
    """What happens if the catalog says `wishes` from `now` on. `board` stays as it is."""
    state = FleetState.on(board.copied())
    return _Play(state, now).play(wishes)


class _Play:
    def __init__(self, state: FleetState, now: float) -> None:
        self._state = state
        self._now = now
        self._moves: list[Move] = []
        self._drained: Counter[int] = Counter()  # by runner: requests that had to end first

    @property
    def _board(self) -> Board:
        return self._state.board

    def play(self, wishes: Mapping[str, Wish]) -> Forecast:
        before = self._reserved()
        self._run()
        self._moves.clear()  # what was under way before is no part of the change
        self._take(self._state.wishes(wishes, self._now))
        self._run()
        entries = self._board.entries.values()
        idle = [entry for entry in entries if entry.wish is not None and entry.waiting and entry.current is None]
        return Forecast(
            tuple(self._moves), before, self._reserved(), tuple((entry.model, entry.waiting) for entry in idle)
        )

    def _run(self) -> None:
        """Go on until every runner stays as it is."""
        for _ in range(ENOUGH):
            runner = unsettled(self._board)
            if runner is None:
                return
            self._drained[runner.id] += runner.users if runner.phase is Phase.READY else 0
            for event in following(self._state, runner, self._now):
                self._take(event())

    def _reserved(self) -> dict[str, int]:
        ledger = self._board.ledger
        return {device: ledger.reserved(device) for device in ledger.devices}

    def _take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Spawn):
                self._moves.append(_load(self._board.runners[effect.runner]))
            elif isinstance(effect, Stop):
                runner = self._board.runners[effect.runner]
                held = dict(self._board.ledger.held(runner.id))
                self._moves.append(_unload(runner, held, self._drained[runner.id]))


def unsettled(board: Board) -> Runner | None:
    """The oldest runner that cannot stay as it is: it loads, stops, or goes when its requests end."""
    runners = board.runners.values()
    return next((runner for runner in runners if runner.phase is not Phase.READY or runner.leaving), None)


def following(state: FleetState, runner: Runner, now: float) -> list[Callable[[], list[Effect]]]:
    """The events that bring an unsettled runner to where it is bound."""
    if runner.phase is Phase.LOADING:
        return [partial(state.ready, runner.id, _read_back(runner), 0, now)]
    if runner.phase is Phase.STOPPING:
        return [partial(state.exited, runner.id, "", now)]
    return [partial(state.release, ticket, now) for ticket in runner.leases]


def _load(runner: Runner) -> Move:
    entry = runner.entry
    reason = "request" if entry.waiters else "declared"
    why = f"{runner.deployment.context} tokens of context for {runner.deployment.parallel} at once"
    return Move("load", entry.model, entry.key, reason, why, dict(runner.need.by_device))


def _unload(runner: Runner, held: Mapping[str, int], requests: int) -> Move:
    return Move("unload", runner.entry.model, runner.entry.key, runner.reason or "", runner.why, held, requests)


def _read_back(runner: Runner) -> ReadBack:
    """What the runner would say if it held what it was admitted with."""
    deployment, sizes = runner.deployment, runner.need.by_device
    return ReadBack(
        context=deployment.context,
        cells=deployment.context * deployment.parallel,
        sequences=deployment.parallel,
        layers=deployment.shape.layers,
        gpu_layers=max(0, deployment.gpu_layers),
        kv_cache=deployment.kv_cache,
        flash_attention=deployment.flash_attention != "off",
        threads=deployment.threads,
        vocab=deployment.shape.vocab,
        trained_context=deployment.shape.trained_context,
        engine="",
        device=", ".join(sizes),
        rss=0,
        size=sum(sizes.values()),
        size_gpu=sum(size for device, size in sizes.items() if device != HOST),
        devices={device: DeviceShare(0, size) for device, size in sizes.items()},
    )
