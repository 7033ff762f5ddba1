"""The verb run: one answer, an embedding, or a conversation at the terminal."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import msgspec

from powerd.ctl import pictures, question
from powerd.ctl.answer import Answer, statistics
from powerd.ctl.client import PATIENCE_SECONDS, Client, objects, understood
from powerd.ctl.exits import DONE, USAGE, Failed, Refused
from powerd.ctl.question import Question
from powerd.ctl.streams import follow
from powerd.ctl.terminal import Terminal, beside

_NOT_FOUND = 404
_THINK: Mapping[str, bool | str] = {
    "true": True,
    "false": False,
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
}


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Answer one prompt, or begin a conversation where there is none and a person sits at the terminal."""
    asked = wanted(arguments)
    prompt = _prompt(arguments)
    talking = prompt is None and terminal.tty and sys.stdin is not None and sys.stdin.isatty()
    if prompt is None and not talking:
        terminal.error(
            'there is no prompt: write it after the model (`powerctl run MODEL "your text"`), pipe it in, or call '
            "run at a terminal to talk with the model"
        )
        return USAGE
    client = Client(arguments.socket)
    shown = known(client, asked.model, arguments.insecure)
    warn_of_thinking(asked, shown, terminal)
    if _embeds(shown):
        return _embed(client, asked, prompt or "", terminal)
    if prompt is None:
        from powerd.ctl.session import converse  # noqa: PLC0415 - a single answer needs none of it

        return converse(client, asked, shown, arguments, terminal)
    return _one(client, asked, shown, prompt, arguments, terminal)


def wanted(arguments: Namespace) -> Question:
    """The question that the flags make. Raises Failed for a format that is none."""
    return Question(
        arguments.model,
        arguments.options,
        arguments.system,
        arguments.template,
        _format(arguments.format),
        None if arguments.think is None else thinking(arguments.think),
        arguments.keepalive,
        arguments.truncate,
        arguments.dimensions,
    )


def thinking(level: str) -> bool | str:
    """The value of `think`. Raises Failed."""
    if level not in _THINK:
        raise Failed(f'invalid value for --think: "{level}" (must be true, false, high, medium, low, or max)')
    return _THINK[level]


def known(client: Client, model: str, insecure: bool) -> Mapping[str, Any]:
    """What /api/show says of the model, which is pulled first where it is not here; nothing while powerd cannot say."""
    try:
        return _shown(client, model)
    except Refused as error:
        if error.status != _NOT_FOUND:
            return {}
    follow(client, "/api/pull", {"model": model, "insecure": insecure}, beside())
    return _shown(client, model)


def _shown(client: Client, model: str) -> Mapping[str, Any]:
    return understood(client.fetch("POST", "/api/show", {"model": model}), dict[str, Any])


def warn_of_thinking(asked: Question, shown: Mapping[str, Any], terminal: Terminal) -> None:
    """Say beforehand that thinking was asked of a model that does not."""
    if asked.think and "capabilities" in shown and "thinking" not in (shown["capabilities"] or ()):
        terminal.note(f'warning: model "{asked.model}" does not support thinking output')


def _one(
    client: Client, asked: Question, shown: Mapping[str, Any], prompt: str, arguments: Namespace, terminal: Terminal
) -> int:
    prompt, images = pictures.split(prompt, shown, asked.model, terminal)
    answer = Answer(terminal, wrap=not arguments.nowordwrap, hide_thinking=arguments.hidethinking)
    with closing(client.stream("/api/generate", question.generate(asked, prompt, images))) as lines:
        final = answer.all(objects(lines))
    if arguments.verbose:
        terminal.note("\n".join(statistics(final)))
    return DONE


def _embeds(shown: Mapping[str, Any]) -> bool:
    abilities = shown.get("capabilities") or ()
    return "embedding" in abilities and "completion" not in abilities


def _embed(client: Client, asked: Question, prompt: str, terminal: Terminal) -> int:
    """Print the embedding as one line of JSON."""
    if not prompt:
        raise Failed(f'embedding models require input text. Usage: ollama run {asked.model} "your text here"')
    raw = client.fetch("POST", "/api/embed", question.embed(asked, prompt), PATIENCE_SECONDS)
    vectors = understood(raw, dict[str, msgspec.Raw])
    first = understood(bytes(vectors.get("embeddings", msgspec.Raw(b"[]"))), list[msgspec.Raw])
    if not first:
        raise Failed("powerd answered without an embedding")
    terminal.line(bytes(first[0]).decode())
    return DONE


def _format(text: str | None) -> object:
    """`json`, or a JSON schema."""
    if not text or text == "json":
        return text or None
    try:
        schema = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Failed(f"--format is neither json nor a JSON schema: {error}") from error
    if not isinstance(schema, dict):
        raise Failed("--format is neither json nor a JSON schema, which is an object")
    return schema


def _prompt(arguments: Namespace) -> str | None:
    """What is piped in, then --prompt, then the words of the command line; None when there is none of them."""
    words = [*filter(None, [arguments.text]), *arguments.prompt] if arguments.text is not None else arguments.prompt
    given = words or arguments.text is not None
    piped = "" if sys.stdin is None or sys.stdin.isatty() else _piped()
    return " ".join([piped, *words] if piped else words) if piped or given else None


def _piped() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Failed(f"standard input is not UTF-8 text (byte {error.start}); convert it first") from error
