"""`python -m tests.systemd.needs`: what this machine lacks for booting a systemd, said plainly; exits 1 if anything.

Only the standard library, and no package of ours: it runs before there is a virtual environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

#: Programs, and the Debian package each is in.
PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "dbus-daemon": "dbus",
    "docker-registry": "docker-registry",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "ps": "procps",
    "make": "make",
}
_SUITABLE = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"


def service_python() -> str | None:
    """A Python the service can use: one that does not lie in a home directory, with venv."""
    for candidate in ("/usr/bin/python3", "/usr/local/bin/python3", shutil.which("python3") or ""):
        real = os.path.realpath(candidate)
        if real.startswith(("/root/", "/home/")) or not os.access(candidate, os.X_OK):
            continue
        if subprocess.run([candidate, "-c", _SUITABLE], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def missing() -> list[str]:
    """What is not here, and how to get it; one sentence each."""
    if not sys.platform.startswith("linux"):
        return ["Linux: systemd runs nowhere else"]
    lacks = [
        f"{program}: apt-get install {package}"
        for program, package in PROGRAMS.items()
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None
    ]
    if os.geteuid() != 0:
        lacks.append("root, for mounts and namespaces: sudo make test-systemd")
    if not Path("/lib/systemd/systemd").exists():
        lacks.append("systemd itself: apt-get install systemd systemd-sysv")
    if "overlay" not in Path("/proc/filesystems").read_text():
        lacks.append("overlayfs in the kernel: modprobe overlay")
    if service_python() is None:
        lacks.append("Python 3.11 or newer with venv outside of home directories: apt-get install python3 python3-venv")
    return lacks


def main() -> int:
    """Report; returns the exit code."""
    lacks = missing()
    for lack in lacks:
        sys.stderr.write(f"make test-systemd needs {lack}\n")
    return 1 if lacks else 0


if __name__ == "__main__":
    sys.exit(main())
