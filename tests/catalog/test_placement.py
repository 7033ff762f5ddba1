"""placement: which accelerators, in which shares."""

from __future__ import annotations

import pytest

from powerd.protocol import Placement
from tests.catalog.reading import HEAD, catalog, model, refused


@pytest.mark.parametrize(
    ("line", "placed"),
    [
        ("{}", None),
        ("{split: layer}", None),
        ("{split: row}", Placement(mode="row")),
        ("{split: none, main: Vulkan1}", Placement(mode="none", main="Vulkan1")),
        ("{devices: [CUDA0, CUDA1], split: [3, 1]}", Placement(("CUDA0", "CUDA1"), (3.0, 1.0))),
        (
            "{devices: [CUDA0, CUDA1], split: [0.5, 0], main: CUDA1}",
            Placement(("CUDA0", "CUDA1"), (0.5, 0.0), "layer", "CUDA1"),
        ),
        ("{devices: [GPU-3f2a-b, '0000:01:00.0']}", Placement(("GPU-3f2a-b", "0000:01:00.0"))),
    ],
)
def test_a_placement_is_read(line: str, placed: Placement | None) -> None:
    assert model(f"placement: {line}").placement == placed


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("CUDA0", ['5:16: m: placement must be a mapping with devices, split, main, not "CUDA0"']),
        ("{device: [CUDA0]}", ['5:17: m: placement: unknown key "device"; did you mean "devices"?']),
        ("{devices: CUDA0}", ['5:26: m: placement.devices must be a list, not "CUDA0"']),
        ("{devices: []}", ["m: placement.devices must name a device; without the line every accelerator is used"]),
        ("{devices: [CUDA0, CUDA0]}", ['m: placement.devices must name each device once, but "CUDA0" is there twice']),
        (
            "{devices: [0]}",
            ["m: placement.devices[1] must be a device's id as `powerctl doctor` lists them, not 0"],
        ),
        ("{devices: ['a b']}", ['not "a b"']),
        ("{devices: [a/b]}", ['not "a/b"']),
        ("{devices: ['']}", ['not ""']),
        ("{devices: [~]}", ["it has no value"]),
        ("{devices: [Cpu]}", ["must be an accelerator; gpu_layers: 0 keeps a model on the processor"]),
        ("{main: cpu}", ["m: placement.main must be an accelerator"]),
        ("{main: [CUDA0]}", ["m: placement.main must be a device's id"]),
        ("{devices: [CUDA0], main: CUDA1}", ['5:41: m: placement.main must be one of devices, which "CUDA1" is not']),
        ("{split: even}", ['m: placement.split must be one of layer, row, none, not "even"']),
        ("{split: {CUDA0: 1}}", ["m: placement.split must be one of layer, row, none, not a mapping"]),
        ("{split: [1, 1]}", ["5:24: m: placement.split in numbers needs devices, which say whose the numbers are"]),
        (
            "{devices: [a, b], split: [1]}",
            ["5:41: m: placement.split must have a number for each of the 2 devices, not 1"],
        ),
        ("{devices: [a], split: []}", ["m: placement.split must give a device a share above 0"]),
        ("{devices: [a], split: [0]}", ["m: placement.split must give a device a share above 0"]),
        ("{devices: [a], split: [-1]}", ["m: placement.split[1] must not be negative, not -1"]),
        ("{devices: [a], split: [.nan]}", ["m: placement.split[1] must be a number, not .nan"]),
        ("{devices: [a], split: ['1']}", ['m: placement.split[1] must be a number, not "1"']),
        ("{devices: [a, 1], split: [x, 1, 2], main: b}", ["devices[2] must be", "split[1] must be a number"]),
        (
            "{devices: [a, b], split: [1], main: c}",
            ["a number for each of the 2", "main must be one of devices"],
        ),
    ],
)
def test_y04_a_placement_that_cannot_be_is_refused(line: str, messages: list[str]) -> None:
    found = refused(f"placement: {line}")
    assert len(found) == len(messages), found
    for refusal, message in zip(found, messages, strict=True):
        assert message in refusal


def test_a_placement_replaces_the_default_whole() -> None:
    read = catalog(
        f"{HEAD}defaults:\n  placement: {{devices: [CUDA0], split: none}}\nmodels:\n"
        "  a: {source: x}\n  b: {source: x, placement: {devices: [CUDA1]}}\n  c: {source: x, placement: {}}\n"
    )
    assert [spec.placement for spec in read.models.values()] == [
        Placement(("CUDA0",), mode="none"),
        Placement(("CUDA1",)),
        None,
    ]
    assert read.defaults.placement == Placement(("CUDA0",), mode="none")
