"""Grammars that keep an answer within a JSON schema, and a tool call within its tool's. Pure.

In the Lark dialect of llguidance, which the runner turns into token masks: with a vocabulary of 150,000 tokens a mask
takes it some 0.1 ms, where llama.cpp's own grammars (GBNF) walk every candidate, and abort the process on a text that
left the grammar.

Thinking is no part of these grammars: `Generate.thinking` says where it is, the runner lets it pass, and what follows
must match. A rule named `marker_N` is one text that may be a control token of the vocabulary; the runner narrows it
to that token where there is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from powerd.output.formats import Format, Tools
from powerd.output.grammars.call_forms import FORMS, GAP, ID, NAME, NUMBER, CallForm
from powerd.output.grammars.schema import any_object, arguments
from powerd.protocol import Constraint

#: Bytes of schemas in one grammar, so that it fits a frame; beyond, the largest give way to "any object".
_MOST_BYTES = 48 * 1024
_MOST_CALLS = 16
#: Of a name written before its object: what the vocabularies' formats can hold.
_PLAIN_NAME = re.compile(r"[\w.-]+")
_BRACE = r"[{][ \n]{0,2}"
_BLANK = r"/[ \t\r\n]{1,4}/"
#: At most one blank after a colon or comma, and no escapes that may stand for half a character.
_COMPACT = {
    "item_separator": ", ?",
    "key_separator": ": ?",
    "whitespace_flexible": False,
    "json_allowed_escapes": 'nrbtf\\"',
}


def answer(schema: Mapping[str, Any] | None, format: Format) -> Constraint:
    """The whole answer is a value of the schema (from `schema.checked`); any JSON object without one."""
    rules = _Rules()
    return Constraint(rules.text(rules.answer(schema, format)))


def calls(format: Format, tools: Tools, choice: str = "auto", *, parallel: bool = True) -> Constraint | None:
    """Calls of these tools, each with arguments of its own schema.

    `choice`: "auto" leaves text free until a call begins; "required" wants nothing but calls, a tool's name a call of
    that one. `parallel`: more than one call. None where nothing can be said: no format of calls, or, for "auto", one
    whose arguments are not JSON.
    """
    family = _family(format)
    if family is None or not tools:
        return None
    if choice not in ("auto", "required"):
        tools = {choice: tools.get(choice, {})}
    rules = _Rules()
    if choice != "auto":
        return Constraint(rules.text(rules.calls(family, tools, parallel)))
    forms = FORMS.get(family.name)
    if forms is None:
        return None
    triggers = tuple(dict.fromkeys(trigger for form in forms for trigger in _triggers(form, tools)))
    grammar = rules.text(rules.calls(family, tools, parallel, once=not family.first))
    return Constraint(grammar, triggers, first=family.first, once=not parallel)


def both(
    schema: Mapping[str, Any] | None, format: Format, tools: Tools, choice: str = "auto", *, parallel: bool = True
) -> Constraint:
    """Either calls or an answer of the schema; calls alone when `choice` wants one."""
    family = _family(format)
    if family is None or not tools:
        return answer(schema, format)
    if choice != "auto":
        only = tools if choice == "required" else {choice: tools.get(choice, {})}
        rules = _Rules()
        return Constraint(rules.text(rules.calls(family, only, parallel)))
    rules = _Rules()
    return Constraint(rules.text(rules.calls(family, tools, parallel), rules.answer(schema, format)))


def _family(format: Format) -> _Family | None:
    if format.harmony:
        return _Family("harmony", ("to=functions.",), False)
    tools = format.tools
    return None if tools is None else _Family(tools.name, tools.begins, tools.first)


@dataclass(frozen=True, slots=True)
class _Family:
    """What a grammar needs of a format of calls."""

    name: str
    begins: tuple[str, ...]
    first: bool


def _triggers(form: CallForm, tools: Tools) -> Iterator[str]:
    """The texts that begin a call in this form and nothing else."""
    first = (*form.begins, *form.opens)[:1]
    if first and not form.bare:
        yield first[0]
        return
    for name in tools:
        for gap in ("", " "):
            for kind in ("", f'"type":{gap}"function",{gap}'):
                yield f'{"".join(first)}{{{kind}"{form.keys[0]}":{gap}{json.dumps(name, ensure_ascii=False)}'


class _Rules:
    """The rules of one grammar, each text and each schema once."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._schemas: dict[str, str] = {}
        self._markers: dict[str, str] = {}

    def text(self, *starts: str) -> str:
        """The grammar."""
        rules = [f"start: {' | '.join(starts)}", *self._lines]
        rules += [f"{name}: {json.dumps(text, ensure_ascii=False)}" for text, name in self._markers.items()]
        rules += [f"{name}: %json {schema}" for schema, name in self._schemas.items()]
        return "\n".join([*rules, f"BLANK: {_BLANK}", ""])

    def _rule(self, kind: str, body: str) -> str:
        name = f"{kind}_{len(self._lines)}"
        self._lines.append(f"{name}: {body}")
        return name

    def _marker(self, text: str) -> str:
        return self._markers.setdefault(text, f"marker_{len(self._markers)}")

    def _json(self, schema: Mapping[str, Any]) -> str:
        text = _written(schema)
        return self._schemas.setdefault(text, f"json_{len(self._schemas)}")

    # ------------------------------------------------------------ answers

    def answer(self, schema: Mapping[str, Any] | None, format: Format) -> str:
        """A rule for an answer of the schema."""
        value = self._json(any_object() if schema is None else schema)
        if format.harmony:
            return self._rule("answer", f"{self._final()} {value}")
        if format.answer is not None:
            value = (
                f"({self._marker(format.answer.open)} BLANK?)? {value} (BLANK? {self._marker(format.answer.close)})?"
            )
        return self._rule("answer", f"BLANK? {value}")

    def _final(self) -> str:
        """The header of gpt-oss's answer proper; the prompt may have begun the message."""
        begin = f'({self._marker("<|start|>")} "assistant")?'
        kind = f'(" "? {self._marker("<|constrain|>")}? "json")?'
        return f'{begin} {self._marker("<|channel|>")} "final" {kind} {self._marker("<|message|>")}'

    # ------------------------------------------------------------ calls

    def calls(self, family: _Family, tools: Tools, parallel: bool, *, once: bool = False) -> str:
        """A rule for nothing but calls, in any form of the family. `once`: the next call has a trigger of its own."""
        forms = FORMS.get(family.name)
        if forms is None:
            free = self._rule("free", "/(?s:.*)/")
            begins = " | ".join(self._marker(begin) for begin in family.begins)
            return self._rule("calls", f"BLANK? ({begins}) {free}")
        schemas = dict(zip(tools, self._arguments(tools), strict=True))
        ways = [
            f"{'' if once else self._header(family, form)} {way}".strip()
            for form in forms
            if (way := self._form(form, schemas, parallel and (bool(form.begins) or not once)))
        ]
        return self._rule("calls", " | ".join(ways))

    def _header(self, family: _Family, form: CallForm) -> str:
        """What stands before the first call of an answer that is nothing but calls."""
        if family.name != "harmony":
            return "BLANK?"
        begin = f'({self._marker("<|start|>")} "assistant")?'
        channel = "" if "<|channel|>" in form.opens else f'{self._marker("<|channel|>")} "commentary" '
        return f'{begin} {channel}" "'

    def _arguments(self, tools: Tools) -> list[str]:
        """For each tool the rule of its arguments."""
        schemas = [arguments(parameters) for parameters in tools.values()]
        sizes = [len(_written(schema)) for schema in schemas]
        for index in sorted(range(len(schemas)), key=sizes.__getitem__, reverse=True):
            if sum(sizes) <= _MOST_BYTES:
                break
            schemas[index], sizes[index] = any_object(), 0
        return [self._json(schema) for schema in schemas]

    def _form(self, form: CallForm, schemas: Mapping[str, str], parallel: bool) -> str:
        """A rule for calls in one form; empty where no tool can be called in it."""
        each = [call for name, value in schemas.items() if (call := self._call(form, name, value))]
        if not each:
            return ""
        call = self._rule("call", " | ".join(each))
        more = f"{{0,{_MOST_CALLS - 1}}}"
        if form.listed:
            rest = f" (/ ?, ?\\n?/ {call}){more}" if parallel else ""
            many = f"/\\[[ \\n]{{0,2}}/ {call}{rest} /[ \\n]{{0,2}}\\]/"
        elif form.between is None or not parallel:
            many = call
        else:
            between = f"{self._regex(form.between)} " if form.between else ""
            many = f"{call} ({between}{call}){more}"
        return self._rule("form", f"{self._texts(form.begins)} {many} {self._texts(form.ends)}".strip())

    def _call(self, form: CallForm, name: str, value: str) -> str:
        """One call, as the body of a rule."""
        if form.shape == "arguments":
            if not _PLAIN_NAME.fullmatch(name):
                return ""
            inner = value
        else:
            quoted = json.dumps(name, ensure_ascii=False)
            head = f"{quoted} ?: ?"
            if form.shape == "object":
                head = f'{form.before}"{form.keys[0]}" ?: ?{_escaped(quoted)} ?, ?"{form.keys[1]}" ?: ?'
            end = form.after + r"[ \n]{0,2}[}]"
            inner = f"{self._regex(_BRACE + head)} {value} {self._regex(end)}"
        return f"{self._texts(form.opens, name)} {inner} {self._texts(form.closes, name)}".strip()

    def _texts(self, texts: Sequence[str], name: str = "") -> str:
        return " ".join(self._text(text, name) for text in texts)

    def _text(self, text: str, name: str) -> str:
        if text == NAME:
            return json.dumps(name)
        if text == ID:
            return "/[a-zA-Z0-9_]{1,12}/"
        if text == NUMBER:
            return "/[0-9]{1,4}/"
        return "BLANK?" if text == GAP else self._marker(text)

    def _regex(self, body: str) -> str:
        return "/" + body.replace("/", "\\/") + "/"


def _written(schema: Mapping[str, Any]) -> str:
    return json.dumps({"x-guidance": _COMPACT, **schema}, ensure_ascii=False, separators=(",", ":"))


def _escaped(text: str) -> str:
    return re.sub(r"([^\w\s\"-])", r"\\\1", text)
