"""What becomes of the options somebody chose, and of those nobody did."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from powerd.catalog.spec import Defaults
from powerd.fleet.devices import Device
from powerd.protocol import Deployment, Placement, Shape
from powerd.reconcile.decide import NodeDefaults, automatic_source, choice_of, fitted, foretold
from powerd.settings import load

GIB = 1 << 30
SHAPE = Shape(
    *(9 * GIB // 2, 32, 4096, 65_536, 128_256, 131_072),
    heads=32,
    feed_forward=14_336,
    input_bytes=GIB // 4,
    output_bytes=GIB // 2,
)


class Stored:
    """As much of a stored model as deciding looks at."""

    weights = "/blob"
    adapters = ()

    class weights_digest:  # stands in for a Digest
        hex = "a" * 64

    class header:  # stands in for a Header
        @staticmethod
        def shape() -> Shape:
            return SHAPE


def machine(*gpus: int, host: float = 64) -> NodeDefaults:
    cards = [
        Device(f"CUDA{n}", "gpu", uuid=f"GPU-{n}", total=gib * GIB, budget=gib * GIB) for n, gib in enumerate(gpus)
    ]
    return NodeDefaults(devices=lambda: (Device("cpu", "cpu", budget=int(host * GIB)), *cards))


def decided(node: NodeDefaults, **said: Any) -> Deployment:
    stored: Any = Stored()
    return fitted(stored, choice_of(Defaults(**said)), node).deployment


def test_every_option_of_a_model_reaches_its_deployment() -> None:
    made = decided(
        machine(24, 24),
        context=5000,
        parallel=3,
        kv_cache="q8_0",
        gpu_layers=7,
        threads=5,
        batch=64,
        load_mode="mlock",
        flash_attention=True,
        placement=Placement(devices=("CUDA1",)),
    )
    assert (made.context, made.parallel, made.kv_cache, made.gpu_layers) == (5000, 3, "q8_0", 7)
    assert (made.threads, made.batch, made.load_mode, made.flash_attention) == (5, 64, "mlock", "on")
    assert made.placement == Placement(devices=("CUDA1",))
    assert not made.context_auto


@pytest.mark.parametrize(
    ("of_weights", "said", "effective"),
    [
        ("", None, None),
        ("", "mean", None),
        ("", "last", "last"),
        ("mean", "mean", None),
        ("mean", "cls", "cls"),
        ("last", "mean", "mean"),
        ("last", None, None),
    ],
)
def test_a_pooling_that_the_weights_ask_for_themselves_makes_no_other_runner(
    of_weights: str, said: Any, effective: str | None
) -> None:
    plain: Any = Stored()
    plain.header = SimpleNamespace(shape=lambda: msgspec.structs.replace(SHAPE, pooling=of_weights))
    auto, made = (fitted(plain, choice_of(Defaults(pooling=each)), NodeDefaults()).deployment for each in (None, said))
    assert (made.pooling, made.key == auto.key) == (effective, effective is None)


def test_devices_are_placed_by_uuid_too() -> None:
    made = decided(machine(24, 24), placement=Placement(devices=("gpu-1", "GPU-7"), main="GPU-1"), gpu_layers=0)
    assert made.placement == Placement(devices=("CUDA1", "GPU-7"), main="CUDA1"), "what is not there stays as written"


@pytest.mark.parametrize(
    ("said", "node", "effective"), [(None, "off", "off"), (True, "off", "on"), (False, "on", "off")]
)
def test_the_models_word_on_flash_attention_comes_before_the_machines(said: Any, node: Any, effective: str) -> None:
    made: Any = Stored()
    defaults = NodeDefaults(flash_attention=node)
    assert fitted(made, choice_of(Defaults(flash_attention=said)), defaults).deployment.flash_attention == effective


def test_the_variables_are_the_defaults_of_every_model() -> None:
    environ = {
        "OLLAMA_CONTEXT_LENGTH": "9000",
        "OLLAMA_NUM_PARALLEL": "2",
        "OLLAMA_KV_CACHE_TYPE": "q4_0",
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_SCHED_SPREAD": "1",
        "OLLAMA_NUM_GPU": "3",
    }
    cards = machine(80, 80).devices
    made = decided(NodeDefaults.of(load({}, environ, {}), cards))
    assert made.gpu_layers == 3
    assert decided(NodeDefaults.of(load({}, environ, {}), cards), gpu_layers=5).gpu_layers == 5
    assert (made.context, made.parallel, made.kv_cache, made.flash_attention) == (9000, 2, "q4_0", "on")
    assert made.placement.devices == ("CUDA0", "CUDA1")
    assert made.context_auto, "a request may still ask for more"


def test_a_context_from_the_variable_is_not_cut_to_what_fits() -> None:
    node = NodeDefaults(context=100_000, devices=machine(host=8).devices)
    assert decided(node).context == 100_000
    assert decided(machine(host=5)).context == 2048


def test_an_automatic_batch_is_no_larger_than_the_pool() -> None:
    assert decided(machine(), context=100, parallel=2).batch == 256
    assert decided(machine(), context=100, parallel=2, batch=2048).batch == 2048
    assert decided(machine()).batch == 512


def test_a_machine_of_which_nothing_is_known_decides_nothing() -> None:
    made = foretold(SHAPE, NodeDefaults())
    assert (made.gpu_layers, made.context, made.parallel) == (-1, 4096, 4)


@pytest.mark.parametrize(
    ("node", "source"),
    [
        (machine(), "the default of 4096 tokens"),
        (machine(40), "the default of 32768 tokens"),
        (machine(host=5), "what fits into this machine's memory"),
        (NodeDefaults(context=8192), "OLLAMA_CONTEXT_LENGTH or `context_length` in powerd.yaml"),
        (NodeDefaults(context=1 << 20), "the context the model was trained for"),
    ],
)
def test_an_automatic_context_says_where_it_comes_from(node: NodeDefaults, source: str) -> None:
    assert automatic_source(decided(node), node) == source


def test_choices_are_told() -> None:
    stored: Any = Stored()
    told = fitted(stored, choice_of(Defaults()), machine(24)).sentences
    assert [sentence.partition(":")[0] for sentence in told] == ["gpu_layers", "context"]
    assert fitted(stored, choice_of(Defaults(gpu_layers=3, context=4096, parallel=1)), machine(24)).sentences == ()
