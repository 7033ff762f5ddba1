"""powerctl's entry point: reads the command line, hands it to its verb, turns every ending into an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from powerd.ctl.arguments import parse
from powerd.ctl.exits import BROKEN_PIPE, FAILED, INTERRUPTED, Failed
from powerd.ctl.terminal import Terminal
from powerd.ctl.verb import Verb


def main(argv: Sequence[str] | None = None) -> int:
    """Run powerctl; returns its exit code. Help, version and wrong usage raise SystemExit."""
    terminal = Terminal(sys.stdout, sys.stderr, os.environ)
    try:
        verb, arguments = parse(sys.argv[1:] if argv is None else argv)
        return _finish(_handler(verb), arguments, terminal)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _abandon_output()
        return BROKEN_PIPE


def _handler(verb: Verb) -> Callable[[Namespace, Terminal], int]:
    module, _, function = verb.handler.partition(":")
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
