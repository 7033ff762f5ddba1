"""What the verbs of the `ollama` command do: Ollama's requests over HTTP, its tables and its sentences."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from powerd.ctl import create as creating
from powerd.ctl import models, streams, words
from powerd.ctl import run as running
from powerd.ctl.client import PATIENCE_SECONDS, Client
from powerd.ctl.exits import DONE, Failed, Refused
from powerd.ctl.terminal import Terminal, beside, table
from powerd.ctl.validate import safe_path

_NOT_FOUND = 404
_PARTS = ("license", "modelfile", "parameters", "system", "template")
_RUN_DEFAULTS: Mapping[str, object] = {
    **dict.fromkeys(("system", "template", "format", "think", "keepalive", "truncate", "dimensions")),
    **dict.fromkeys(("insecure", "hidethinking", "nowordwrap", "verbose"), False),
    "options": {},
}
_FOREVER_SECONDS = 100 * 365 * 86400.0  # Ollama writes "for ever" as some time in 290 years


def serve(arguments: Namespace, terminal: Terminal) -> int:
    """Become powerd."""
    terminal.flush()
    os.execv(sys.executable, [sys.executable, *safe_path(), "-m", "powerd"])  # noqa: S606 - it is to take our place


def create(arguments: Namespace, terminal: Terminal) -> int:
    """Make a model from a Modelfile; without one, from what lies in this directory."""
    file = arguments.flags.get("file")
    if arguments.flags.get("experimental"):
        raise Failed(
            "--experimental keeps safetensors as they are, which powerd does not serve; without it they are converted"
        )
    draft = arguments.flags.get("draft-quantize")
    if file is None:
        file = "Modelfile" if Path("Modelfile").exists() else None
    made = {"model": arguments.words[0], "file": file, "quantize": arguments.flags.get("quantize"), "json": False}
    return creating.create(Namespace(socket=arguments.socket, draft_quantize=draft, **made), beside())


def show(arguments: Namespace, terminal: Terminal) -> int:
    """Print what a model is, or one text of it."""
    parts = [part for part in _PARTS if arguments.flags.get(part)]
    if len(parts) > 1:
        raise Failed(
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified"
        )
    verbose = bool(arguments.flags.get("verbose"))
    wanted = {"model": arguments.words[0], "part": parts[0] if parts else None, "verbose": verbose, "json": False}
    return models.show(Namespace(socket=arguments.socket, **wanted), terminal)


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Answer a prompt, or talk. Where there is neither a prompt nor a person, the model is loaded."""
    model, *prompt = arguments.words
    person = sys.stdin is not None and sys.stdin.isatty() and terminal.tty
    wanted: dict[str, object] = {**_RUN_DEFAULTS, "text": None if prompt or person else "", **arguments.flags}
    try:
        return running.run(Namespace(socket=arguments.socket, model=model, prompt=prompt, **wanted), terminal)
    except KeyboardInterrupt:
        return DONE


def stop(arguments: Namespace, terminal: Terminal) -> int:
    """Unload a model."""
    model = arguments.words[0]
    try:
        _unload(Client(arguments.socket), model)
    except Refused as error:
        if error.status == _NOT_FOUND:
            raise Failed(f'couldn\'t find model "{model}" to stop') from error
        raise
    return DONE


def _unload(client: Client, model: str) -> None:
    client.fetch("POST", "/api/generate", {"model": model, "prompt": "", "keep_alive": 0}, PATIENCE_SECONDS)


def pull(arguments: Namespace, terminal: Terminal) -> int:
    """Fetch a model."""
    request = {"model": arguments.words[0], "insecure": bool(arguments.flags.get("insecure"))}
    streams.follow(Client(arguments.socket), "/api/pull", request, beside())
    return DONE


def push(arguments: Namespace, terminal: Terminal) -> int:
    """Send a model to the registry in its name."""
    name = arguments.words[0]
    request = {"model": name, "insecure": bool(arguments.flags.get("insecure"))}
    streams.follow(Client(arguments.socket), "/api/push", request, beside())
    parts = name.removeprefix("registry.ollama.ai/").removeprefix("ollama.com/").split("/")
    if len(parts) == 2:
        page = "/".join(parts).removesuffix(":latest")
        terminal.line(f"\nYou can find your model at:\n\n\thttps://ollama.com/{page}")
    return DONE


def list_models(arguments: Namespace, terminal: Terminal) -> int:
    """Print the models that can be served."""
    prefix = arguments.words[0] if arguments.words else None
    terminal.lines(models.listed(Client(arguments.socket), prefix, terminal.style))
    return DONE


def ps(arguments: Namespace, terminal: Terminal) -> int:
    """Print the models in memory."""
    loaded = Client(arguments.socket).ask("GET", "/api/ps", dict[str, list[dict[str, Any]]]).get("models", [])
    prefix = arguments.words[0] if arguments.words else None
    rows = [_loaded(each, time.time()) for each in loaded if models.begins(str(each.get("name", "")), prefix)]
    terminal.lines(table([["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"], *rows], terminal.style))
    return DONE


def _loaded(model: Mapping[str, Any], now: float) -> list[str]:
    total, on_gpu = (int(model.get(key) or 0) for key in ("size", "size_vram"))
    try:
        end = words.moment(str(model.get("expires_at", "")))
    except ValueError:  # beyond the year 9999, or none
        end = now + _FOREVER_SECONDS + 1
    return [
        words.plain(str(model.get("name", ""))),
        models.short_id(str(model.get("digest", ""))),
        words.size(total),
        words.processor(total, on_gpu),
        str(model.get("context_length") or ""),
        "Forever" if end - now > _FOREVER_SECONDS else words.ago(end, now) if end > now else "Stopping...",
    ]


def cp(arguments: Namespace, terminal: Terminal) -> int:
    """Give a model a second name."""
    source, destination = arguments.words
    return models.cp(Namespace(socket=arguments.socket, source=source, destination=destination), terminal)


def rm(arguments: Namespace, terminal: Terminal) -> int:
    """Stop and delete models, up to the first that cannot be."""
    client = Client(arguments.socket)
    for model in arguments.words:
        try:
            _unload(client, model)
        except Refused as error:
            if error.status != _NOT_FOUND:
                terminal.note(f"Warning: unable to stop model '{model}'")
        client.fetch("DELETE", "/api/delete", {"model": model}, models.DELETE_SECONDS)
        terminal.line(f"deleted '{model}'")
    return DONE


def launch(arguments: Namespace, terminal: Terminal) -> int:
    """Say that nothing is launched. Raises Failed."""
    raise Failed(
        f"powerd sets up no other programs; point them at {arguments.socket} (Ollama's API, and OpenAI's below /v1)"
    )
