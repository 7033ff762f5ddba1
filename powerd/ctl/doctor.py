"""The verb that works with the daemon down: doctor."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from powerd.control.schema import Node, Status
from powerd.ctl.client import Client
from powerd.ctl.exits import DONE, FAILED, Failed
from powerd.ctl.terminal import Terminal
from powerd.ctl.validate import safe_path


def doctor(arguments: Namespace, terminal: Terminal) -> int:
    """Have this machine and this installation examined by `powerd --doctor`, with the running daemon's own paths."""
    command = [sys.executable, *safe_path(), "-m", "powerd", "--doctor", *_paths(arguments)]
    if arguments.json:
        command.append("--json")
    terminal.flush()
    return DONE if subprocess.run(command, check=False).returncode == 0 else FAILED


def _paths(arguments: Namespace) -> list[str]:
    """The files the running daemon uses; where none answers, the socket that was named."""
    try:
        node = Client(arguments.socket).ask("GET", "/v1/status", Status).node
    except Failed:
        return ["--socket", arguments.socket] if arguments.socket else []
    return _flags(node)


def _flags(node: Node) -> list[str]:
    config = node.config_file if Path(node.config_file).is_file() else ""  # one that was only looked for may be missing
    given = {
        "--config": config,
        "--models": node.models_file,
        "--state": node.state,
        "--store": node.store,
        "--socket": node.socket,
        "--listen": node.listen,
    }
    return [text for flag, value in given.items() if value for text in (flag, value)]
