"""One machine for all these tests, with powerd installed in it as `make install` does it, and one service a test."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gguf_maker import tiny
from tests.systemd.machine import Machine, booted, overlay
from tests.systemd.needs import missing, service_python
from tests.systemd.unit import Unit

ROOT = Path(__file__).parent.parent.parent
#: What a powerd on this machine would have left; the overlay hides it.
_OURS = ("etc/power", "var/lib/power", "usr/local/lib/powerd", "etc/systemd/system/powerd.service")


def make(target: str, **variables: str) -> str:
    """`make TARGET NAME=VALUE …` in this checkout; returns what it printed."""
    python = service_python()
    assert python is not None
    words = [f"{name}={value}" for name, value in {"PYTHON": python, **variables}.items()]
    command = ["make", "--no-print-directory", "-C", str(ROOT), target, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    lacks = missing()
    if lacks:
        pytest.exit("these tests need\n" + "\n".join(lacks), returncode=1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us lets us tidy up
    make("wheels")
    with overlay() as root:
        for path in _OURS:
            if (root / path).is_dir():
                shutil.rmtree(root / path)
            (root / path).unlink(missing_ok=True)
        make("install", DESTDIR=str(root))
        (root / "srv/models").mkdir(parents=True)
        for name, seed in (("a", 1), ("b", 2)):
            tiny(root / f"srv/models/{name}.gguf", context=8192, seed=seed)
        with booted(root, f"{ROOT}:/srv/checkout") as machine:
            machine.ok("systemd-sysusers")
            machine.ok("systemd-tmpfiles", "--create")
            yield machine


@pytest.fixture
def service(machine: Machine) -> Iterator[Unit]:
    """The service, stopped, with nothing in /etc/power but an empty powerd.yaml. We are in the machine's network."""
    service = Unit(machine)
    with machine.network():
        yield service
    service.clear()
