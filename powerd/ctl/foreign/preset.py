"""llama-server's presets (`--models-preset FILE`) and its command line. Pure.

An INI file has a section for each model; keys are flags without their dashes, or their LLAMA_ARG_* variables. `[*]`,
and what stands before the first section, holds for all of them.
"""

from __future__ import annotations

import configparser
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from powerd.ctl.foreign.document import Document, Unreadable
from powerd.ctl.foreign.flags import SWITCHES, Flag, flags, name_of, switched
from powerd.ctl.foreign.server import made_of

_ALL = "*"
_VERSION = "version"


class _Presets(configparser.ConfigParser):
    """INI whose keys keep their case, for -c and -C are two flags."""

    def optionxform(self, optionstr: str) -> str:
        """The key as it stands."""
        return optionstr


def preset(text: str, directory: Path) -> Document:
    """The models of a preset; relative paths start at `directory`. Raises Unreadable."""
    parser = _Presets(
        default_section="", interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#", ";")
    )
    try:
        parser.read_string(f"[{_ALL}]\n{text}")
    except configparser.Error as error:
        raise Unreadable(f"no preset: {error.message.splitlines()[0]}") from None
    document = Document()
    for name in parser.sections():
        if name != _ALL:
            _add(document, name, [*parser[_ALL].items(), *parser[name].items()], directory)
    if not document.entries:
        raise Unreadable("no preset: it has no [section] that names a model")
    return document.finish()


def _add(document: Document, name: str, values: Sequence[tuple[str, str]], directory: Path) -> None:
    found = [_flag(key, value) for key, value in values if key != _VERSION]
    entry, aliases = made_of([flag for flag in found if flag is not None], directory, name)
    if "source" not in entry.fields:
        entry.fields = {"source": f"hf.co/{name}", **entry.fields}
        entry.notes.append("its section names no file: taken as the repository on the Hugging Face hub")
    document.add(entry, name, aliases)


def _flag(key: str, value: str) -> Flag | None:
    """A line as a flag. A switch that is off is left out, except one whose opposite it stands for."""
    flag = Flag(name_of(key), value.strip().strip("'\""), f"{key}=")
    off = flag.name in SWITCHES and switched(flag) is False
    return None if off and flag.name not in {"mmap", "no-mmap"} else flag


def command(words: Sequence[str], directory: Path) -> Document:
    """The model of a command line. Raises Unreadable."""
    arguments = server_arguments(words)
    if arguments is None:
        raise Unreadable("no command line of llama-server")
    entry, aliases = made_of(flags(arguments), directory)
    if "source" not in entry.fields:
        raise Unreadable("the command line names no model (-m, -hf or --model-url)")
    document = Document()
    document.add(entry, entry.name, aliases)
    return document.finish()


def server_arguments(words: Sequence[str]) -> Sequence[str] | None:
    """What stands behind llama-server, or behind an image of it in a container; None where it is not run."""
    for index, word in enumerate(words):
        name = PurePosixPath(word).name
        if name.startswith("llama-server") or "llama.cpp:" in word or name == "server.exe":
            return words[index + 1 :]
    return None


def words_of(text: str) -> list[str]:
    """The words of a command line over any number of lines, comments left out. Raises Unreadable."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.lstrip().startswith("#")]
    try:
        return shlex.split(" ".join(lines))
    except ValueError as error:
        raise Unreadable(f"no command line: {error}") from None
