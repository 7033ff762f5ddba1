"""argparse as powerctl uses it: the exit code of wrong usage, and the values that flags take."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from powerd.ctl.exits import USAGE

HELP_WIDTH = 100
_LONGEST_SECONDS = 10**9
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)", re.ASCII)


class Parser(argparse.ArgumentParser):
    """argparse with the design's exit code for wrong usage."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog=prog, allow_abbrev=False, formatter_class=_Help, **options)
        # So that `--keepalive -1m` is a value, as it is for Ollama's command; the default knows plain numbers only.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit 64."""
        self.exit(USAGE, f"{self.format_usage()}Error: {message}\n")


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=HELP_WIDTH)  # a given width saves importing shutil


class Options(argparse.Action):
    """Collects `KEY=VALUE` into a mapping; one key twice is an error, because one of the two would be lost."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add one option."""
        key, value = _option(parser, str(values))
        options = getattr(namespace, self.dest) or {}
        if key in options:
            parser.error(f'option {key} is given twice; write a list as one, for example -o \'stop=["a","b"]\'')
        setattr(namespace, self.dest, {**options, key: value})


def duration(text: str) -> float:
    """Seconds, of a bare number or of a number and one unit."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f'"{text:.40}" is not a length of time; write seconds, or for example 90s, 5m, 2h'
        )
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f'"{text:.40}" is too long; the limit is {_LONGEST_SECONDS} seconds')
    return seconds


def boolean(text: str) -> bool:
    """Go's words for true and false."""
    if text in {"1", "t", "T", "TRUE", "true", "True"}:
        return True
    if text in {"0", "f", "F", "FALSE", "false", "False"}:
        return False
    raise argparse.ArgumentTypeError(f'"{text:.40}" is neither true nor false')


def _option(parser: argparse.ArgumentParser, text: str) -> tuple[str, Any]:
    """`temperature=0.2`: the value is JSON where it reads as JSON, else text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        parser.error(f'"{text}" is not KEY=VALUE; write for example temperature=0.2')
    try:
        return key, msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return key, value
