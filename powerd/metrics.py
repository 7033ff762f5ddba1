"""Every Prometheus series powerd exports, declared in one place and registered in one registry.

The `model` label holds names from the file or the store, never what a client sent, so the label sets stay bounded.
Counters end in `_total` on the wire (prometheus_client adds it); `_created` series are switched off.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped

REGISTRY = CollectorRegistry(auto_describe=False)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

INFO = Gauge("power_info", "Always 1; the labels tell the version.", ["version"], registry=REGISTRY)
GENERATION = Gauge("power_generation", "Number of the accepted models.yaml.", registry=REGISTRY)
CONFIG_VALID = Gauge("power_config_valid", "1 while models.yaml on disk is the accepted one.", registry=REGISTRY)
CONDITION = Gauge("power_condition", "1 True, 0 False, -1 Unknown.", ["model", "type"], registry=REGISTRY)

REQUESTS = Counter("power_requests", "Requests answered.", ["dialect", "route", "status"], registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "power_request_seconds", "From request to last byte.", ["dialect", "route"], buckets=_SECONDS, registry=REGISTRY
)
FIRST_TOKEN_SECONDS = Histogram(
    "power_time_to_first_token_seconds", "From request to first text.", ["model"], buckets=_SECONDS, registry=REGISTRY
)
TOKENS = Counter("power_tokens", "Tokens by kind: prompt, cached, output.", ["model", "kind"], registry=REGISTRY)
CUTS = Counter(
    "power_cuts",
    "Prompts, contexts and inputs that were cut, by kind: messages, tokens, shift, embedding.",
    ["model", "kind"],
    registry=REGISTRY,
)

EMBEDDINGS = Counter("power_embeddings", "Inputs turned into vectors.", ["model"], registry=REGISTRY)

RUNNING = Gauge("power_requests_running", "Requests holding a lease.", ["model"], registry=REGISTRY)
QUEUED = Gauge("power_requests_queued", "Requests waiting for a lease.", ["model"], registry=REGISTRY)
LOADED = Gauge("power_loaded", "1 while a runner serves the model.", ["model"], registry=REGISTRY)
CELLS_USED = Gauge("power_cells_used", "KV cells in use.", ["model"], registry=REGISTRY)
CELLS_TOTAL = Gauge("power_cells_total", "KV cells in the pool.", ["model"], registry=REGISTRY)
BATCH_ROWS = Gauge(
    "power_batch_rows", "Most sequences in one decode since the last report.", ["model"], registry=REGISTRY
)
LOADS = Counter(
    "power_loads", "Finished loads by result: ready, failed, timeout.", ["model", "result"], registry=REGISTRY
)
LOAD_SECONDS = Histogram("power_load_seconds", "Spawn to Ready.", ["model"], buckets=_SECONDS, registry=REGISTRY)
UNLOADS = Counter("power_unloads", "Unloads by reason.", ["model", "reason"], registry=REGISTRY)
CRASHES = Counter("power_crashes", "Runners that ended on their own.", ["model"], registry=REGISTRY)
MEMORY_BUDGET = Gauge("power_memory_budget_bytes", "What the ledger may give out.", ["device"], registry=REGISTRY)
MEMORY_RESERVED = Gauge("power_memory_reserved_bytes", "What the ledger has given out.", ["device"], registry=REGISTRY)
ESTIMATE_ERROR = Gauge(
    "power_estimate_error_bytes", "Measured minus estimated memory of the last load.", ["model"], registry=REGISTRY
)
ESTIMATE_RATIO = Gauge(
    "power_estimate_error_ratio", "The same as a part of the estimate.", ["model"], registry=REGISTRY
)

FETCHED_BYTES = Counter("power_fetched_bytes", "Bytes fetched from sources.", ["model"], registry=REGISTRY)
FETCHES = Counter("power_fetches", "Finished fetches by result: done, failed.", ["model", "result"], registry=REGISTRY)

CANARIES = Counter("power_canaries", "One-token requests of ours by result.", ["model", "result"], registry=REGISTRY)
CANARY_SECONDS = Gauge("power_canary_seconds", "How long the last canary took.", ["model"], registry=REGISTRY)

PER_MODEL: tuple[Gauge, ...] = (
    RUNNING,
    QUEUED,
    LOADED,
    CELLS_USED,
    CELLS_TOTAL,
    BATCH_ROWS,
    ESTIMATE_ERROR,
    ESTIMATE_RATIO,
    CANARY_SECONDS,
)


def forget(model: str) -> None:
    """Drop the gauges of a model that is gone."""
    for gauge in PER_MODEL:
        gauge.remove_by_labels({"model": model})
    CONDITION.remove_by_labels({"model": model})


def exposition() -> bytes:
    """The text a scraper reads."""
    return generate_latest(REGISTRY)
