"""The verbs that write models.yaml: init and import."""

from __future__ import annotations

from powerd.ctl.parser import Parser
from powerd.ctl.verb import Verb

_FORMATS = ("modelfile", "llama-swap", "preset", "command")


def _init(parser: Parser) -> None:
    parser.add_argument("--stdout", action="store_true", help="print it; write no file")


def _import(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="the file, -, or a command line of llama-server in quotes")
    parser.add_argument("--format", choices=_FORMATS, help="what the file is; left out: as it looks")
    parser.add_argument("--name", metavar="NAME", help="what to call the model of a Modelfile")


FILE_VERBS: tuple[Verb, ...] = (
    Verb(
        "init",
        "state",
        "write a models.yaml of what is installed",
        "Writes a models.yaml that declares every model installed on this machine: in powerd's own store, and in the "
        "Ollama directories and Hugging Face caches it serves from. Taking it over fetches nothing. A models.yaml that "
        "is there is never touched. No daemon needs to run.",
        ("init", "init --stdout"),
        "init:init",
        _init,
    ),
    Verb(
        "import",
        "state",
        "another program's models as a models.yaml",
        "Prints a models.yaml made of a Modelfile, of llama-swap's config.yaml, or of a preset (--models-preset) or "
        "command line of llama-server. What cannot be carried over is named in a comment above the model. Nothing is "
        "changed, and no daemon needs to run.",
        (
            "import ./Modelfile --name mine",
            "import /etc/llama-swap/config.yaml",
            "import models.ini --format preset",
            'import "llama-server -hf ggml-org/gemma-3-1b-it-GGUF -c 8192"',
        ),
        "importing:run",
        _import,
    ),
)
