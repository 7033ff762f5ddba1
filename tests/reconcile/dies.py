"""Kills a reconciler at each of its failpoints: `python -m tests.reconcile.dies DIRECTORY`.

For every point a fork works through three generations in DIRECTORY/<point> and is killed there; a second fork starts
on what is left, and a third does all the work again. Prints a JSON object: by point, the exit code of the first, and
what the others ended with. The point "" is the work that nobody kills.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from powerd.reconcile import reconciler
from powerd.reconcile.generations.rollback import roll_back
from powerd.store import failpoints
from tests.gguf_maker import tiny
from tests.reconcile.rig import Rig

reconciler.WITHDRAW_SECONDS = 0.05


def state(rig: Rig) -> dict[str, Any]:
    """What is served, of what bytes, with which text."""
    offers = {offer.name.model: offer for offer in rig.library.offers() if offer.origin == "declared"}
    return {
        "served": {name: [offer.stored.weights_digest.short, offer.system] for name, offer in sorted(offers.items())},
        "manifests": sorted(rig.manifests()),
        "settled": all(entry.trouble is None for entry in rig.reconciler.entries.values()),
        "recorded": sorted(rig.reconciler.generations.resolved),
        "leftovers": [path.name for path in (rig.directory / "generations").glob(".new-*")],
    }


async def work(directory: Path) -> dict[str, Any]:
    """Two generations, then back to the first."""
    rig = Rig(directory, keep=2)
    a, b, c = (directory.parent / f"{letter}.gguf" for letter in "abc")
    rig.models(f"  a: {{source: {a}, system: one}}\n  b: {{source: {b}}}\n")
    async with rig.running():
        first = rig.reconciler.generations.number
        rig.models(f"  a: {{source: {c}, system: two}}\n  d: {{source: {b}}}\n")
        await rig.apply()
        await roll_back(rig.reconciler.generations, rig.store, first)
        assert await rig.reconciler.waiting.settle(10)
        return state(rig)


async def resume(directory: Path) -> dict[str, Any]:
    """Start on what is there, and see it settled."""
    rig = Rig(directory, keep=2)
    async with rig.running():
        assert not (await rig.plan()).changes
        return state(rig)


async def again(directory: Path) -> list[dict[str, Any]]:
    """Start on what a killed process left, then do all the work again."""
    return [await resume(directory), await work(directory)]


def fork(directory: Path, point: str, job: Any) -> int:
    """A job in a process of its own, killed at `point`; its answer goes to `directory`/answer. Returns the pid."""
    child = os.fork()
    if child == 0:
        failpoints.arm(f"{point}=kill" if point else "")
        try:
            (directory / "answer").write_text(json.dumps(asyncio.run(job(directory))))
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{point} {job.__name__}: {error!r}\n")
            os._exit(1)
    return child


def all_at_once(root: Path, points: list[str], job: Any, *, armed: bool) -> dict[str, tuple[int, Any]]:
    """One process for each point; exit code and answer by point."""
    children = {point: fork(root / (point or "alive"), point if armed else "", job) for point in points}
    told = {}
    for point, child in children.items():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer = root / (point or "alive") / "answer"
        told[point] = code, json.loads(answer.read_text()) if code == 0 else None
    return told


def main(root: Path) -> None:
    for seed, letter in enumerate("abc", 1):
        tiny(root / f"{letter}.gguf", seed=seed)
    points = ["", *failpoints.RECONCILE_POINTS]
    for point in points:
        (root / (point or "alive")).mkdir()
    first = all_at_once(root, points, work, armed=True)
    second = all_at_once(root, points, again, armed=False)
    told = {point: [first[point][0], *(second[point][1] or [None, None])] for point in points}
    sys.stdout.write("\n" + json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
