"""The verb that needs no daemon: validate."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import powerd
from powerd.ctl.exits import DONE, FAILED
from powerd.ctl.terminal import Terminal


def validate(arguments: Namespace, terminal: Terminal) -> int:
    """Check configuration files with `powerd --check`, which needs no running daemon."""
    command = [sys.executable, *safe_path(), "-m", "powerd", "--check"]
    if arguments.file is not None:
        command += ["--models", arguments.file]
    if arguments.config is not None:
        command += ["--config", arguments.config]
    if arguments.json:
        command.append("--json")
    terminal.flush()
    finished = subprocess.run(command, check=False)
    return DONE if finished.returncode == 0 else FAILED


def safe_path() -> list[str]:
    """Flags for a Python that runs `powerd`: `-P` keeps a stray `powerd` in the working directory from being run.

    Not where that directory is the very place powerctl itself was imported from: then powerd is found there only.
    """
    package = Path(powerd.__file__).resolve().parent.parent
    return [] if Path(sys.path[0] or os.curdir).resolve() == package else ["-P"]
