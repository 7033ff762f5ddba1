"""The verbs that foretell, go back and keep: plan, diff, history, rollback, update, lock."""

from __future__ import annotations

from powerd.ctl.parser import Parser, duration
from powerd.ctl.verb import Verb, takes_json


def _plan(parser: Parser) -> None:
    parser.add_argument(
        "-f", "--file", metavar="FILE", help="another models.yaml, as if it stood in its place; - reads it"
    )
    parser.add_argument("--locked", action="store_true", help="refuse sources that are not in models.lock.yaml")
    takes_json(parser, "the plan")


def _diff(parser: Parser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="also the fields that agree")
    takes_json(parser, "all rows")


def _history(parser: Parser) -> None:
    parser.add_argument("generation", nargs="?", type=int, metavar="N", help="show what this generation resolved to")
    takes_json(parser, "the generations")


def _rollback(parser: Parser) -> None:
    parser.add_argument("--to", type=int, default=0, metavar="N", help="the generation; left out: the one before")
    parser.add_argument("--wait", action="store_true", help="answer when every model has settled")
    parser.add_argument(
        "--timeout", type=duration, default=60.0, metavar="SECONDS", help="with --wait: give up after this (default 60)"
    )
    takes_json(parser, "the reply")


def _update(parser: Parser) -> None:
    parser.add_argument("models", nargs="*", metavar="MODEL", help="whose sources to ask")
    parser.add_argument("--check", action="store_true", help="fetch nothing, only say what moved; no MODEL: all")
    takes_json(parser, "the rows")


def _lock(parser: Parser) -> None:
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to write it; - prints it (default: beside models.yaml)"
    )
    takes_json(parser, "the reply")


PLAN_VERBS: tuple[Verb, ...] = (
    Verb(
        "plan",
        "state",
        "what taking over the file would do",
        "Foretells, from the very steps powerd would take, what happens to each model: bytes to fetch, memory per "
        "device before and after, what drains, what is evicted, what is deleted and when. Changes nothing. Exits 0 "
        "when there is nothing to do, 2 when there is, 1 when the file would be refused.",
        ("plan", "plan -f ./models.yaml", "plan --locked --json"),
        "plan:plan",
        _plan,
    ),
    Verb(
        "diff",
        "state",
        "the file, the accepted generation and what is",
        "Shows each field that differs in three columns: what models.yaml says, what was accepted, and what is there, "
        "as the engine reads it back where the model is loaded. Exits 0 when all agree, 2 when not.",
        ("diff", "diff --all", "diff --json"),
        "plan:diff",
        _diff,
    ),
    Verb(
        "history",
        "state",
        "the accepted generations",
        "Lists the kept generations with what each changed; with N what that one resolved to.",
        ("history", "history 7", "history --json"),
        "generations:history",
        _history,
    ),
    Verb(
        "rollback",
        "state",
        "serve an earlier generation again",
        "Serves an earlier generation again, of the same bytes, without any network. It becomes a new generation and "
        "is held until the content of models.yaml changes. Refused when a blob it needs is gone.",
        ("rollback", "rollback --to 4 --wait"),
        "generations:rollback",
        _rollback,
    ),
    Verb(
        "update",
        "state",
        "ask sources whether they moved, and fetch what did",
        "Asks where models come from whether a tag, a revision or a file moved. Without --check what moved is fetched "
        "beside the old, verified, and taken up as a new generation. With --check exits 2 when something moved.",
        ("update --check", "update coder"),
        "generations:update",
        _update,
    ),
    Verb(
        "lock",
        "state",
        "write models.lock.yaml",
        "Writes what each source gave, by digest and revision, for `--locked` and other machines. Exits 1 when a model "
        "has not been fetched yet.",
        ("lock", "lock -o -", "lock -o ./models.lock.yaml"),
        "generations:lock",
        _lock,
    ),
)
