"""What memory there is, read from trees made for the purpose."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from powerd.fleet.devices import available, devices, named, oom_kills
from powerd.jobs import Accelerator
from powerd.settings import DeviceSettings

GIB = 1 << 30


def write(root: Path, files: Mapping[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(content))
    return root


MEMINFO = {"proc/meminfo": f"MemTotal: {32 * GIB >> 10} kB\nMemAvailable: {20 * GIB >> 10} kB\n"}


def test_without_limits_the_machines_free_memory_counts(tmp_path: Path) -> None:
    assert available(write(tmp_path, MEMINFO)) == 20 * GIB


def test_the_tightest_limit_of_cgroup_v2_counts_wherever_it_stands(tmp_path: Path) -> None:
    files = MEMINFO | {
        "proc/self/cgroup": "0::/system.slice/powerd.service\n",
        "sys/fs/cgroup/system.slice/powerd.service/memory.max": "max",
        "sys/fs/cgroup/system.slice/memory.max": 8 * GIB,
        "sys/fs/cgroup/system.slice/memory.current": 3 * GIB,
        "sys/fs/cgroup/system.slice/memory.stat": f"anon 1\ninactive_file {GIB}\n",
    }
    assert available(write(tmp_path, files)) == 6 * GIB


def test_memory_high_is_a_limit_too(tmp_path: Path) -> None:
    files = MEMINFO | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.high": 5 * GIB}
    assert available(write(tmp_path, files)) == 5 * GIB


def test_the_limit_of_cgroup_v1_counts_also_inside_a_container(tmp_path: Path) -> None:
    files = MEMINFO | {
        "proc/self/cgroup": "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 4 * GIB,
        "sys/fs/cgroup/memory/memory.usage_in_bytes": 1 * GIB,
    }
    assert available(write(tmp_path, files)) == 3 * GIB


def test_without_proc_the_system_is_asked(tmp_path: Path) -> None:
    assert available(tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_the_budget_is_what_is_set_else_nine_tenths_of_what_is_free(tmp_path: Path) -> None:
    root = write(tmp_path, MEMINFO)
    wanted = {"cpu": DeviceSettings(budget=7)}
    assert [(device.id, device.budget) for device in devices(wanted, root=root)] == [("cpu", 7)]
    assert devices(root=root)[0].budget == int(20 * GIB * 0.9)


def test_x02_the_kernels_kills_are_counted(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/p\n", "sys/fs/cgroup/p/memory.events": "oom 3\noom_kill 2\n"}
    assert oom_kills(write(tmp_path, files)) == 2
    v1 = {
        "proc/self/cgroup": "4:memory:/q\n0::/q\n",
        "sys/fs/cgroup/memory/q/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    }
    assert oom_kills(write(tmp_path / "v1", v1)) == 3
    assert oom_kills(tmp_path / "nowhere") == 0


def test_this_machine_has_memory() -> None:
    assert devices()[0].budget > 0


# ---------------------------------------------------------------- accelerators

CARD = Accelerator("CUDA0", "gpu", "a card", "0000:C1:00.0", total=24 * GIB, free=24 * GIB, uuid="GPU-1")


def budgets(wanted: Mapping[str, DeviceSettings], *cards: Accelerator, overhead: int = 0) -> list[tuple[int, int]]:
    return [(device.budget, device.reserve) for device in devices(wanted, cards, overhead)[1:]]


def test_an_accelerator_gives_out_what_is_free_of_it_but_never_all() -> None:
    busy = msgspec.structs.replace(CARD, free=10 * GIB)
    assert budgets({}, CARD, busy) == [(int(24 * GIB * 0.95), 0), (10 * GIB, 0)]


@pytest.mark.parametrize("name", ["CUDA0", "cuda0", "GPU-1", "0000:c1:00.0", "C1:00.0"])
def test_a_device_is_meant_by_any_of_its_names(name: str) -> None:
    assert budgets({name: DeviceSettings(budget=7)}, CARD) == [(7, 0)]
    assert named(name, devices({}, [CARD])) == "CUDA0"


def test_what_names_no_device_stays_as_it_is() -> None:
    assert named("CUDA9", devices({}, [CARD])) == "CUDA9"


def test_a_reserve_is_kept_free_whatever_the_budget_says() -> None:
    assert budgets({"CUDA0": DeviceSettings(budget=30 * GIB, reserve=4 * GIB)}, CARD) == [(20 * GIB, 4 * GIB)]
    assert budgets({}, CARD, overhead=2 * GIB) == [(int(24 * GIB * 0.95) - 2 * GIB, 2 * GIB)]
    assert budgets({"CUDA0": DeviceSettings(reserve=0)}, CARD, overhead=2 * GIB)[0][1] == 0, "a device's own word wins"
    assert budgets({"CUDA0": DeviceSettings(reserve=99 * GIB)}, CARD) == [(0, 99 * GIB)]


def test_a_reserve_of_the_host_lowers_its_budget(tmp_path: Path) -> None:
    root = write(tmp_path, MEMINFO)
    (cpu,) = devices({"cpu": DeviceSettings(reserve=12 * GIB)}, root=root)
    assert (cpu.budget, cpu.reserve, cpu.total) == (8 * GIB, 12 * GIB, 20 * GIB)
