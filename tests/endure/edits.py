"""Edits under load: a models.yaml that is rewritten all the time, and clients that must never notice.

Two models of random weights are resident and answer eight streaming clients; a third comes and goes. Edits are valid
or broken, and are written in each way an editor or a deployment writes: renamed into place, in place in two halves,
by flipping a symbolic link, and by deleting first. What was loaded is counted in the daemon's own log and compared
with what the edits asked for.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import yaml

from tests.gguf_maker import full
from tests.wire.powerd_process import Powerd

CONVERGE_SECONDS = 5.0
CLIENTS = 8
HEAD = "apiVersion: powerd/v1\n"
#: What of a model its process is made of: a change here is one load of a resident model.
RELOADING = ("source", "context", "parallel", "kv_cache", "batch", "flash_attention", "threads")


@dataclass(frozen=True)
class Declared:
    """One model as an edit would have it."""

    source: str
    context: int = 512
    parallel: int = 8
    kv_cache: str = "f16"
    batch: int = 256
    state: str = "loaded"
    keep_alive: str = "5m"
    priority: int = 0
    system: str = "Be brief."
    temperature: float = 0.5
    aliases: tuple[str, ...] = ()

    def entry(self) -> dict[str, object]:
        """The same as models.yaml writes it."""
        names = ("source", "context", "parallel", "kv_cache", "batch", "state", "keep_alive", "priority", "system")
        return {name: getattr(self, name) for name in names} | {
            "parameters": {"temperature": self.temperature},
            "aliases": list(self.aliases),
        }


@dataclass
class Outcome:
    """What the clients and the daemon's log have to say."""

    answers: int = 0
    failed: list[str] = field(default_factory=list)
    valid: int = 0
    broken: int = 0
    expected: int = 0  # loads that the stable edits asked for
    allowed: int = 0  # and the most that all accepted generations could have asked for
    loads: int = 0
    slowest: float = 0.0  # seconds until an edit was in force


class Endurance:
    """One run on one daemon; `run` makes the edits and returns the Outcome."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.weights = {name: [directory / f"{name}{turn}.gguf" for turn in (0, 1)] for name in ("a", "b", "c")}
        for turn, path in enumerate(path for paths in self.weights.values() for path in paths):
            full(path, seed=turn)
        self.want = {name: Declared(str(paths[0])) for name, paths in self.weights.items()}
        self.want["c"] = replace(self.want["c"], state="available")
        self.outcome = Outcome()
        self.over = threading.Event()
        self.turn = 0

    # ------------------------------------------------------------ the file

    def text(self) -> str:
        """models.yaml as it is wanted now."""
        models = {name: declared.entry() for name, declared in self.want.items() if declared.state != "gone"}
        return HEAD + yaml.safe_dump({"models": models}, sort_keys=False)

    def write(self, path: Path, text: str) -> None:
        """Replace the file in one of the four ways."""
        self.turn += 1
        way = self.random.choice((self._renamed, self._in_place, self._flipped, self._deleted))
        way(path, text)

    def _renamed(self, path: Path, text: str) -> None:
        beside = path.with_name(".models.yaml.swp")
        beside.write_text(text)
        os.replace(beside, path)

    def _in_place(self, path: Path, text: str) -> None:
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
            file.flush()
            time.sleep(0.05)
            file.write(text[len(text) // 2 :])

    def _flipped(self, path: Path, text: str) -> None:
        target = self.directory / f"version-{self.turn}.yaml"
        target.write_text(text)
        link = path.with_name(".link")
        link.symlink_to(target)
        os.replace(link, path)

    def _deleted(self, path: Path, text: str) -> None:
        path.unlink()
        time.sleep(self.random.uniform(0, 0.3))
        path.write_text(text)

    def change(self) -> bool:
        """Change one thing of one model; whether that costs a resident model a load."""
        name = self.random.choice("aabbc")
        before, text = self.want[name], self.text()
        while self.text() == text:
            self.want[name] = self._changed(name, before)
        after = self.want[name]
        return name != "c" and any(getattr(before, key, None) != getattr(after, key, None) for key in RELOADING)

    def _changed(self, name: str, old: Declared) -> Declared:
        pick = self.random.choice
        edits: list[Callable[[], Declared]] = [
            lambda: replace(old, temperature=pick((0.1, 0.3, 0.7, 0.9))),
            lambda: replace(old, system=pick(("Be kind.", "Be exact.", "Be quick."))),
            lambda: replace(old, priority=pick((0, 1, 2))),
            lambda: replace(old, keep_alive=pick(("5m", "1h", "always"))),
            lambda: replace(old, aliases=(f"{name}-{pick('xyz')}",)),
            lambda: replace(old, context=pick((512, 640, 768))),
            lambda: replace(old, parallel=pick((6, 8, 10))),
            lambda: replace(old, kv_cache=pick(("f16", "q8_0"))),
            lambda: replace(old, batch=pick((128, 256))),
            lambda: replace(old, source=str(pick(self.weights[name]))),
        ]
        if name == "c":
            edits += [lambda: replace(old, state=pick(("available", "loaded", "absent", "gone")))] * 6
        return pick(edits)()

    def spoil(self, text: str) -> str:
        """A file that must be refused."""
        return self.random.choice(
            (
                text + "\n  : [",
                text.replace("context:", "contxt:", 1),
                text.replace("parallel: ", "parallel: many ", 1),
                text[: text.index("models:") + 7],
                text.replace("models:", "models: &a\n  loop: *a\n", 1),
                HEAD + "models: {}\n",
                "",
            )
        )

    # ------------------------------------------------------------ the run

    def run(self, powerd: Powerd, valid: int, broken: int) -> Outcome:
        """Make the edits, the broken ones spread among the valid, while the clients stream."""
        powerd.wait("Ready", "a")
        powerd.wait("Ready", "b")
        first = powerd.status()["generation"]
        before = self._loads(powerd)
        clients = [threading.Thread(target=self._client, args=(powerd, "ab"[at % 2], at)) for at in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            self._edit(powerd, valid, broken)
        finally:
            self.over.set()
            for client in clients:
                client.join()
        self.outcome.loads = self._loads(powerd) - before
        extra = powerd.status()["generation"] - first - self.outcome.valid
        self.outcome.allowed = self.outcome.expected + max(0, extra)
        return self.outcome

    def _edit(self, powerd: Powerd, valid: int, broken: int) -> None:
        turns = [True] * valid + [False] * broken
        self.random.shuffle(turns)
        for good in [*turns, True]:
            if good:
                self._valid(powerd)
            else:
                self.write(powerd.models, self.spoil(self.text()))
                self.outcome.broken += 1
                time.sleep(self.random.uniform(0, 1.2))

    def _valid(self, powerd: Powerd) -> None:
        """One stable edit, sometimes after others that were never meant to stand."""
        reloads = self.change()
        final = dict(self.want)
        for _ in range(self.random.choice((0, 0, 0, 2))):
            self.change()
            self.write(powerd.models, self.text())
            self.want = dict(final)
        generation = powerd.status()["generation"]
        self.write(powerd.models, self.text())
        written = time.monotonic()
        self.outcome.valid += 1
        self.outcome.expected += reloads
        self._converged(powerd, generation, written)

    def _converged(self, powerd: Powerd, generation: int, written: float) -> None:
        while not self._in_force(powerd, generation):
            late = time.monotonic() - written
            if late > 4 * CONVERGE_SECONDS:
                raise AssertionError(f"not in force after {late:.1f} s: {powerd.status()}\n{self.text()}")
            time.sleep(0.05)
        self.outcome.slowest = max(self.outcome.slowest, time.monotonic() - written)

    def _in_force(self, powerd: Powerd, generation: int) -> bool:
        status = powerd.status()
        conditions = {item["type"]: item["status"] for item in status["conditions"]}
        there = conditions["ConfigValid"] == "True" and conditions["Reconciled"] == "True"
        return there and bool(status["generation"] > generation)

    def _client(self, powerd: Powerd, model: str, number: int) -> None:
        """Stream one short answer after the other."""
        body: dict[str, object] = {
            "model": model,
            "prompt": f"Client {number} says",
            "options": {"num_predict": 60, "seed": number},
        }
        with httpx.Client(timeout=60) as client:
            while not self.over.is_set():
                try:
                    problem = self._stream(client, powerd.url, body)
                except httpx.HTTPError as error:
                    problem = f"{type(error).__name__}: {error}"
                self.outcome.answers += 1
                if problem:
                    self.outcome.failed.append(f"{model}: {problem}")

    def _stream(self, client: httpx.Client, url: str, body: dict[str, object]) -> str:
        last: dict[str, object] = {}
        with client.stream("POST", f"{url}/api/generate", json=body) as answer:
            for line in answer.iter_lines():
                last = json.loads(line)
                if "error" in last:
                    return f"{answer.status_code}: {last['error']}"
        return "" if last.get("done") else f"cut after {last}"

    def _loads(self, powerd: Powerd) -> int:
        """How often a or b began to load, as the daemon's log counts it."""
        count = 0
        for line in powerd.log().splitlines():
            if line.startswith("{") and '"kind": "load"' in line.replace('":"', '": "'):
                count += json.loads(line).get("model") in {"a", "b"}
        return count


def endure(directory: Path, *, valid: int, broken: int, seed: int) -> Outcome:
    """Run the edits on a daemon of their own."""
    endurance = Endurance(directory, seed)
    config = "log: {format: json}\nkeep_generations: 1000\n"
    with Powerd(directory, models=endurance.text().removeprefix(HEAD), config=config) as powerd:
        return endurance.run(powerd, valid, broken)


def judge(outcome: Outcome) -> list[str]:
    """What was not as it has to be."""
    problems = outcome.failed[:10]
    if not outcome.answers:
        problems.append("no client was answered")
    if not outcome.expected <= outcome.loads <= outcome.allowed:
        problems.append(f"{outcome.loads} loads where {outcome.expected} to {outcome.allowed} were asked for")
    if outcome.slowest > CONVERGE_SECONDS:
        problems.append(f"the slowest edit took {outcome.slowest:.1f} s")
    return problems
