"""What the `powerd` command does while no daemon runs: `--fsck`, `--plan`, `--diff` and `--installed`.

They print what powerctl shows. All but the first read beside a daemon that may hold the store, and write nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import msgspec

from powerd.control.installed import installed_reply
from powerd.control.plan import diff_reply, plan_reply
from powerd.control.schema_plan import DiffReply, PlanModel, PlanMove, PlanReply
from powerd.control.schema_store import FsckReport, InstalledReply
from powerd.control.store import fsck_report
from powerd.documents import Reading, read
from powerd.errors import PowerError
from powerd.files import read_text
from powerd.fleet.footprints import Footprints
from powerd.fleet.survey import Survey
from powerd.fleet.terms import FleetConfig
from powerd.machine import engine
from powerd.paths import Paths
from powerd.quantities import show_bytes
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.generations.generation import Generations
from powerd.reconcile.generations.history import History
from powerd.reconcile.planning.diff import diff
from powerd.reconcile.planning.planning import plan
from powerd.reconcile.planning.standstill import Machine, entries_of, ground_of
from powerd.reconcile.reach import Reach
from powerd.settings import Settings
from powerd.sources.configured import outbound_config
from powerd.sources.hub.model import HubConfig
from powerd.sources.transport.outbound import Outbound
from powerd.store.lower import default_lower
from powerd.store.store import Store

#: Exit codes: nothing to do, a file that would be refused, changes.
DONE, FAILED, CHANGES = 0, 1, 2


def check_store(root: Path, *, repair: bool, as_json: bool) -> int:
    """Check every byte; returns 0 when no model is harmed, else 1.

    Raises Conflict while a daemon holds the store, StoreFailed.
    """
    store = Store(root)
    store.open()
    try:
        report = fsck_report(store.fsck(repair=repair))
    finally:
        store.close()
    if as_json:
        _print_json(report)
    else:
        _print(report)
    return 0 if report.sound else 1


def _print(report: FsckReport) -> None:
    for finding in report.findings:
        needed = f"; needed by {', '.join(finding.models)}" if finding.models else ""
        moved = f"; moved to {finding.moved_to}, the next pull fetches it again" if finding.moved_to else ""
        sys.stdout.write(f"{finding.kind.replace('_', ' ')}: {finding.message}{needed}{moved}\n")
    judged = "sound" if report.sound else "not sound"
    size = show_bytes(report.bytes)
    sys.stdout.write(f"{report.blobs} blobs, {size}, {report.manifests} manifests: {judged}\n")


def _print_json(reply: FsckReport | PlanReply | DiffReply | InstalledReply) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(reply), indent=2).decode() + "\n")


def list_installed(settings: Settings, paths: Paths) -> int:
    """`powerd --installed`: print what is installed as JSON; returns 0. Raises StoreFailed."""
    _print_json(installed_reply(_peeked(settings, paths, os.environ), paths.models))
    return DONE


def _peeked(settings: Settings, paths: Paths, environ: Mapping[str, str]) -> Store:
    """The store and its lower stores, to read only."""
    lower = settings.store.read_only
    home = Path(environ.get("HOME") or "/")
    store = Store(
        paths.store,
        lower=default_lower(home, environ) if lower is None else [Path(path) for path in lower],
        quota=settings.store.quota,
    )
    store.peek()
    return store


# ---------------------------------------------------------------- plan and diff


class Standing:
    """The last generation, the store and the way out, as the settings give them."""

    def __init__(self, settings: Settings, paths: Paths, environ: Mapping[str, str], node: NodeDefaults) -> None:
        store = _peeked(settings, paths, environ)
        hub = HubConfig(settings.sources.huggingface.endpoint, settings.sources.huggingface.token_file)
        self.reach = Reach(store, Outbound(outbound_config(settings, paths.state)), hub)
        self.node = node
        self.generations = Generations(
            paths.models,
            History(paths.state / "generations", settings.keep_generations),
            allow_empty=settings.allow_empty,
            locked=settings.locked,
            accepted=lambda _changed: None,
            judged=lambda _valid, _reason, _message: None,
        )
        self.generations.recall()
        self.entries = entries_of(self.generations, self.reach, node)

    async def planned(self, machine: Machine, text: str | None) -> PlanReply:
        """What a daemon started now would do beyond its last generation. Raises StoreFailed."""
        reading = read(self.generations.path)
        if text is not None:
            reading = Reading({**reading.documents, str(self.generations.path): text})
        judged = await self.generations.judge(reading)
        ground = ground_of(self.generations, self.entries, self.reach, self.node, machine)
        async with self.reach.outbound:
            return plan_reply(await plan(ground, self.entries, self.generations, judged))

    async def differing(self) -> DiffReply:
        """The file, the last generation and what is in the store; nothing runs."""
        judged = await self.generations.judge(read(self.generations.path))
        rows = diff(judged.catalog, self.entries, lambda _entry: None, running=False)
        return diff_reply(judged, self.generations, [asdict(row) for row in rows])


def foretell(settings: Settings, paths: Paths, file: str | None, *, as_json: bool) -> int:
    """`powerd --plan [F]` (`file` empty: as it is) or, with None, `powerd --diff`: print it.

    Returns 0 when there is nothing to do, 2 when there is, 1 when the file would be refused or cannot be looked at.
    """
    survey = Survey(settings)
    footprints = Footprints(paths.state / "footprints.json", engine(), survey.current)
    try:
        standing = Standing(settings, paths, os.environ, NodeDefaults.of(settings, survey.current))
        if file is None:
            return _show_diff(asyncio.run(standing.differing()), as_json=as_json)
        asyncio.run(survey.look())
        machine = Machine(FleetConfig.of(settings), survey.devices, footprints.need)
        return _show_plan(asyncio.run(standing.planned(machine, _text(file))), as_json=as_json)
    except PowerError as error:
        sys.stderr.write(f"powerd: {error}\n")
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"powerd: {file}: {error.strerror if isinstance(error, OSError) else 'not UTF-8'}\n")
    return FAILED


def _text(file: str) -> str | None:
    """What is to stand in models.yaml's place; None: what does. Raises OSError, UnicodeDecodeError."""
    if not file:
        return None
    return sys.stdin.read() if file == "-" else read_text(Path(file))


def _show_plan(reply: PlanReply, *, as_json: bool) -> int:
    if as_json:
        _print_json(reply)
    else:
        for line in [*reply.problems, *map(_model_line, reply.models), *map(_move_line, reply.moves)]:
            sys.stdout.write(f"{line}\n")
    return FAILED if reply.problems else CHANGES if reply.changes else DONE


def _model_line(model: PlanModel) -> str:
    told = [f"{one.name} {one.before} -> {one.after}" for one in model.fields]
    if model.fetch is not None:
        told.append(model.fetch.problem or f"fetch {show_bytes(model.fetch.missing)} from {model.fetch.place}")
    told += [*(f"{one.what} deleted: {one.when}" for one in model.deletes), *model.warnings]
    return f"{model.action} {model.name} {model.change}".rstrip() + (f": {'; '.join(told)}" if told else "")


def _move_line(move: PlanMove) -> str:
    sizes = ", ".join(f"{show_bytes(size)} on {device}" for device, size in move.bytes.items())
    return f"{move.kind} {move.model}: {sizes} ({move.why})"


def _show_diff(reply: DiffReply, *, as_json: bool) -> int:
    if as_json:
        _print_json(reply)
    else:
        for line in reply.problems:
            sys.stdout.write(f"{line}\n")
        for row in reply.rows:
            if row.kind != "same":
                sys.stdout.write(f"{row.kind} {row.model} {row.field}: {row.file}, {row.accepted}, {row.actual}\n")
    return FAILED if reply.problems else CHANGES if reply.changes else DONE
