"""`make install` and `make uninstall`: nothing of the build stays in it, and it goes away as it came."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.systemd.conftest import ROOT, make
from tests.systemd.machine import Machine
from tests.systemd.needs import service_python
from tests.systemd.unit import files

pytestmark = pytest.mark.systemd

PLACES = ("etc", "opt", "usr/local", "var/lib/power")


def test_a_staged_install_knows_nothing_of_where_it_was_made(machine: Machine) -> None:
    installed = machine.path("/usr/local/lib/powerd")
    for path in (str(machine.tree), str(ROOT)):
        found = subprocess.run(["grep", "-rlF", path, installed], capture_output=True, text=True, check=False)
        assert (found.returncode, found.stdout) == (1, "")
    assert machine.ok("readlink", "/usr/local/bin/powerd") == "../lib/powerd/bin/powerd"
    assert machine.ok("powerctl", "--version").startswith("powerctl ")
    completions = ("bash-completion/completions/powerctl", "zsh/site-functions/_powerctl")
    for made in ("man/man1/powerctl.1", *completions, "fish/vendor_completions.d/powerctl.fish"):
        assert "powerctl" in machine.path(f"/usr/local/share/{made}").read_text()


def test_what_is_installed_does_not_import_from_where_it_is_called(machine: Machine) -> None:
    machine.ok("mkdir", "-p", "/var/tmp/trap/powerd")
    machine.path("/var/tmp/trap/powerd/__init__.py").write_text("raise SystemExit('the wrong one')\n")
    for command in ("powerd --version", "powerctl --version", "powerctl validate /usr/local/share/powerd/models.yaml"):
        machine.ok("sh", "-c", f"cd /var/tmp/trap && {command}")


def test_another_prefix_and_away_again(machine: Machine) -> None:
    before = files(machine.tree, *PLACES)
    where = {"DESTDIR": str(machine.tree), "PREFIX": "/opt/power/"}
    make("install", **where)
    new = files(machine.tree, *PLACES) - before
    assert {path for path in new if not path.startswith("opt/power")} == set()
    assert machine.ok("/opt/power/bin/powerd", "--version") == machine.ok("powerd", "--version")
    unit = machine.path("/opt/power/lib/systemd/system/powerd.service").read_text()
    assert "ExecStart=/opt/power/bin/powerd " in unit
    assert "/usr/local" not in unit
    state = machine.ok("mktemp", "-d")
    machine.ok("/opt/power/bin/powerd", "--check", "--models", "/opt/power/share/powerd/models.yaml", "--state", state)
    make("uninstall", **where)
    assert files(machine.tree, *PLACES) == before


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PREFIX": "usr"}, "PREFIX must be an absolute path"),
        ({"PREFIX": "/a b"}, "without blanks"),
        ({"BACKEND": "gpu", "PYTHON": str(service_python())}, "BACKEND is cpu, cuda, vulkan, metal or rocm, not 'gpu'"),
        ({"PYTHON": "/bin/false"}, "PYTHON=/bin/false is no Python"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_made(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    words = [f"{name}={value}" for name, value in {"DESTDIR": str(tmp_path / "stage"), **variables}.items()]
    done = subprocess.run(["make", "-C", ROOT, "install", *words], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []
