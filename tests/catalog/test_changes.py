"""What changed between two specs, and what it costs."""

from __future__ import annotations

import pytest

from powerd.catalog.changes import changes
from powerd.catalog.fields import FIELDS
from powerd.protocol import Shape
from powerd.reconcile.decide import NodeDefaults, expected
from tests.catalog.reading import catalog, entry, model

#: A line for each field that makes it differ from its default, and its class as the design has it.
CHANGED = {
    "quantization": ("quantization: Q8_0", "replace"),
    "digest": (f"digest: sha256:{'0' * 64}", "replace"),
    "state": ("state: loaded", "live"),
    "gpu_layers": ("gpu_layers: 0", "reload"),
    "context": ("context: 8192", "reload"),
    "parallel": ("parallel: 2", "reload"),
    "kv_cache": ("kv_cache: q8_0", "reload"),
    "placement": ("placement: {devices: [CUDA0]}", "reload"),
    "threads": ("threads: 4", "reload"),
    "batch": ("batch: 1024", "reload"),
    "load_mode": ("load_mode: read", "reload"),
    "flash_attention": ("flash_attention: true", "reload"),
    "pooling": ("pooling: last", "reload"),
    "request_options": ("request_options: reject", "live"),
    "class": ("class: batch", "live"),
    "keep_alive": ("keep_alive: 0", "live"),
    "priority": ("priority: 1", "live"),
    "aliases": ("aliases: [a]", "live"),
    "overflow": ("overflow: reject", "live"),
    "require": ("require: {gpu: true}", "live"),
    "think": ("think: false", "live"),
    "system": ("system: hi", "live"),
    "template": ("template: hi", "live"),
    "parameters": ("parameters: {seed: 1}", "live"),
    "messages": ("messages: [{role: user, content: x}]", "live"),
    "adapters": ("adapters: [{source: x}]", "reload"),
    "draft": ("draft: {source: x}", "reload"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_field_has_its_class(name: str) -> None:
    line, change = CHANGED[name]
    assert changes(model(""), model(line)) == {name: change}
    assert changes(model(line), model("")) == {name: change}
    assert changes(model(line), model(line)) == {}


def test_every_field_is_covered() -> None:
    assert {name for name, field in FIELDS.items() if field.available} == {*CHANGED, "source"}


def test_another_source_is_other_weights() -> None:
    assert changes(model(""), catalog(entry("source: y")).models["m"]) == {"source": "replace"}


def test_moving_an_entry_changes_nothing() -> None:
    moved = catalog("# a comment\n" + entry("source: x")).models["m"]
    assert moved.at != model("").at
    assert moved == model("")
    assert changes(model(""), moved) == {}


def test_several_changes_come_in_the_order_of_the_table() -> None:
    both = model("parameters: {seed: 1}\ncontext: 8192")
    assert list(changes(model(""), both).items()) == [("context", "reload"), ("parameters", "live")]


@pytest.mark.parametrize("name", [name for name, (_, change) in CHANGED.items() if change != "replace"])
def test_a_runner_is_reloaded_for_what_its_process_is_and_for_nothing_else(name: str) -> None:
    """Adapters and drafts are not yet part of it: a model that asks for them is not served."""
    shape = Shape(weights_bytes=1 << 32, layers=32, embedding=4096, kv_width=65536, vocab=32000, trained_context=32768)
    before, after = (expected(model(line), shape, "0" * 64, NodeDefaults()).key for line in ("", CHANGED[name][0]))
    is_reload = CHANGED[name][1] == "reload" and name not in {"adapters", "draft"}
    assert (before != after) is is_reload


def test_no_field_needs_a_restart_of_the_daemon() -> None:
    assert {field.change for field in FIELDS.values()} == {"live", "reload", "replace"}
