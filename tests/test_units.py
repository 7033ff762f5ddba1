"""The unit and its drop-ins: what systemd's own checker says of them, and that they agree with the rest."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from powerd.paths import config_directory
from powerd.settings import Settings

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "systemd" / "powerd.service"
DROP_INS = sorted((ROOT / "systemd" / "drop-ins").glob("*.conf"))


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is needed to check the unit: install the package `systemd`"
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def installed(folder: Path, text: str) -> Path:
    """The unit as the checker can read it on a machine where powerd is not installed."""
    unit = folder / "powerd.service"
    unit.write_text(re.sub(r"=/usr/local/bin/power\w+", "=/bin/true", text))
    return unit


def settings(section: str) -> dict[str, list[str]]:
    """The assignments of one section of the unit; a repeated key gathers its values."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif current == section and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def flags(command: list[str]) -> list[str]:
    return [word.removeprefix("--") for word in command if word.startswith("--")]


# The second mode finds unknown keys, which the first lets pass; the first finds missing units.
@pytest.mark.parametrize("mode", [[], ["--recursive-errors=no"]])
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path, mode: list[str]) -> None:
    done = analyze("verify", "--man=no", *mode, installed(tmp_path, UNIT.read_text()))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_check_of_the_unit_can_fail(tmp_path: Path) -> None:
    broken = UNIT.read_text().replace("Restart=", "Restrat=")
    assert analyze("verify", "--man=no", "--recursive-errors=no", installed(tmp_path, broken)).returncode != 0


def test_f28_the_unit_is_exposed_by_at_most_two(tmp_path: Path) -> None:
    unit = installed(tmp_path, UNIT.read_text())
    strict = analyze("security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert strict.returncode == 0, strict.stdout
    assert analyze("security", "--offline=true", "--threshold=1", "--no-pager", unit).returncode != 0


def test_the_unit_agrees_with_itself_about_where_things_are() -> None:
    service = settings("Service")
    start, reload = (shlex.split(service[key][0]) for key in ("ExecStart", "ExecReload"))
    assert service["Type"] == ["notify"]
    assert start[0] == "/usr/local/bin/powerd"
    assert start[start.index("--socket") + 1] == f"/run/{service['RuntimeDirectory'][0]}/control.sock"
    assert start[start.index("--state") + 1] == f"/var/lib/{service['StateDirectory'][0]}"
    environ = dict(line.split("=", 1) for line in service["Environment"])
    assert config_directory(1000, environ, Path("/nowhere")) == Path("/etc") / service["ConfigurationDirectory"][0]
    assert reload[0] == "/usr/local/bin/powerctl"
    assert reload[1:] == ["--socket", start[start.index("--socket") + 1], "apply", "--wait"]


def test_the_unit_uses_flags_the_daemon_has() -> None:
    used = flags(shlex.split(settings("Service")["ExecStart"][0]))
    assert used
    assert set(used) <= set(Settings.model_fields)


def test_the_user_of_the_unit_is_the_one_sysusers_makes() -> None:
    lines = (ROOT / "systemd" / "powerd.sysusers.conf").read_text().splitlines()
    entries = [line.split()[:3] for line in lines if line and not line.startswith("#")]
    assert entries[0][:2] == ["u", settings("Service")["User"][0]]
    # `m` makes a group that is missing; a `g` of our own would contradict the ids that distributions give these.
    assert {tuple(entry) for entry in entries[1:]} == {("m", "power", "video"), ("m", "power", "render")}


def test_what_tmpfiles_makes_is_what_the_unit_uses() -> None:
    service = settings("Service")
    lines = (ROOT / "systemd" / "powerd.tmpfiles.conf").read_text().splitlines()
    made = {line.split()[1]: line.split()[2:5] for line in lines if line and not line.startswith("#")}
    owner, group, mode = service["User"][0], service["Group"][0], service["StateDirectoryMode"][0]
    assert made[f"/var/lib/{service['StateDirectory'][0]}"] == [mode, owner, group]
    assert made[f"/etc/{service['ConfigurationDirectory'][0]}"] == ["0755", "root", "root"]
    # Only ever `d`: it makes a directory that is missing, and never cleans or removes one.
    assert {line.split()[0] for line in lines if line and not line.startswith("#")} == {"d"}


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.stem)
def test_systemd_finds_no_fault_in_a_drop_in(tmp_path: Path, drop_in: Path) -> None:
    unit = installed(tmp_path, UNIT.read_text())
    folder = tmp_path / "powerd.service.d"
    folder.mkdir()
    shutil.copy(drop_in, folder)
    done = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    faults = done.stderr.splitlines()
    if drop_in.stem == "back-off":  # only systemd 254 and newer know these two
        faults = [fault for fault in faults if not re.search("RestartSteps|RestartMaxDelaySec", fault)]
    assert faults == []
    assert analyze("security", "--offline=true", "--threshold=20", "--no-pager", unit).returncode == 0


def test_variables_in_the_drop_ins_are_settings() -> None:
    names = {
        name for drop_in in DROP_INS for name in re.findall(r'^Environment="?(\w+)=', drop_in.read_text(), re.MULTILINE)
    }
    assert names
    for name in names:
        key = name.removeprefix("POWER_").lower()
        assert key.split("_")[0] in Settings.model_fields or key in Settings.model_fields, name
