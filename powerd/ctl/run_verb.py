"""The verb run: its flags, which are those of Ollama's command, and its help."""

from __future__ import annotations

from powerd.ctl.parser import Options, Parser, boolean
from powerd.ctl.verb import Verb


def declare_run(parser: Parser) -> None:
    """Declare everything `run` takes."""
    parser.add_argument("model", metavar="MODEL", help="the model's name; it is pulled first where it is not here")
    parser.add_argument(
        "prompt", nargs="*", metavar="PROMPT", help="the words to answer; standard input goes before them"
    )
    _asking(parser)
    _showing(parser)


def _asking(parser: Parser) -> None:
    parser.add_argument("--prompt", dest="text", metavar="TEXT", help="the same as the words, before them")
    parser.add_argument("--system", metavar="TEXT", help="a system prompt")
    parser.add_argument("--template", metavar="TEXT", help="a template, for this one prompt")
    parser.add_argument("--format", metavar="FORMAT", help="json, or a JSON schema the answer keeps to")
    parser.add_argument(
        "--think", metavar="LEVEL", help="have it think: --think, or =true, false, low, medium, high, max"
    )
    parser.add_argument("--keepalive", metavar="DURATION", help="how long the model stays in memory, for example 10m")
    parser.add_argument(
        *("-o", "--option"),
        dest="options",
        action=Options,
        default={},
        metavar="KEY=VALUE",
        help="for example temperature=0",
    )
    parser.add_argument("--insecure", action="store_true", help="speak plain HTTP to the registry, where it is pulled")
    parser.add_argument(
        "--truncate", type=boolean, metavar="BOOL", help="cut a text that is too long: --truncate, or =true, false"
    )
    parser.add_argument("--dimensions", type=int, metavar="N", help="with an embedding model: numbers of the vector")


def _showing(parser: Parser) -> None:
    parser.add_argument("--hidethinking", action="store_true", help="do not print what the model thinks")
    parser.add_argument("--nowordwrap", action="store_true", help="do not break lines between words")
    parser.add_argument("--verbose", action="store_true", help="print durations and rates on standard error")


RUN = Verb(
    "run",
    "models",
    "answer a prompt, or talk at the terminal",
    "Answers one prompt and prints the text as it is made. Piped input goes before the words of the command line. With "
    "neither, at a terminal, it begins a conversation, in which /? helps. Embedding models print their vector.",
    (
        "run demo",
        'run demo "Tell me a story"',
        "run demo Summarise this: < notes.txt",
        "run demo hello -o temperature=0 --verbose",
    ),
    "run:run",
    declare_run,
    bare={"--think": "true", "--truncate": "true"},
)
