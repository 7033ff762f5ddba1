"""readback: what the engine has, held against what was declared, field by field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from powerd.catalog.spec import Require
from powerd.protocol import Deployment, DeviceShare, ReadBack, Shape
from powerd.reconcile.readback import differences, unmeetable, unmet, where

GIB = 1 << 30
EMBEDS = Shape(10, 32, 1, 1, 1, 4096, pooling="mean")
WANT = Deployment("/blob", "a" * 64, 4096, 2, Shape(10, 32, 1, 1, 1, 4096))
HAVE = ReadBack(
    *(4096, 8192, 2, 32, 0, "f16", True, 4, 100, 4096, "llama.cpp", "cpu", 5, 10, 0),
    batch=512,
    load_mode="mmap",
    devices={"cpu": DeviceShare(0, GIB)},
)


def said(want: dict[str, Any], have: dict[str, Any]) -> list[str]:
    return differences(msgspec.structs.replace(WANT, **want), msgspec.structs.replace(HAVE, **have))


@pytest.mark.parametrize(
    ("want", "have"),
    [
        ({}, {}),
        ({}, {"context": 8192, "cells": 16384, "sequences": 4}),
        ({"threads": 4}, {}),
        ({}, {"threads": 7, "flash_attention": False}),
        ({"flash_attention": "on"}, {}),
        ({"load_mode": "mmap"}, {}),
        ({"load_mode": "mlock"}, {"load_mode": ""}),
        ({"batch": 256}, {"batch": 0}),
        ({"gpu_layers": -1}, {}),
        ({"gpu_layers": 9999}, {"gpu_layers": 33}),
        ({"gpu_layers": 9999}, {"gpu_layers": 32}),
        ({"gpu_layers": 10}, {"gpu_layers": 10}),
        ({}, {"cells": 0}),
        ({"pooling": "last"}, {}),
        ({"shape": EMBEDS}, {"pooling": "mean"}),
        ({"shape": EMBEDS, "pooling": "last"}, {}),
    ],
)
def test_what_is_as_asked_or_left_open_is_no_difference(want: dict[str, Any], have: dict[str, Any]) -> None:
    assert said(want, have) == []


@pytest.mark.parametrize(
    ("want", "have", "sentence"),
    [
        ({}, {"context": 2048}, "context: want 4096, have 2048 tokens a sequence"),
        ({}, {"cells": 4096}, "cells: want 8192, have 4096 in the pool"),
        ({}, {"sequences": 1}, "parallel: want 2, have 1 sequences"),
        ({"kv_cache": "q8_0"}, {}, "kv_cache: want q8_0, have f16"),
        ({"threads": 2}, {}, "threads: want 2, have 4"),
        ({"batch": 256}, {}, "batch: want 256, have 512"),
        ({"flash_attention": "off"}, {}, "flash_attention: want off, have on"),
        ({"load_mode": "mlock"}, {}, "load_mode: want mlock, have mmap"),
        ({"gpu_layers": 9999}, {}, "gpu_layers: want all 32, have 0 (1.0 GiB on cpu)"),
        ({"shape": EMBEDS, "pooling": "last"}, {"pooling": "mean"}, "pooling: want last, have mean"),
        ({"gpu_layers": 20}, {"gpu_layers": 12}, "gpu_layers: want 20, have 12 (1.0 GiB on cpu)"),
    ],
)
def test_every_field_that_differs_is_named_with_both_values(
    want: dict[str, Any], have: dict[str, Any], sentence: str
) -> None:
    assert said(want, have) == [sentence]


def test_layers_and_bytes_by_device() -> None:
    shares = {"CUDA0": DeviceShare(24, 4 * GIB), "cpu": DeviceShare(8, GIB // 2)}
    assert where(msgspec.structs.replace(HAVE, devices=shares)) == (
        "24 layers and 4.0 GiB on CUDA0, 8 layers and 512.0 MiB on cpu"
    )
    assert where(msgspec.structs.replace(HAVE, devices={})) == "everything on cpu"


def test_x06_requirements_that_the_loaded_model_does_not_meet() -> None:
    half = msgspec.structs.replace(HAVE, gpu_layers=20, devices={"CUDA0": DeviceShare(20, GIB)})
    whole = msgspec.structs.replace(HAVE, gpu_layers=32)
    gpu, full = Require(gpu=True), Require(full_offload=True)
    assert unmet(gpu, HAVE) == "`require: gpu` is not met: 0 of 32 layers are on an accelerator (1.0 GiB on cpu)"
    assert "20 of 32 layers are on an accelerator (20 layers and 1.0 GiB on CUDA0)" in unmet(full, half)
    for require, have in ((Require(), HAVE), (gpu, half), (gpu, whole), (full, whole)):
        assert unmet(require, have) == ""


def test_x06_requirements_that_cannot_be_met_are_known_before_the_load() -> None:
    some = msgspec.structs.replace(WANT, gpu_layers=20)
    full = Require(full_offload=True)
    assert "this machine offers cpu only" in unmeetable(Require(gpu=True), WANT, ["cpu"])
    assert "20 of 32 layers go onto CUDA0" in unmeetable(full, some, ["cpu", "CUDA0"])
    for require, devices in ((Require(), ["cpu"]), (Require(gpu=True), ["cpu", "CUDA0"])):
        assert unmeetable(require, some, devices) == ""
    assert unmeetable(full, WANT, ["cpu", "CUDA0"]) == "", "automatic: not known before the load"
