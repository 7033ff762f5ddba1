"""explain: each effective value with the one who set it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from powerd.catalog.parse import parse_files
from powerd.protocol import DeviceShare, ReadBack
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.making.compose import compose, declared_offer, installed_offer
from powerd.reconcile.planning.explain import Subject, explain
from powerd.reconcile.step import Fetched
from powerd.store.gguf import read_header
from powerd.store.store import Store
from tests.gguf_maker import tiny

TEXT = """\
apiVersion: powerd/v1
defaults:
  parallel: 2
  parameters: {top_k: 7}
models:
  coder:
    source: builtin:demo
    context: 512
    keep_alive: always
    system: Be brief.
    parameters: {temperature: 0.5}
  other: {source: 'builtin:demo', pooling: last}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store"))
    store.open()
    yield store
    store.close()


CATALOG = parse_files({"/m.yaml": TEXT}, file="/m.yaml")


def subject(store: Store, name: str, **changes: Any) -> Subject:
    """The subject of a declared model, composed for real of a tiny one."""
    spec = CATALOG.models[name]
    weights = store.take(tiny(store.root / "tiny.gguf"))
    path = store.blob(weights)
    assert path is not None
    fetched = Fetched(spec.source, "", weights, weights)
    node = changes.pop("node", NodeDefaults())
    offer = declared_offer(spec, compose(spec, fetched, read_header(path), store), node)
    return replace(Subject(offer, spec, CATALOG, {}, 300.0), **changes)


def told(subject: Subject) -> dict[str, tuple[object, str]]:
    return {value.field: (value.value, value.origin) for value in explain(subject)}


def test_the_entry_the_defaults_and_what_is_built_in_are_told_apart(store: Store) -> None:
    coder = told(subject(store, "coder"))
    assert coder["context"] == (512, "/m.yaml:8")
    assert coder["parallel"] == (2, "/m.yaml:3 (defaults)")
    assert coder["keep_alive"] == ("always", "/m.yaml:9")
    assert coder["system"] == ("Be brief.", "/m.yaml:10")
    assert coder["parameters.temperature"] == (0.5, "/m.yaml:11")
    assert coder["parameters.top_k"] == (7, "/m.yaml:4 (defaults)")
    assert coder["kv_cache"] == ("f16", "built-in")
    assert coder["gpu_layers"][1] == "automatic"
    assert coder["pooling"] == ("mean", "automatic")
    assert told(subject(store, "other"))["pooling"] == ("last", "/m.yaml:12")
    assert told(subject(store, "other"))["keep_alive"] == ("300s", "built-in")


def test_the_daemons_own_options_are_named_by_what_set_them(store: Store) -> None:
    settings = {"context_length": "OLLAMA_CONTEXT_LENGTH", "kv_cache": "/p.yaml:3", "keep_alive": "POWER_KEEP_ALIVE"}
    node = NodeDefaults(context=2048, kv_cache="q8_0")
    other = told(subject(store, "other", settings=settings, node=node, keep_alive=math.inf))
    assert other["context"] == (2048, "OLLAMA_CONTEXT_LENGTH")
    assert other["kv_cache"] == ("q8_0", "/p.yaml:3")
    assert other["keep_alive"] == ("always", "POWER_KEEP_ALIVE")
    assert told(subject(store, "coder", settings=settings, node=node))["context"] == (512, "/m.yaml:8")


def test_what_the_engine_has_stands_beside_what_was_asked(store: Store) -> None:
    have = ReadBack(
        *(512, 1024, 2, 2, 1, "f16", True, 1, 100, 8192, "llama.cpp", "CUDA0", 5, 10, 5),
        devices={"CUDA0": DeviceShare(1, 5), "cpu": DeviceShare(1, 5)},
    )
    values = {value.field: value.have for value in explain(subject(store, "coder", have=have))}
    assert (values["context"], values["parallel"], values["gpu_layers"]) == (512, 2, "1 of 2")
    assert values["placement"] == {"CUDA0": 5, "cpu": 5}
    assert values["batch"] is None
    assert values["keep_alive"] is None


def test_an_installed_model_speaks_for_itself_under_the_defaults(store: Store) -> None:
    stored = subject(store, "coder").offer.stored
    own = replace(stored, params={"num_ctx": 256, "seed": 3}, system="Own.")
    offer = installed_offer(own, CATALOG.defaults, NodeDefaults())
    values = told(Subject(offer, None, CATALOG, {}, 300.0))
    assert values["context"] == (256, "`num_ctx` of the model's own parameters")
    assert values["parallel"] == (2, "`defaults:` in models.yaml")
    assert values["parameters.top_k"] == (7, "`defaults:` in models.yaml")
    assert values["parameters.seed"] == (3, "the model's own parameters")
    assert values["system"] == ("Own.", "the model's own parameters")
    assert "source" not in values
