"""The fleet: which runners are in memory, who may use them, and the memory they are promised.

Owns the runner processes, the leases on them, the queue of requests waiting for one, the idle clocks and the memory
ledger. `terms` holds the words others speak to it; `state`, `residency`, `entries`, `story`, `views` and `budget`
decide and are pure; `fleet` acts; `process`, `child`, `wire`, `renderers` and `devices` touch the system.

May import powerd.protocol, powerd.quantities, powerd.metrics, powerd.log and powerd.errors. It gets paths inside a
Deployment, never a store.
"""
