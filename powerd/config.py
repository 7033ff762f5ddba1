"""Config: flags, environment and powerd.yaml become Settings and Paths, or every problem at once."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from powerd import __version__
from powerd.catalog.json_schema import schema
from powerd.catalog.loader import Block, Node, Scalar, load
from powerd.catalog.parse import parse_files
from powerd.catalog.problems import Problems
from powerd.catalog.spec import Catalog, CatalogError, Position, Problem
from powerd.documents import read
from powerd.files import read_text
from powerd.paths import Paths, config_directory, resolve
from powerd.provenance import origins
from powerd.settings import Settings, explain
from powerd.settings import load as fold

#: sysexits.h EX_CONFIG: the operator has to change something; restarting will not help.
EX_CONFIG = 78


class BadConfig(Exception):
    """Settings that cannot be used; one sentence per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Config:
    """What the daemon runs with."""

    settings: Settings
    paths: Paths
    origins: Mapping[str, str] = field(default_factory=dict)  # what set each option, by dotted key


def parser() -> argparse.ArgumentParser:
    """The daemon's command line."""
    flags = argparse.ArgumentParser(
        prog="powerd",
        description="Keeps this machine's language models as models.yaml declares them, and serves them.",
        epilog="Exit codes: 0 clean stop, 1 --fsck found damage, 2 --plan or --diff found changes, 78 bad "
        "configuration or another powerd is running. Each option is also a POWER_* variable and a key of powerd.yaml.",
    )
    flags.add_argument("--config", type=Path, metavar="F", help="powerd.yaml")
    flags.add_argument("--models", type=Path, metavar="F", help="models.yaml")
    flags.add_argument("--state", type=Path, metavar="DIR", help="generations, store and control socket live here")
    flags.add_argument("--store", type=Path, metavar="DIR", help="the store, where not below the state directory")
    flags.add_argument("--listen", metavar="HOST:PORT", help="address of the APIs (127.0.0.1:11434)")
    flags.add_argument("--socket", type=Path, metavar="PATH", help="control socket")
    flags.add_argument("--check", action="store_true", help="check powerd.yaml and models.yaml, start nothing")
    flags.add_argument("--schema", action="store_true", help="print the JSON schema of models.yaml")
    flags.add_argument("--doctor", action="store_true", help="examine this machine and installation, start nothing")
    flags.add_argument("--fsck", action="store_true", help="check every byte of the store, start nothing")
    flags.add_argument(
        "--plan", nargs="?", const="", metavar="F", help="what a start would change, F in models.yaml's place; no start"
    )
    flags.add_argument("--diff", action="store_true", help="models.yaml, the last generation and the store; no start")
    flags.add_argument("--installed", action="store_true", help="list the models on this machine as JSON, no start")
    flags.add_argument("--locked", action="store_true", help="refuse sources that are not in models.lock.yaml")
    flags.add_argument("--repair", action="store_true", help="with --fsck: move corrupt blobs away")
    flags.add_argument("--json", action="store_true", help="with a check, plan or diff: print a JSON object")
    flags.add_argument("--version", action="version", version=f"powerd {__version__}")
    return flags


def configure(flags: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """Fold every layer. Raises BadConfig."""
    uid, home = os.geteuid(), Path(environ.get("HOME") or "/")
    given: dict[str, Any] = {
        name: value
        for name in ("config", "models", "state", "listen", "socket")
        if (value := getattr(flags, name)) is not None
    }
    if flags.locked:
        given["locked"] = True
    if flags.store is not None:
        given["store"] = {"path": flags.store}
    path = flags.config or Path(environ.get("POWER_CONFIG") or config_directory(uid, environ, home) / "powerd.yaml")
    named = flags.config is not None or bool(environ.get("POWER_CONFIG"))
    values, keys = _read(path, must_exist=named)
    try:
        settings = fold({**given, "config": path}, environ, values)
    except ValidationError as error:
        raise BadConfig([f"{keys.get(key, path)}: {sentence}" for key, sentence in explain(error)]) from None
    places = {key: f"{at.file}:{at.line}" for key, at in keys.items()}
    return Config(settings, resolve(settings, uid, environ, home), origins(given, environ, places))


def _read(path: Path, *, must_exist: bool) -> tuple[dict[str, Any], dict[str, Position]]:
    """powerd.yaml as plain values, and where each key stands; a file nobody named may be missing."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        if must_exist:
            raise BadConfig([f"{path}: there is no such file"]) from None
        return {}, {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadConfig([f"{path}: {reason}"]) from None
    problems = Problems()
    try:
        root = load(text, str(path), problems)
        problems.settle()
    except CatalogError as error:
        raise BadConfig([str(problem) for problem in error.problems]) from None
    if root is None or (isinstance(root, Scalar) and root.value is None):
        return {}, {}
    if not isinstance(root, Block):
        raise BadConfig([f"{root.at}: powerd.yaml is a mapping of options"])
    keys: dict[str, Position] = {}
    return _plain_block(root, "", keys), keys


def _plain_block(block: Block, prefix: str, keys: dict[str, Position]) -> dict[str, Any]:
    values = {}
    for entry in block.entries:
        keys[prefix + entry.key] = entry.at
        values[entry.key] = _plain(entry.node, f"{prefix}{entry.key}.", keys)
    return values


def _plain(node: Node, prefix: str, keys: dict[str, Position]) -> Any:
    if isinstance(node, Block):
        return _plain_block(node, prefix, keys)
    if isinstance(node, Scalar):
        return node.value
    return [_plain(item, prefix, keys) for item in node.nodes]


def check(flags: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """`powerd --check`: say what is wrong with both files; 0 when nothing is, else 78."""
    problems: list[str] = []
    warnings: tuple[Problem, ...] = ()
    models = 0
    try:
        config = configure(flags, environ)
    except BadConfig as error:
        problems = error.problems
    else:
        try:
            catalog = _check_models(config.paths.models, named=flags.models is not None)
            warnings, models = catalog.warnings, len(catalog.models)
        except CatalogError as error:
            problems = [str(problem) for problem in error.problems]
        except BadConfig as error:
            problems = error.problems
    _report(problems, [str(warning) for warning in warnings], models, as_json=flags.json)
    return EX_CONFIG if problems else 0


def _check_models(path: Path, *, named: bool) -> Catalog:
    reading = read(path, guarded=False)
    if reading.problem:
        raise BadConfig([reading.problem])
    if named and str(path) not in reading.documents:
        raise BadConfig([f"{path}: there is no such file"])
    return parse_files(reading.documents, file=str(path), read_file=read_text)


def print_schema() -> int:
    """`powerd --schema`: the JSON schema of models.yaml on standard output."""
    sys.stdout.write(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
    return 0


def _report(problems: list[str], warnings: list[str], models: int, *, as_json: bool) -> None:
    if as_json:
        report = {"valid": not problems, "models": models, "problems": problems, "warnings": warnings}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
    if not problems:
        sys.stdout.write(f"valid: {models} model{'' if models == 1 else 's'} declared\n")
