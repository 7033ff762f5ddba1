"""What memory there is, read from trees made for the purpose."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from powerd.fleet.devices import available, devices, oom_kills

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
    assert [(device.id, device.budget) for device in devices(7, root)] == [("cpu", 7)]
    assert devices(None, root)[0].budget == int(20 * GIB * 0.9)


def test_x02_the_kernels_kills_are_counted(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/p\n", "sys/fs/cgroup/p/memory.events": "oom 3\noom_kill 2\n"}
    assert oom_kills(write(tmp_path, files)) == 2
    assert oom_kills(tmp_path / "nowhere") == 0


def test_this_machine_has_memory() -> None:
    assert devices()[0].budget > 0
