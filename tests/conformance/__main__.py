"""`make conformance`: our prompts and tokens against llama.cpp's own, over everything its source distribution brings.

Fetches the distribution of the llama-cpp-python that is installed, for its templates and vocabularies, and xllamacpp,
which is llama.cpp's server in a Python process, into an environment of its own. `--record` afterwards writes what
`make test` compares a part of the templates with.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
from importlib import metadata
from pathlib import Path

import powerd.demo
from powerd.store.gguf import read_header
from tests.conformance import templates, vocabularies
from tests.conformance.conversations import BODIES
from tests.conformance.differences import DIFFERENCES

WORK = Path(".conformance")
PEER = "xllamacpp==2026.10.11549"
MODEL = Path(powerd.demo.__path__[0]) / "tiny-chat-q8_0.gguf"


def sources() -> Path:
    """llama.cpp's folder of templates and vocabularies."""
    version = metadata.version("llama-cpp-python")
    unpacked = WORK / f"llama_cpp_python-{version}"
    if not unpacked.is_dir():
        wanted = f"llama-cpp-python=={version}"
        pip(Path(sys.executable), "download", "--no-deps", "--no-binary", ":all:", "--dest", str(WORK), wanted)
        with tarfile.open(WORK / f"{unpacked.name}.tar.gz") as archive:
            archive.extractall(WORK, filter="data")
    return unpacked / "vendor" / "llama.cpp" / "models"


def peer() -> Path:
    """The interpreter of an environment with llama.cpp's server."""
    python = WORK / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(WORK / "venv", with_pip=True)
    pip(python, "install", PEER)
    return python


def pip(python: Path, *arguments: str) -> None:
    """Run pip."""
    subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def main(arguments: list[str]) -> int:
    """Compare everything; the exit code."""
    WORK.mkdir(exist_ok=True)
    models = sources()
    answers = templates.ask_peer(peer().absolute(), models / "templates", MODEL, WORK)
    unexpected = list(templates.compare(models / "templates", answers, read_header(MODEL)))
    for name, kind, what in unexpected:
        sys.stdout.write(f"{name}, {kind}: {what}\n")
    listed = sum(map(len, DIFFERENCES.values()))
    sys.stdout.write(
        f"{len(answers)} templates, {len(answers) * len(BODIES)} prompts: {listed} listed differences, "
        f"{len(unexpected)} others\n"
    )
    wrong = 0
    for name, count, what in vocabularies.compare(models):
        wrong += bool(what)
        sys.stdout.write(f"vocabulary {name}, {count} texts: {what or 'equal'}\n")
    if "--record" in arguments:
        templates.record(models / "templates")
    return 1 if unexpected or wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
