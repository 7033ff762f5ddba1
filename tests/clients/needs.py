"""`python -m tests.clients.needs`: what this machine lacks for `make clients`, said plainly; exits 1 if anything.

Only the standard library, and no package of ours: it runs before there is a virtual environment.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

#: What Chromium is called, by Debian and by others.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: What Open WebUI's pinned version and the pinned npm packages run on.
PYTHONS = ((3, 11), (3, 12))
NODE = 20


def browser() -> str | None:
    """The path of a Chromium."""
    return next((path for path in map(shutil.which, BROWSERS) if path is not None), None)


def _node_is_new_enough() -> bool:
    if shutil.which("node") is None:
        return False
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    major = said.strip().removeprefix("v").partition(".")[0]
    return major.isdigit() and int(major) >= NODE


def missing() -> list[str]:
    """What is not here, and how to get it; one sentence each."""
    lacks = []
    if sys.version_info[:2] not in PYTHONS:
        lacks.append("Python 3.11 or 3.12, as Open WebUI does: make clients PYTHON=python3.12")
    if browser() is None:
        lacks.append("Chromium: apt-get install --no-install-recommends chromium fonts-dejavu-core")
    if not _node_is_new_enough():
        lacks.append(f"node {NODE} or newer: apt-get install nodejs, or from nodejs.org where that is older")
    if shutil.which("npm") is None:
        lacks.append("npm: apt-get install npm")
    return lacks


def main() -> int:
    """Report; returns the exit code."""
    lacks = missing()
    for lack in lacks:
        sys.stderr.write(f"make clients needs {lack}\n")
    return 1 if lacks else 0


if __name__ == "__main__":
    sys.exit(main())
