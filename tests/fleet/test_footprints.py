"""What deployments hold, remembered: which word counts, what is written, and what a bad file costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from powerd.fleet import footprints
from powerd.fleet.budget import estimate
from powerd.fleet.devices import Device
from powerd.fleet.footprints import Footprints
from powerd.jobs import Probed
from powerd.protocol import Deployment, DeviceShare, Placement, ReadBack, Shape

MIB = 1 << 20
SHAPE = Shape(100 * MIB, 8, 512, 4096, 1000, 8192)


def model(**fields: Any) -> Deployment:
    values: dict[str, Any] = {"context": 1024, "parallel": 1, "shape": SHAPE}
    return Deployment("/w", "a" * 64, **(values | fields))


def have(pss: int, **fields: Any) -> ReadBack:
    said = ReadBack(1024, 1024, 1, 8, 0, "f16", True, 1, 1000, 8192, "engine", "cpu", 0, 0, 0, pss=pss)
    return msgspec.structs.replace(said, **({"rss": pss} | fields))


def test_measured_counts_before_probed_and_that_before_the_header(tmp_path: Path) -> None:
    known = Footprints(tmp_path / "f.json", "engine 1")
    header = known.need(model())
    assert header == estimate(model())
    known.probed(model(), Probed("engine 1", (), idle=20 * MIB, process=30 * MIB, compute={"cpu": 5 * MIB}))
    probed = known.need(model())
    assert (probed.source, probed.weights, probed.cells) == ("probed", header.weights, header.cells)
    known.measured(model(), have(200 * MIB))
    assert known.need(model()).source == "measured"
    assert 200 * MIB <= known.need(model()).total < 201 * MIB
    known.probed(model(), Probed("engine 1", (), idle=1, process=1, compute={}))
    assert known.need(model()).source == "measured", "a probe does not undo a measurement"


def test_what_was_measured_survives_a_restart_but_not_another_engine(tmp_path: Path) -> None:
    path = tmp_path / "state" / "f.json"
    Footprints(path, "engine 1").measured(model(), have(200 * MIB))
    again = Footprints(path, "engine 1")
    assert again.source(model()) == "measured"
    assert again.error(model()) == again.need(model()).total - estimate(model()).total
    assert Footprints(path, "engine 2").source(model()) == "header"
    assert [file.name for file in path.parent.iterdir()] == ["f.json"]


@pytest.mark.parametrize(
    "fields",
    [
        {"context": 2048},
        {"parallel": 2},
        {"kv_cache": "q8_0"},
        {"gpu_layers": 3},
        {"batch": 64},
        {"load_mode": "mlock"},
        {"flash_attention": "off"},
        {"placement": Placement(devices=("CUDA1",))},
    ],
)
def test_all_that_changes_memory_is_another_footprint(tmp_path: Path, fields: dict[str, Any]) -> None:
    known = Footprints(tmp_path / "f.json", "engine")
    known.measured(model(), have(200 * MIB))
    assert known.source(model(**fields)) == "header"
    assert known.source(model(threads=7)) == "measured"


def test_the_idle_process_of_a_probe_serves_every_header(tmp_path: Path) -> None:
    known = Footprints(tmp_path / "f.json", "engine")
    known.probed(model(), Probed("engine", (), idle=117 * MIB, process=1, compute={}))
    other = model(context=4096)
    assert known.need(other).total == estimate(other).total + 100 * MIB


def test_shares_of_accelerators_are_the_engines_word_and_the_host_the_kernels(tmp_path: Path) -> None:
    gpu = Device("CUDA0", "gpu", budget=8 << 30)
    known = Footprints(tmp_path / "f.json", "engine", lambda: (Device("cpu", "cpu", budget=8 << 30), gpu))
    shares = {"cpu": DeviceShare(0, 10 * MIB), "CUDA0": DeviceShare(8, 300 * MIB)}
    known.measured(model(), have(50 * MIB, devices=shares))
    need = known.need(model())
    assert 50 * MIB <= need.by_device["cpu"] < 51 * MIB
    assert need.by_device["CUDA0"] == 300 * MIB + 256 * MIB, "with what the driver takes"


def test_weights_another_runner_maps_too_count_as_its_own(tmp_path: Path) -> None:
    known = Footprints(tmp_path / "f.json", "engine")
    known.measured(model(), have(150 * MIB, rss=216 * MIB))
    assert 200 * MIB <= known.need(model()).total < 201 * MIB


def test_where_the_kernel_says_nothing_the_engines_word_and_the_process_count(tmp_path: Path) -> None:
    known = Footprints(tmp_path / "f.json", "engine")
    known.measured(model(), have(0))
    assert known.source(model()) == "header", "nothing was told"
    known.measured(model(), have(0, devices={"cpu": DeviceShare(8, 150 * MIB)}))
    assert 170 * MIB < known.need(model()).total < 190 * MIB


def test_the_same_again_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    known = Footprints(path, "engine")
    known.measured(model(), have(200 * MIB))
    path.unlink()
    known.measured(model(), have(202 * MIB))
    assert not path.exists()
    known.measured(model(), have(220 * MIB))
    assert path.exists()


def test_a_probe_is_written_when_the_daemon_stops_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    known = Footprints(path, "engine")
    known.close()
    known.probed(model(), Probed("engine", (), idle=1, process=1, compute={}))
    assert not path.exists()
    known.close()
    assert Footprints(path, "engine").source(model()) == "probed"


def test_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprints, "REMEMBERED", 3)
    known = Footprints(tmp_path / "f.json", "engine")
    for parallel in range(1, 6):
        known.measured(model(parallel=parallel), have(200 * MIB))
    assert [known.source(model(parallel=parallel)) for parallel in range(1, 6)] == ["header"] * 2 + ["measured"] * 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"footprints": {"x": 1}}', b"\xff\xfe", b"null"])
def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(content)
    known = Footprints(path, "engine")
    assert known.need(model()) == estimate(model())
    known.measured(model(), have(200 * MIB))
    assert Footprints(path, "engine").source(model()) == "measured"


def test_impossible_sizes_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    known = Footprints(path, "engine")
    known.measured(model(), have(200 * MIB))
    path.write_bytes(path.read_bytes().replace(b'"cpu":', b'"cpu":-'))
    assert Footprints(path, "engine").source(model()) == "header"


def test_a_disk_that_refuses_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    known = Footprints(tmp_path / "file" / "f.json", "engine")
    known.measured(model(), have(200 * MIB))
    assert known.source(model()) == "measured"
