"""`make gpu-check`: builds the engine with CUDA and shows powerd on the GPU that is here; prints a Markdown table.

Offload and partial offload with what the engine reads back and how far the estimate was off, two models beside each
other on one GPU, and one evicted for another when they do not fit. Exit codes: 0 all is well, 1 something is not as it
should be, 69 there is no GPU or no CUDA compiler here.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from powerd.fleet.budget import estimate
from powerd.fleet.devices import Device, devices
from powerd.fleet.prober import ask
from powerd.jobs import Probe, Probed, ProbeFailed
from powerd.protocol import Deployment, Placement, Ready
from powerd.quantities import show_bytes
from powerd.store.gguf import read_header
from tests.gguf_maker import bench_model
from tests.runner.child import Child
from tests.wire.powerd_process import Powerd

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".bench" / "gpu"
MODEL = ROOT / ".bench" / "bench-100m.gguf"
MIB = 1 << 20
#: Too little for two models, which take some 450 MiB each with what the driver takes.
NARROW = 768


class Wrong(Exception):
    """Something is not as it should be."""


def main() -> int:
    """Run every check; the exit code."""
    if refusal := hindrance():
        sys.stderr.write(f"gpu-check: {refusal}\n")
        return os.EX_UNAVAILABLE
    found = asyncio.run(ask(Probe(), 60))
    if isinstance(found, ProbeFailed):
        sys.stderr.write(f"gpu-check: {found.reason}\n")
        return 1
    if not any(each.id.startswith("CUDA") for each in found.accelerators):
        return in_a_build_of_its_own()
    bench_model(MODEL)
    print_row("check", "what was seen", "estimated on the GPU", "taken of it", "error")
    print_row(*["---"] * 5)
    wrong = [problem for check in (offload, together, evicted) for problem in told(check, found)]
    sys.stderr.write("".join(f"gpu-check: {problem}\n" for problem in wrong))
    return 1 if wrong else os.EX_OK


def hindrance() -> str:
    """Why nothing can be checked here; "" when it can."""
    if shutil.which("nvidia-smi") is None or not Path("/dev/nvidiactl").exists():
        return "there is no NVIDIA GPU here (no nvidia-smi or no /dev/nvidiactl): nothing was checked"
    if subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).returncode:
        return "nvidia-smi finds no GPU that works: nothing was checked"
    return ""


def in_a_build_of_its_own() -> int:
    """Build llama-cpp-python with CUDA into an environment of its own, and check there."""
    python = HOME / "bin" / "python"
    if os.environ.get("POWERD_GPU_CHECK"):
        sys.stderr.write("gpu-check: the engine was built with CUDA and lists no CUDA device\n")
        return 1
    if shutil.which("nvcc") is None:
        sys.stderr.write("gpu-check: nvcc is not in PATH; install the CUDA toolkit to build the engine with CUDA\n")
        return os.EX_UNAVAILABLE
    if not python.exists():
        venv.create(HOME, with_pip=True)
    build = [str(python), "-m", "pip", "install", "-q", "--no-binary", "llama-cpp-python", "-e", ".[llama,test,nvidia]"]
    subprocess.run(build, check=True, cwd=ROOT, env={**os.environ, "CMAKE_ARGS": "-DGGML_CUDA=on"})
    again = {**os.environ, "POWERD_GPU_CHECK": "1"}
    return subprocess.run([str(python), "-m", "tests.gpu"], check=False, cwd=ROOT, env=again).returncode


def told(check: Callable[[Probed], Iterator[tuple[str, ...]]], found: Probed) -> list[str]:
    """Print a check's rows; what it found wrong."""
    try:
        for row in check(found):
            print_row(*row)
    except (Wrong, AssertionError) as problem:
        return [f"{check.__name__}: {problem}"]
    return []


def print_row(*cells: str) -> None:
    """One line of the table."""
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


def used() -> int:
    """Bytes of the first GPU that are taken, by whomever."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]) * MIB


# ---------------------------------------------------------------- the checks


def offload(found: Probed) -> Iterator[tuple[str, ...]]:
    """All layers, some and none, on the first GPU."""
    machine = devices({}, found.accelerators)
    shape = read_header(MODEL).shape()
    for layers in (shape.layers + 1, shape.layers // 2, 0):
        yield one_load(machine, layers, Placement(devices=(machine[1].id,)))


def one_load(machine: tuple[Device, ...], layers: int, placement: Placement) -> tuple[str, ...]:
    """Load with so many layers on the GPU, answer once, and compare."""
    shape = read_header(MODEL).shape()
    deployment = Deployment(str(MODEL), "0" * 64, 4096, 1, shape, gpu_layers=layers, placement=placement)
    gpu, before = machine[1].id, used()
    child = Child()
    try:
        fields = {"gpu_layers": layers, "placement": msgspec.to_builtins(placement)}
        answer = child.load(MODEL, 4096, 1, shape=msgspec.to_builtins(shape), **fields)
        if not isinstance(answer, Ready):
            raise Wrong(answer.reason)
        child.one("one two three", num_predict=16)
        taken, have = used() - before, answer.have
    finally:
        child.close()
    if have.gpu_layers != layers or (gpu in have.devices) != bool(layers):
        raise Wrong(f"{layers} layers were asked for; the engine has {have.gpu_layers} ({have.devices})")
    foretold = estimate(deployment, machine).by_device.get(gpu, 0)
    error = f"{(foretold / taken - 1) * 100:+.0f} %" if taken else "-"
    shares = ", ".join(f"{share.layers} on {device}" for device, share in have.devices.items())
    seen = f"{shares}; flash attention {'on' if have.flash_attention else 'off'}; cells {have.kv_cache}"
    return f"{layers} of {shape.layers + 1} layers", seen, show_bytes(foretold), show_bytes(taken), error


def entry(name: str) -> str:
    """A model of models.yaml; the number makes the two different processes."""
    context = 4096 if name == "one" else 4352
    return f"  {name}: {{source: {MODEL}, gpu_layers: all, context: {context}, parallel: 1, keep_alive: 10m}}\n"


def both(found: Probed, budget: int | None) -> tuple[list[dict[str, object]], float]:
    """Ask two models, one after the other; what is loaded then, and bytes the ledger has promised of the GPU."""
    gpu = found.accelerators[0].id
    config = f"devices: {{{gpu}: {{budget: {budget}MiB}}}}\n" if budget else ""
    with tempfile.TemporaryDirectory() as directory:
        models = "models:\n" + entry("one") + entry("two")
        with Powerd(Path(directory), models=models, config=config) as powerd:
            for name in ("one", "two"):
                powerd.wait("Verified", name)
                answer = powerd.post("/api/generate", {"model": name, "prompt": "a", "options": {"num_predict": 4}})
                if answer.status_code != 200:
                    raise Wrong(f"{name}: {answer.text}")
            time.sleep(1.0)
            return powerd.ps(), powerd.metric("power_memory_reserved_bytes", device=gpu)


def together(found: Probed) -> Iterator[tuple[str, ...]]:
    """Two models beside each other on one GPU."""
    before = used()
    rows, reserved = both(found, None)
    if len(rows) != 2:
        raise Wrong(f"two models should be loaded, there are {len(rows)}")
    yield "two models on one GPU", f"both loaded, {used() - before} bytes left after", show_bytes(reserved), "-", "-"


def evicted(found: Probed) -> Iterator[tuple[str, ...]]:
    """One model leaves for the other where the GPU's budget holds one only."""
    rows, reserved = both(found, NARROW)
    if [row["model"] for row in rows] != ["two"]:
        raise Wrong(f"only 'two' should be loaded, there are {[row['model'] for row in rows]}")
    yield f"eviction, {NARROW} MiB of budget", "the first left for the second", show_bytes(reserved), "-", "-"


if __name__ == "__main__":
    sys.exit(main())
