"""The service files: what systemd's own checker says of the unit, and a table of launchd's keys for the plist."""

from __future__ import annotations

import plistlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from powerd.paths import config_directory
from powerd.settings import Settings

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "systemd" / "powerd.service"
PLIST = ROOT / "launchd" / "org.powerd.powerd.plist"

#: launchd.plist(5): the keys this file may use and their types.
LAUNCHD_KEYS: dict[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "UserName": str,
    "GroupName": str,
    "WorkingDirectory": str,
    "Umask": int,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "SoftResourceLimits": dict,
    "HardResourceLimits": dict,
    "StandardOutPath": str,
    "StandardErrorPath": str,
    "EnvironmentVariables": dict,
    "Nice": int,
    "AbandonProcessGroup": bool,
}
LIMIT_KEYS = {"Core", "CPU", "Data", "FileSize", "MemoryLock", "NumberOfFiles", "NumberOfProcesses", "Stack"}
KEEP_ALIVE_KEYS = {"SuccessfulExit": bool, "Crashed": bool, "PathState": dict, "OtherJobEnabled": dict}


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


def test_the_service_files_use_flags_the_daemon_has() -> None:
    used = flags(shlex.split(settings("Service")["ExecStart"][0]))
    used += flags(plistlib.loads(PLIST.read_bytes())["ProgramArguments"])
    assert used
    assert set(used) <= set(Settings.model_fields)


def test_the_user_of_the_unit_is_the_one_sysusers_makes() -> None:
    lines = (ROOT / "systemd" / "powerd.sysusers.conf").read_text().splitlines()
    entries = [line.split()[:3] for line in lines if line and not line.startswith("#")]
    assert entries[0][:2] == ["u", settings("Service")["User"][0]]
    groups = {entry[1] for entry in entries if entry[0] == "g"}
    assert groups == {entry[2] for entry in entries if entry[0] == "m"}


def launchd_faults(job: dict[str, Any]) -> list[str]:
    """What is wrong with a job by the table above."""
    faults = [
        f"{key}: unknown or of the wrong type" for key, value in job.items() if type(value) is not LAUNCHD_KEYS.get(key)
    ]
    if not all(isinstance(word, str) for word in job.get("ProgramArguments", [])):
        faults.append("ProgramArguments: not all strings")
    for key, value in job.get("KeepAlive", {}).items():
        if type(value) is not KEEP_ALIVE_KEYS.get(key):
            faults.append(f"KeepAlive.{key}: unknown or of the wrong type")
    for limits in ("SoftResourceLimits", "HardResourceLimits"):
        for key, value in job.get(limits, {}).items():
            if key not in LIMIT_KEYS or type(value) is not int:
                faults.append(f"{limits}.{key}: unknown or of the wrong type")
    if not all(isinstance(value, str) for value in job.get("EnvironmentVariables", {}).values()):
        faults.append("EnvironmentVariables: not all strings")
    if job.get("ProcessType", "Standard") not in {"Background", "Standard", "Adaptive", "Interactive"}:
        faults.append("ProcessType: unknown")
    return faults


def test_the_plist_has_only_keys_launchd_knows() -> None:
    job = plistlib.loads(PLIST.read_bytes())
    assert launchd_faults(job) == []
    assert len(re.findall(r"^\t<key>", PLIST.read_text(), re.MULTILINE)) == len(job), "a key stands twice"


@pytest.mark.parametrize(
    "wrong",
    [
        {"KeepAlife": True},
        {"KeepAlive": {"SuccessfulExit": 0}},
        {"Umask": "63"},
        {"ProcessType": "Fast"},
        {"HardResourceLimits": {"Files": 1}},
    ],
)
def test_the_check_of_the_plist_can_fail(wrong: dict[str, Any]) -> None:
    assert launchd_faults(plistlib.loads(PLIST.read_bytes()) | wrong) != []


def test_the_plist_starts_at_boot_and_again_after_a_failure_and_is_named_for_its_label() -> None:
    job = plistlib.loads(PLIST.read_bytes())
    assert PLIST.name == f"{job['Label']}.plist"
    assert job["RunAtLoad"] is True
    assert job["KeepAlive"] == {"SuccessfulExit": False}
    assert job["ProgramArguments"][0] == "/usr/local/bin/powerd"
    assert config_directory(1000, job["EnvironmentVariables"], Path("/nowhere")) == Path("/etc/power")
    assert job["Umask"] == 0o077
