"""Every template of llama.cpp's source distribution, rendered by us and by llama.cpp's own server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from powerd.prompt.conversation import render
from powerd.prompt.failed import TemplateFailed
from powerd.store.gguf import Header
from tests.conformance.conversations import BODIES, job
from tests.conformance.differences import DIFFERENCES

RECORDED = Path(__file__).parents[1] / "prompt" / "templates"
#: When the recorded texts were made, and with which special tokens.
NOW = datetime(2025, 1, 2, tzinfo=UTC)
BOS, EOS = "<s>", "</s>"


def ask_peer(python: Path, folder: Path, model: Path, work: Path) -> dict[str, dict[str, str | None]]:
    """What llama.cpp makes of them."""
    bodies, out = work / "bodies.json", work / "peer.json"
    bodies.write_text(json.dumps(BODIES))
    command = [python, Path(__file__).with_name("peer.py"), folder, model, bodies, out]
    with (work / "peer.log").open("wb") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    told: dict[str, dict[str, str | None]] = json.loads(out.read_text())
    return told


def compare(folder: Path, peer: dict[str, dict[str, str | None]], header: Header) -> Iterator[tuple[str, str, str]]:
    """Template, conversation and what is unexpected of it."""
    for name, prompts in peer.items():
        template = (folder / f"{name}.jinja").read_text()
        for kind, theirs in prompts.items():
            ours = made(kind, template, header.bos_text, header.eos_text, datetime.now().astimezone())
            listed = kind in DIFFERENCES.get(name, ())
            if (ours == theirs) is listed:
                yield name, kind, "is listed and does not differ" if listed else _where(ours, theirs)
            elif listed and ours.startswith("template error"):
                yield name, kind, ours


def made(kind: str, template: str, bos: str, eos: str, now: datetime) -> str:
    """Our prompt, or what the template failed with."""
    try:
        return render(job(kind, template, bos, eos), now)
    except TemplateFailed as error:
        return str(error)


def _where(ours: str, theirs: str | None) -> str:
    if theirs is None:
        return f"llama.cpp refuses what we answer: {ours[:200]!r}"
    at = next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), len(ours))
    start = max(0, at - 40)
    return f"we write {ours[start : at + 120]!r}, llama.cpp {theirs[start : at + 120]!r}"


def record(folder: Path) -> None:
    """Write the texts that `make test` expects, for the templates it has, from those that were compared."""
    for path in sorted(RECORDED.glob("*.jinja")):
        template = (folder / path.name).read_text()
        path.write_text(template)
        texts = {kind: made(kind, template, BOS, EOS, NOW) for kind in BODIES}
        path.with_suffix(".json").write_text(json.dumps(texts, ensure_ascii=False, indent=2) + "\n")
