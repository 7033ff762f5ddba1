"""powerctl's entry point: reads the command line, hands it to its verb, turns every ending into an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from powerd.ctl.arguments import parse
from powerd.ctl.exits import BROKEN_PIPE, DONE, FAILED, INTERRUPTED, Failed
from powerd.ctl.terminal import Terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Run powerctl; returns its exit code. Help, version and wrong usage raise SystemExit.

    Called by a link of the name `ollama`, it is Ollama's command.
    """
    terminal = Terminal(sys.stdout, sys.stderr, os.environ)
    act = _as_ollama if argv is None and Path(sys.argv[0]).name == "ollama" else _as_powerctl
    try:
        return act(sys.argv[1:] if argv is None else argv, terminal)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _abandon_output()
        return BROKEN_PIPE


def _as_powerctl(argv: Sequence[str], terminal: Terminal) -> int:
    verb, arguments = parse(argv)
    return _finish(_handler(verb.handler), arguments, terminal)


def _as_ollama(argv: Sequence[str], terminal: Terminal) -> int:
    """Carry out one command line of Ollama's; whatever fails, it exits 1."""
    from powerd.ctl import ollama  # noqa: PLC0415 - powerctl needs none of it

    def act(_arguments: Namespace, terminal: Terminal) -> int:
        parsed = ollama.parse(argv, terminal)
        return DONE if parsed is None else _handler(parsed[0])(parsed[1], terminal)

    return FAILED if _finish(act, Namespace(), terminal) else DONE


def _handler(name: str) -> Callable[[Namespace, Terminal], int]:
    """The function that a verb names as `module:function`."""
    module, _, function = name.partition(":")
    handler: Callable[[Namespace, Terminal], int] = getattr(importlib.import_module(f"powerd.ctl.{module}"), function)
    return handler


def _finish(handler: Callable[[Namespace, Terminal], int], arguments: Namespace, terminal: Terminal) -> int:
    """Run a verb and see its output out of this process."""
    try:
        code = handler(arguments, terminal)
        terminal.flush()
    except Failed as failure:
        terminal.error(failure.message)
        code = failure.code
    except BrokenPipeError:
        raise
    except OSError as error:
        _abandon_output()
        terminal.error(f"{error.filename or 'the output'}: {error.strerror or error}")
        code = FAILED
    return code


def _abandon_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter's last flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
