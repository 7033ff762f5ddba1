"""The fleet: which runners are in memory, who may use them, and the memory they are promised.

Owns the runner processes, the leases on them, the queue of requests waiting for one, the idle clocks and the memory
ledger. `terms` holds the words others speak to it; `state`, `admission`, `residency`, `classes`, `faults`, `board`,
`entries`, `vectors`, `ledger` and `budget` decide, `views`, `why`, `story` and `foretell` tell, and all of these are
pure; `fleet` acts, by way of `lives` and `promises`; `process`, `child`, `wire`, `renderers`, `footprints`, `prober`,
`survey` and `devices` touch the system. `fit` decides for whoever composes deployments what goes where (pure).

May import powerd.protocol, powerd.machine, powerd.quantities, powerd.metrics, powerd.log and powerd.errors. It gets
paths inside a Deployment, never a store.
"""
