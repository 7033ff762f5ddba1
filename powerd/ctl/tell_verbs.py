"""The verbs that tell why things are as they are: why, explain, events, doctor."""

from __future__ import annotations

from powerd.ctl.parser import Parser, duration
from powerd.ctl.verb import Verb, takes_json


def _why(parser: Parser) -> None:
    parser.add_argument("subject", metavar="MODEL|REQUEST", help="a model's name, or the id of a request")
    takes_json(parser, "the reply")


def _explain(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="the model's name")
    takes_json(parser, "the values, uncut,")


def _events(parser: Parser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="only events of this model")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens from now on")
    parser.add_argument("--since", type=duration, default=0.0, metavar="DURATION", help="only the last 90s, 5m, 2h …")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def _doctor(parser: Parser) -> None:
    takes_json(parser, "the findings")


TELL_VERBS: tuple[Verb, ...] = (
    Verb(
        "why",
        "state",
        "why a model or a request is where it is",
        "Says why a model is loaded, not loaded, waiting or gone, or what a request waits for, in one sentence, then "
        "what led there, the newest first.",
        ("why coder", "why 4f2a91c07d3e55b8"),
        "tell:why",
        _why,
    ),
    Verb(
        "explain",
        "state",
        "every effective value of a model, and who set it",
        "Prints each value a model runs with, where it comes from (a file and line, a variable, the model itself, "
        "chosen automatically, built in) and, while it is loaded, what the engine says it has.",
        ("explain coder", "explain llama3.2 --json"),
        "tell:explain",
        _explain,
    ),
    Verb(
        "events",
        "state",
        "what happened, and what happens",
        "Prints the events powerd remembers, oldest first: changes of models.yaml, fetches, loads, unloads with their "
        "reasons, crashes, drift, canaries. With --follow it goes on, and leaves none out.",
        ("events", "events -f", "events coder --since 1h --json"),
        "tell:events",
        _events,
    ),
    Verb(
        "doctor",
        "state",
        "check this machine and this installation",
        "Checks configuration, permissions, ports, devices, the engine, versions, disk space, memory limits and the "
        "clock, and says for each what to do. Works with the daemon down. Exits 1 when something must be done.",
        ("doctor", "doctor --json"),
        "doctor:doctor",
        _doctor,
    ),
)
