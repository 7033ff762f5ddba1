"""Standstill: the last generation without a daemon, for a plan: what is composed, and a fleet in which nothing runs.

It reads the state and the store beside whoever holds them, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from powerd.fleet.budget import Estimate, estimate
from powerd.fleet.devices import Device
from powerd.fleet.foretell import following, foretell, unsettled
from powerd.fleet.ledger import Ledger
from powerd.fleet.state import FleetState
from powerd.fleet.terms import FleetConfig, Forecast, Wish
from powerd.protocol import Deployment
from powerd.reconcile import act
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.entry import Entry
from powerd.reconcile.generations.generation import Generations
from powerd.reconcile.making.compose import composed_from, declared_offer
from powerd.reconcile.planning.planning import Ground
from powerd.reconcile.reach import Reach
from powerd.reconcile.wishes import wishes

#: More moves than any start takes.
_ENOUGH = 10_000


@dataclass(frozen=True, slots=True)
class Machine:
    """What runners could have here."""

    config: FleetConfig
    devices: Sequence[Device]
    needs: Callable[[Deployment], Estimate] = estimate


def entries_of(generations: Generations, reach: Reach, node: NodeDefaults) -> dict[str, Entry]:
    """The entries a daemon would have once it had put on offer what is composed. Blocking."""
    entries = {}
    for name, spec in generations.catalog.models.items():
        entry = entries[name] = Entry(name, spec, spec, generations.number, pins=generations.pins(name, spec))
        stored = reach.store.find(spec.name)
        if stored is not None and composed_from(stored) is not None and spec.state != "absent":
            entry.offer, entry.offered_spec = declared_offer(spec, stored, node), spec
    return entries


def ground_of(
    generations: Generations, entries: Mapping[str, Entry], reach: Reach, node: NodeDefaults, machine: Machine
) -> Ground:
    """The ground of a plan that starts where a daemon of this generation would be, once everything is loaded."""
    memory = [(device.id, device.budget, 0) for device in machine.devices]
    state = FleetState(machine.config, Ledger({device.id: device.budget for device in machine.devices}), machine.needs)
    state.wishes(
        wishes(
            (
                entry.name,
                entry.last,
                entry.offer.deployment,
                not act.fits(machine.needs(entry.offer.deployment), memory),
            )
            for entry in entries.values()
            if entry.offer is not None
        ),
        0.0,
    )
    _settle(state)

    def forecast(wanted: Mapping[str, Wish]) -> Forecast:
        return foretell(state.board, wanted, 0.0)

    return Ground(
        store=reach.store,
        reach=reach,
        node=node,
        directory=generations.path.parent,
        foretell=forecast,
        needs=machine.needs,
        memory=memory,
        runners=[],
    )


def _settle(state: FleetState) -> None:
    """Play until every runner stays as it is."""
    for _ in range(_ENOUGH):
        runner = unsettled(state.board)
        if runner is None:
            return
        for event in following(state, runner, 0.0):
            event()
