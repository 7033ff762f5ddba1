"""The launchd jobs, by what can be checked without launchd: plistlib, Apple's DTD, a table of launchd.plist(5)."""

from __future__ import annotations

import plistlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from powerd.config import configure, parser

ROOT = Path(__file__).parent.parent
DAEMON = ROOT / "launchd" / "org.powerd.powerd.plist"
AGENT = ROOT / "launchd" / "org.powerd.agent.plist"
BOTH = pytest.mark.parametrize("plist", [DAEMON, AGENT], ids=lambda path: path.stem)

#: launchd.plist(5): every key, and the types a value may have. bool stands before int, of which it is a kind in Python.
KEYS: dict[str, tuple[type, ...]] = {
    "AbandonProcessGroup": (bool,),
    "BundleProgram": (str,),
    "Debug": (bool,),
    "Disabled": (bool, dict),
    "EnableGlobbing": (bool,),
    "EnablePressuredExit": (bool,),
    "EnableTransactions": (bool,),
    "EnvironmentVariables": (dict,),
    "ExitTimeOut": (int,),
    "GroupName": (str,),
    "HardResourceLimits": (dict,),
    "InitGroups": (bool,),
    "KeepAlive": (bool, dict),
    "Label": (str,),
    "LaunchEvents": (dict,),
    "LaunchOnlyOnce": (bool,),
    "LegacyTimers": (bool,),
    "LimitLoadToHardware": (dict,),
    "LimitLoadToSessionType": (str, list),
    "LowPriorityBackgroundIO": (bool,),
    "LowPriorityIO": (bool,),
    "MachServices": (dict,),
    "MaterializeDatalessFiles": (bool,),
    "Nice": (int,),
    "ProcessType": (str,),
    "Program": (str,),
    "ProgramArguments": (list,),
    "QueueDirectories": (list,),
    "RootDirectory": (str,),
    "RunAtLoad": (bool,),
    "SessionCreate": (bool,),
    "Sockets": (dict,),
    "SoftResourceLimits": (dict,),
    "StandardErrorPath": (str,),
    "StandardInPath": (str,),
    "StandardOutPath": (str,),
    "StartCalendarInterval": (dict, list),
    "StartInterval": (int,),
    "StartOnMount": (bool,),
    "ThrottleInterval": (int,),
    "TimeOut": (int,),
    "Umask": (int, str),
    "UserName": (str,),
    "WaitForDebugger": (bool,),
    "WatchPaths": (list,),
    "WorkingDirectory": (str,),
}
LIMITS = {
    "Core",
    "CPU",
    "Data",
    "FileSize",
    "MemoryLock",
    "NumberOfFiles",
    "NumberOfProcesses",
    "ResidentSetSize",
    "Stack",
}
KEEP_ALIVE = {"SuccessfulExit": bool, "Crashed": bool, "PathState": dict, "OtherJobEnabled": dict}
PROCESS_TYPES = {"Background", "Standard", "Adaptive", "Interactive"}

OBJECTS = {"array", "data", "date", "dict", "real", "integer", "string", "true", "false"}
DOCTYPE = '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">'


def dtd_faults(text: str) -> list[str]:
    """What PropertyList-1.0.dtd does not allow: its content models, one by one."""
    root = ET.fromstring(text)
    faults = [] if DOCTYPE in text else ["not declared to be a property list"]
    if root.tag != "plist" or set(root.attrib) - {"version"} or len(root) != 1:
        faults.append("<!ELEMENT plist %plistObject;> with the attribute version")
    return faults + [fault for child in root for fault in _object_faults(child)]


def _object_faults(element: ET.Element) -> list[str]:
    children = [child.tag for child in element]
    faults = [f"<{element.tag}> has attributes"] if element.attrib else []
    if element.tag not in OBJECTS:
        faults.append(f"<{element.tag}> is no object")
    elif element.tag == "dict":
        if set(children[::2]) - {"key"} or "key" in children[1::2] or len(children) % 2:
            faults.append("<!ELEMENT dict (key, %plistObject;)*>")
    elif element.tag != "array" and children:
        faults.append(f"<{element.tag}> holds elements")
    if element.tag in {"true", "false"} and (element.text or "").strip():
        faults.append(f"<!ELEMENT {element.tag} EMPTY>")
    if element.tag in {"array", "dict"} and any((text or "").strip() for text in _texts(element)):
        faults.append(f"<{element.tag}> holds text")
    return faults + [fault for child in element if child.tag != "key" for fault in _object_faults(child)]


def _texts(element: ET.Element) -> list[str | None]:
    return [element.text, *(child.tail for child in element)]


def key_faults(job: dict[str, Any]) -> list[str]:
    """What is wrong with a job by launchd.plist(5)."""
    faults = [
        f"{key}: unknown or of the wrong type" for key, value in job.items() if type(value) not in KEYS.get(key, ())
    ]
    faults += [f"{key}: missing" for key in ("Label", "ProgramArguments") if key not in job]
    if not all(isinstance(word, str) for word in job.get("ProgramArguments", [])):
        faults.append("ProgramArguments: not all strings")
    keep = job.get("KeepAlive", {})
    for key, value in keep.items() if isinstance(keep, dict) else ():
        if type(value) is not KEEP_ALIVE.get(key):
            faults.append(f"KeepAlive.{key}: unknown or of the wrong type")
    for limits in ("SoftResourceLimits", "HardResourceLimits"):
        for key, value in job.get(limits, {}).items():
            if key not in LIMITS or type(value) is not int:
                faults.append(f"{limits}.{key}: unknown or of the wrong type")
    if not all(isinstance(value, str) for value in job.get("EnvironmentVariables", {}).values()):
        faults.append("EnvironmentVariables: not all strings")
    if job.get("ProcessType", "Standard") not in PROCESS_TYPES:
        faults.append("ProcessType: unknown")
    return faults


def job(plist: Path) -> dict[str, Any]:
    read: dict[str, Any] = plistlib.loads(plist.read_bytes())
    return read


@BOTH
def test_a_job_is_valid_by_the_dtd(plist: Path) -> None:
    assert dtd_faults(plist.read_text()) == []


@pytest.mark.parametrize(
    "inner",
    [
        "<dict><string>x</string><string>y</string></dict>",
        "<dict><key>x</key></dict>",
        "<dict><key>x</key><bool/></dict>",
        "<dict><key>x</key><true>yes</true></dict>",
        "<dict><key>x</key><string>a<true/></string></dict>",
        '<dict><key>x</key><integer size="4">1</integer></dict>',
        "<dict/><dict/>",
        "<array>x</array>",
    ],
)
def test_the_check_by_the_dtd_can_fail(inner: str) -> None:
    assert dtd_faults(f'{DOCTYPE}\n<plist version="1.0">{inner}</plist>') != []
    assert dtd_faults(f'{DOCTYPE}\n<plist version="1.0"><dict><key>x</key><true/></dict></plist>') == []


@BOTH
def test_a_job_has_only_keys_launchd_knows(plist: Path) -> None:
    assert key_faults(job(plist)) == []
    assert len(re.findall(r"^\t<key>", plist.read_text(), re.MULTILINE)) == len(job(plist)), "a key stands twice"


@pytest.mark.parametrize(
    "wrong",
    [
        {"KeepAlife": True},
        {"KeepAlive": {"SuccessfulExit": 0}},
        {"RunAtLoad": 1},
        {"ExitTimeOut": "60"},
        {"ProcessType": "Fast"},
        {"HardResourceLimits": {"Files": 1}},
        {"ProgramArguments": ["powerd", 1]},
    ],
)
def test_the_check_of_the_keys_can_fail(wrong: dict[str, Any]) -> None:
    assert key_faults(job(DAEMON) | wrong) != []


@BOTH
def test_a_job_starts_by_itself_and_again_after_a_failure_and_is_named_for_its_label(plist: Path) -> None:
    known = job(plist)
    assert plist.name == f"{known['Label']}.plist"
    assert known["RunAtLoad"] is True
    assert known["KeepAlive"] == {"SuccessfulExit": False}
    assert known["Umask"] == 0o077
    assert "/usr/local/bin/powerd" in " ".join(known["ProgramArguments"])


@BOTH
def test_a_job_tells_powerd_nothing_but_its_file(plist: Path) -> None:
    known = job(plist)
    assert "EnvironmentVariables" not in known
    words = " ".join(known["ProgramArguments"])
    assert set(re.findall(r"--\w+", words)) <= {"--config"}


def test_the_daemons_file_as_installed_on_macos_says_where_the_state_is(tmp_path: Path) -> None:
    text = re.sub(r"^# state:", "state:", (ROOT / "etc/powerd.yaml").read_text(), flags=re.MULTILINE)
    (tmp_path / "powerd.yaml").write_text(text)
    _, flag, path = job(DAEMON)["ProgramArguments"]
    assert (flag, path) == ("--config", "/etc/power/powerd.yaml")
    config = configure(parser().parse_args(["--config", str(tmp_path / "powerd.yaml")]), {"HOME": "/var/empty"})
    assert str(config.paths.state) == job(DAEMON)["WorkingDirectory"] == "/var/lib/power"
    assert str(config.paths.socket) == "/var/lib/power/control.sock"
    assert job(DAEMON)["StandardErrorPath"].startswith("/var/lib/power/")


def test_the_agent_ends_when_powerd_ends_and_logs_at_home() -> None:
    shell, flag, command = job(AGENT)["ProgramArguments"]
    assert (shell, flag) == ("/bin/sh", "-c")
    assert command == 'exec /usr/local/bin/powerd >>"$HOME/Library/Logs/powerd.log" 2>&1'
