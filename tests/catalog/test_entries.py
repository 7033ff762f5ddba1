"""Where each value came from, and what the defaults hold for models nobody declares."""

from __future__ import annotations

from powerd.catalog.spec import Defaults, Position
from powerd.protocol import Placement
from tests.catalog.reading import HEAD, catalog, entry


def test_every_written_field_has_the_place_it_came_from() -> None:
    read = catalog(
        f"{HEAD}defaults:\n  keep_alive: 5m\n  class: batch\n  parameters: {{seed: 1, top_k: 2}}\n"
        "models:\n  a:\n    source: x\n    keep_alive: 1m\n    parameters: {top_k: 3}\n"
    )
    assert read.models["a"].origins == {
        "source": Position("m.yaml", 8, 5),
        "keep_alive": Position("m.yaml", 9, 5),
        "class": Position("m.yaml", 4, 3),
        "parameters": Position("m.yaml", 10, 5),
        "parameters.seed": Position("m.yaml", 5, 16),
        "parameters.top_k": Position("m.yaml", 10, 18),
    }


def test_a_field_taken_over_with_an_anchor_came_from_the_anchor() -> None:
    read = catalog(f"{HEAD}x-base: &base {{source: x, threads: 2}}\nmodels:\n  a: {{<<: *base, batch: 9}}\n")
    origins = read.models["a"].origins
    assert {name: (at.line, at.column) for name, at in origins.items()} == {
        "batch": (4, 18),
        "source": (2, 16),
        "threads": (2, 27),
    }


def test_where_a_value_came_from_does_not_make_a_spec_another() -> None:
    own = catalog(entry("source: x\nthreads: 2")).models["m"]
    other = catalog(entry("threads: 2\nsource: x")).models["m"]
    assert own.origins != other.origins
    assert own == other


def test_the_defaults_hold_what_undeclared_models_take_over() -> None:
    read = catalog(
        f"{HEAD}defaults:\n  {{threads: 4, batch: 64, load_mode: mlock, flash_attention: false,\n"
        "   request_options: reject, class: batch, placement: {split: row}, think: auto, quantization: Q8_0}\n"
    )
    assert read.defaults == Defaults(
        threads=4,
        batch=64,
        load_mode="mlock",
        flash_attention=False,
        request_options="reject",
        scheduling_class="batch",
        placement=Placement(mode="row"),
    )
