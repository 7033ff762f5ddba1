"""The commands of a conversation: /set, /show, /load, /save, /clear, /list, /?, /bye (contract section 13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from powerd.ctl import words
from powerd.ctl.card import card
from powerd.ctl.client import objects, understood
from powerd.ctl.conversation import Session
from powerd.ctl.exits import Failed, Refused
from powerd.ctl.models import listed
from powerd.modelfile import Command, Modelfile, ModelfileError, build

_NOT_FOUND = 404
_LEVELS = ("low", "medium", "high", "max")
_PARTS = {
    "license": "No license was specified for this model.",
    "modelfile": "No Modelfile was specified for this model.",
    "system": "No system message was specified for this model.",
    "template": "No prompt template was specified for this model.",
}

_HELP = '''\
Available Commands:
  /set            Set session variables
  /show           Show model information
  /load <model>   Load a model and begin anew
  /save <model>   Save the conversation as a model
  /clear          Forget the conversation
  /list           List the models
  /bye            Exit
  /?, /help       Help for a command
  /? shortcuts    Help for keyboard shortcuts

Use """ to begin a message of several lines, and """ to end it.
'''
_HELP_SET = """\
Available Commands:
  /set parameter ...     Set a parameter
  /set system <string>   Set the system prompt
  /set history           Keep what is typed
  /set nohistory         Do not keep it
  /set wordwrap          Break lines between words
  /set nowordwrap        Leave lines as they are
  /set format json       Have JSON answered
  /set noformat          Have text answered
  /set verbose           Show durations and rates
  /set quiet             Do not show them
  /set think [level]     Have the model think (low, medium, high, max)
  /set nothink           Have it answer at once
"""
_HELP_SHOW = """\
Available Commands:
  /show info         Show details of this model
  /show license      Show its licence
  /show modelfile    Show its Modelfile
  /show parameters   Show its parameters, and those set here
  /show system       Show the system prompt
  /show template     Show the prompt template
"""
_HELP_SHORTCUTS = """\
Available keyboard shortcuts:
  Ctrl + a            Move to the beginning of the line (Home)
  Ctrl + e            Move to the end of the line (End)
  Alt + b, Alt + f    Move back, forward by one word
  Ctrl + k, Ctrl + u  Delete to the end, to the beginning of the line
  Ctrl + w            Delete the word before the cursor
  Ctrl + p, Ctrl + n  The line before, the line after (arrow keys)
  Ctrl + j            Begin a new line within the message
  Ctrl + g            Edit the message in your editor

  Ctrl + l            Clear the screen
  Ctrl + z            Suspend powerctl
  Ctrl + c            End the answer
  Ctrl + d            Leave
"""
_HELP_PARAMETER = """\
Available Parameters:
  /set parameter seed <int>             Where random numbers begin
  /set parameter num_predict <int>      The most tokens of an answer
  /set parameter top_k <int>            Pick from the k likeliest tokens
  /set parameter top_p <float>          Pick from tokens of this probability together
  /set parameter min_p <float>          Pick from tokens at least so likely, beside the likeliest
  /set parameter num_ctx <int>          The size of the context
  /set parameter temperature <float>    How bold answers are
  /set parameter repeat_penalty <float> How strongly repetitions are avoided
  /set parameter repeat_last_n <int>    How far back repetitions are looked for
  /set parameter num_gpu <int>          How many layers go to the GPU
  /set parameter stop <string> <string> ...   Where an answer ends
"""


class Left(Exception):
    """The person leaves the conversation."""


def obey(session: Session, line: str) -> None:
    """Carry out a command. Raises Left, and Failed when it could not be done."""
    name, *rest = line.split()
    command = _COMMANDS.get(name)
    if command is None:
        session.terminal.line(f"Unknown command '{name}'. Type /? for help")
    else:
        command(session, rest, line)


def _bye(_session: Session, _rest: list[str], _line: str) -> None:
    raise Left


def _help(session: Session, rest: list[str], _line: str) -> None:
    about = {"set": _HELP_SET, "show": _HELP_SHOW, "shortcut": _HELP_SHORTCUTS, "shortcuts": _HELP_SHORTCUTS}
    session.terminal.line(about.get(rest[0].removeprefix("/"), _HELP) if rest else _HELP)


def _clear(session: Session, _rest: list[str], _line: str) -> None:
    session.messages.clear()
    if session.asked.system is not None:
        session.direct(session.asked.system)
    session.terminal.line("Cleared session context")


def _list(session: Session, rest: list[str], _line: str) -> None:
    session.terminal.lines(listed(session.client, rest[0] if rest else None, session.terminal.style))


def _load(session: Session, rest: list[str], _line: str) -> None:
    if len(rest) != 1:
        session.terminal.line("Usage:\n  /load <modelname>")
        return
    model = rest[0]
    session.terminal.line(f"Loading model '{model}'")
    try:
        shown = understood(session.client.fetch("POST", "/api/show", {"model": model}), dict[str, Any])
    except Refused as error:
        if error.status != _NOT_FOUND:
            raise
        session.terminal.line(f"Couldn't find model '{model}'")
        return
    before = session.asked, session.shown
    session.asked, session.shown = replace(session.asked, model=model), shown
    try:
        session.load()
    except (Failed, KeyboardInterrupt):
        session.asked, session.shown = before
        raise
    session.messages.clear()
    if session.asked.system is not None:
        session.direct(session.asked.system)


def _save(session: Session, rest: list[str], _line: str) -> None:
    if len(rest) != 1:
        session.terminal.line("Usage:\n  /save <modelname>")
        return
    said = [{"role": each["role"], "content": each["content"]} for each in session.messages if each["role"] != "system"]
    given = {"system": session.asked.system, "parameters": dict(session.asked.options), "messages": said}
    request = {"model": rest[0], "from": session.asked.model} | {key: value for key, value in given.items() if value}
    last: object = ""
    with closing(session.client.stream("/api/create", request)) as lines:
        for step in objects(lines):
            last = step.get("status")
    if last != "success":
        raise Failed(f"the model was not saved (powerd's last word was {last!r})")
    session.terminal.line(f"Created new model '{rest[0]}'")


# ---------------------------------------------------------------- /show


def _show(session: Session, rest: list[str], _line: str) -> None:
    part = rest[0] if rest else ""
    terminal = session.terminal
    if not part:
        terminal.line(_HELP_SHOW)
    elif part == "info":
        terminal.lines(card(session.shown, terminal.style, verbose=False))
    elif part == "parameters":
        _show_parameters(session)
    elif part in _PARTS:
        text = session.asked.system if part == "system" and session.asked.system else session.shown.get(part)
        terminal.line(words.harmless(str(text)) + "\n" if text else f"{_PARTS[part]}\n")
    else:
        terminal.line(f"Unknown command '/show {part}'. Type /? for help")


def _show_parameters(session: Session) -> None:
    terminal = session.terminal
    terminal.line("Model defined parameters:")
    text = str(session.shown.get("parameters") or "No additional parameters were specified for this model.")
    terminal.lines([f"  {words.plain(line)}" for line in text.splitlines()])
    terminal.line()
    if session.asked.options:
        terminal.line("User defined parameters:")
        terminal.lines([f"  {name:<30} {_value(value)}" for name, value in session.asked.options.items()])
        terminal.line()


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


# ---------------------------------------------------------------- /set


def _set(session: Session, rest: list[str], line: str) -> None:
    if not rest:
        session.terminal.line(_HELP_SET)
        return
    setting = _SETTINGS.get(rest[0])
    if setting is None:
        session.terminal.line(f"Unknown command '/set {rest[0]}'. Type /? for help")
    else:
        setting(session, rest[1:], line)


def _parameter(session: Session, rest: list[str], _line: str) -> None:
    if len(rest) < 2:
        session.terminal.line(_HELP_PARAMETER)
        return
    name, values = rest[0], rest[1:]
    commands = [Command("parameter", value, name) for value in (values if name == "stop" else [" ".join(values)])]
    try:
        typed = build(Modelfile(tuple(commands)))
    except ModelfileError as error:
        reason = str(error).partition("): ")[2] or str(error)
        session.terminal.line(f"Couldn't set parameter: {reason}\n")
        return
    if typed.warnings:
        session.terminal.note("\n".join(typed.warnings))
        return
    parameters: Mapping[str, Any] = typed.fields["parameters"]  # type: ignore[assignment]  # `build` made a mapping
    session.asked = replace(session.asked, options={**session.asked.options, **parameters})
    session.terminal.line(f"Set parameter '{name}' to '{', '.join(values)}'\n")


def _system(session: Session, rest: list[str], line: str) -> None:
    if not rest:
        session.terminal.line(_HELP_SET)
        return
    text = line.split(None, 2)[2]
    session.direct(text.strip('"') if text.startswith('"') and text.endswith('"') else text)
    session.terminal.line("Set system message.\n")


def _format(session: Session, rest: list[str], _line: str) -> None:
    if rest != ["json"]:
        session.terminal.line("Invalid or missing format. For 'json' mode use '/set format json'")
        return
    session.asked = replace(session.asked, format="json")
    session.terminal.line("Set format to 'json' mode.")


def _noformat(session: Session, _rest: list[str], _line: str) -> None:
    session.asked = replace(session.asked, format=None)
    session.terminal.line("Disabled format.")


def _think(session: Session, rest: list[str], _line: str) -> None:
    if rest and rest[0] not in _LEVELS:
        session.terminal.line(f"Invalid thinking level '{rest[0]}'. Use one of {', '.join(_LEVELS)}, or none")
        return
    session.asked = replace(session.asked, think=rest[0] if rest else True)
    if "thinking" not in (session.shown.get("capabilities") or ()):
        session.terminal.note(f'warning: model "{session.asked.model}" does not support thinking output')
    session.terminal.line(f"Set 'think' mode to '{rest[0]}'." if rest else "Set 'think' mode.")


def _nothink(session: Session, _rest: list[str], _line: str) -> None:
    session.asked = replace(session.asked, think=False)
    session.terminal.line("Set 'nothink' mode.")


def _switch(name: str, value: bool, text: str) -> Callable[[Session, list[str], str], None]:
    def switched(session: Session, _rest: list[str], _line: str) -> None:
        setattr(session, name, value)
        session.terminal.line(text)

    return switched


def _history(enabled: bool) -> Callable[[Session, list[str], str], None]:
    def switched(session: Session, _rest: list[str], _line: str) -> None:
        session.keyboard.history.enabled = enabled

    return switched


_SETTINGS: Mapping[str, Callable[[Session, list[str], str], None]] = {
    "parameter": _parameter,
    "system": _system,
    "history": _history(True),
    "nohistory": _history(False),
    "wordwrap": _switch("wrap", True, "Set 'wordwrap' mode."),
    "nowordwrap": _switch("wrap", False, "Set 'nowordwrap' mode."),
    "format": _format,
    "noformat": _noformat,
    "verbose": _switch("verbose", True, "Set 'verbose' mode."),
    "quiet": _switch("verbose", False, "Set 'quiet' mode."),
    "think": _think,
    "nothink": _nothink,
}
_COMMANDS: Mapping[str, Callable[[Session, list[str], str], None]] = {
    "/set": _set,
    "/show": _show,
    "/load": _load,
    "/save": _save,
    "/clear": _clear,
    "/list": _list,
    "/?": _help,
    "/help": _help,
    "/bye": _bye,
    "/exit": _bye,
}
