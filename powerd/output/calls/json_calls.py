"""Reading calls that are JSON objects between a family's own texts.

All families that write JSON differ in little: what begins a call, what stands between that and the object (nothing, a
bracket, a code fence, the call's name), and what ends it. `JsonForm` says so; one reader reads them all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from powerd.output.calls.beside import Beside
from powerd.output.calls.extent import Extent, decode, decode_whole
from powerd.output.formats import Tools
from powerd.output.marks import BLANK, marks, past
from powerd.output.pieces import Piece
from powerd.protocol import ToolCall

#: Characters from a call's beginning to its object's brace: names are at most 64, ids a little more.
MAX_HEAD = 256

_NAMES = ("name", "tool_name", "function")
_ARGUMENTS = ("arguments", "parameters")
_IDS = ("id", "tool_call_id")
#: Keys one of which is the first of an object that calls a tool.
_KEYS = frozenset((*_NAMES, *_ARGUMENTS, *_IDS, "type"))
_FIRST_KEY = re.compile(r'\{\s*(?:"([^"\\]*)"|[^\s"])')
_BETWEEN = re.compile(r"[\s,;\]}]*")


@dataclass(frozen=True, slots=True)
class JsonForm:
    """What stands around the objects. `head` matches all from a beginning to the brace; its groups `name` and `id`.

    Where `name` matched, the object is the arguments; else it holds `name` and `arguments` itself. A call may also
    begin with an object and nothing before it, as the first text of the answer, in `bare` forms.
    """

    begins: tuple[str, ...]
    head: re.Pattern[str]
    ends: tuple[str, ...] = ()
    bare: bool = False


class _State(Enum):
    TEXT = auto()
    HEAD = auto()
    OBJECT = auto()
    TAIL = auto()


class JsonCalls:
    """Reads text into content and calls.

    Blanks before and after calls are dropped, and only those. What does not become a call is content, all of it: an
    object that is no JSON, that is cut off, or that names no tool of the request.
    """

    __slots__ = (
        "_bare",
        "_beside",
        "_closed",
        "_extent",
        "_form",
        "_held",
        "_id",
        "_marks",
        "_name",
        "_object",
        "_out",
        "_state",
        "_tools",
    )

    def __init__(self, form: JsonForm, tools: Tools) -> None:
        self._form = form
        self._tools = tools
        self._marks = marks(*form.begins) if form.begins else None
        self._state = _State.TEXT
        self._bare = form.bare  # nothing but blanks yet: an object may be a call
        self._closed = False  # the last call's end has been read
        self._held = ""  # text that more is needed of to tell what it is; short
        self._beside = Beside()
        self._object: list[str] = []
        self._extent = Extent()
        self._name: str | None = None
        self._id = ""
        self._out: list[Piece] = []

    def feed(self, text: str) -> Sequence[Piece]:
        """What more text tells."""
        if self._held:
            text, self._held = self._held + text, ""
        self._out = []
        at = 0
        while at < len(text):
            if self._state is _State.TEXT:
                at = self._read_text(text, at)
            elif self._state is _State.OBJECT:
                at = self._read_object(text, at)
            elif self._state is _State.HEAD:
                at = self._read_head(text, at)
            else:
                at = self._read_tail(text, at)
        return self._out

    def end(self) -> Sequence[Piece]:
        """What was held back. The beginning of an end text is dropped with the call it belongs to."""
        self._out = []
        cut_end = self._state is _State.TAIL and any(end.startswith(self._held) for end in self._form.ends)
        rest = self._beside.spill("".join((*self._object, "" if cut_end else self._held)))
        return [rest] if rest else []

    def _hold(self, text: str, start: int) -> int:
        self._held = text[start:]
        return len(text)

    def _read_text(self, text: str, start: int) -> int:
        if self._bare:
            return self._read_first(text, start)
        found = self._marks.search(text, start) if self._marks is not None else None
        if found is None:
            self._say(text[start:])
            return len(text)
        at, begin = found
        self._say(text[start:at])
        if begin is None:
            return self._hold(text, at)
        self._state = _State.HEAD
        return at

    def _read_first(self, text: str, start: int) -> int:
        at = past(BLANK, text, start)
        self._say(text[start:at])
        if at < len(text):
            self._bare = text[at] in "{["
            if self._bare:
                self._state = _State.HEAD
        return at

    def _say(self, text: str) -> None:
        if content := self._beside.say(text):
            self._out.append(content)

    def _read_head(self, text: str, start: int) -> int:
        head = text[start : start + MAX_HEAD]
        brace = head.find("{")
        key = _FIRST_KEY.match(head, brace) if brace >= 0 else None
        if key is None and len(head) < MAX_HEAD:
            return self._hold(text, start)
        found = self._form.head.fullmatch(head, 0, brace) if key is not None else None
        if found is None or key is None or (self._bare and key[1] not in _KEYS and key[1] not in self._tools):
            return self._no_call(text, start)
        groups = found.groupdict()
        self._name, self._id = groups.get("name"), groups.get("id") or ""
        self._beside.hold(head[:brace])
        return self._begin_object(start + brace)

    def _no_call(self, text: str, start: int) -> int:
        """Only the beginning is content for certain: what follows may begin again."""
        self._state = _State.TEXT
        if self._bare:
            self._bare = False
            return start
        begin = next(begin for begin in self._form.begins if text.startswith(begin, start))
        self._say(begin)
        return start + len(begin)

    def _begin_object(self, at: int) -> int:
        self._extent = Extent()
        self._state = _State.OBJECT
        return at

    def _read_object(self, text: str, start: int) -> int:
        at = self._extent.follow(text, start)
        self._object.append(text[start:at])
        if at is None:
            return len(text)
        read = decode("".join(self._object), self._extent.lacks)
        call = self._call(read) if read is not None else None
        if call is not None:
            self._out.append(call)
            self._beside.called()
        elif content := self._beside.spill("".join(self._object)):
            self._out.append(content)
        self._state = _State.TEXT if call is None else _State.TAIL
        self._bare = self._closed = False
        self._object.clear()
        return at

    def _call(self, read: dict[str, object]) -> ToolCall | None:
        if self._name is not None:
            name = declared(self._name, self._tools)
            return None if name is None else ToolCall(name, read, self._id)
        return call_of(read, self._tools, bare=self._bare)

    def _read_tail(self, text: str, start: int) -> int:
        """After a call: its end, another object, another beginning, or text."""
        at = past(BLANK if self._closed else _BETWEEN, text, start)
        if at == len(text):
            return at
        for end in self._form.ends:
            if text.startswith(end, at):
                self._closed = True
                return at + len(end)
        if text[at] == "{" and not self._closed and self._name is None:
            return self._begin_object(at)
        rest = text[at : at + MAX_HEAD]
        if any(mark.startswith(rest) for mark in (*self._form.ends, *self._form.begins)):
            return self._hold(text, at)
        self._state = _State.TEXT
        return at


def call_of(read: dict[str, object], tools: Tools, *, bare: bool = False) -> ToolCall | None:
    """The call that an object of `name` and `arguments` is, under any of their usual keys.

    Also `{"type": "function", "function": {…}}` and `{NAME: {…}}`. None where it names no tool of the request, where
    the arguments are no object, where they stand under a key nobody knows, and, if `bare`, where there are none.
    """
    inner = read.get("function")
    body = inner if isinstance(inner, dict) else read
    name = next((value for key in _NAMES if isinstance(value := body.get(key), str)), None)
    if name is None:
        return _call_by_key(read, tools)
    found = declared(name, tools)
    key = next((key for key in _ARGUMENTS if key in body), None)
    if found is None or (key is None and (bare or any(isinstance(value, dict | list) for value in body.values()))):
        return None
    arguments = {} if key is None else _arguments(body[key])
    if arguments is None:
        return None
    return ToolCall(found, arguments, next((_id(read[key]) for key in _IDS if key in read), ""))


def _call_by_key(read: dict[str, object], tools: Tools) -> ToolCall | None:
    if len(read) != 1:
        return None
    ((key, value),) = read.items()
    name, arguments = declared(key, tools), _arguments(value)
    return None if name is None or arguments is None or value is None else ToolCall(name, arguments)


def declared(name: str, tools: Tools) -> str | None:
    """The tool that a model means by a name: models put blanks and `functions.` before it."""
    name = name.strip()
    if name in tools:
        return name
    name = name.removeprefix("functions.")
    return name if name in tools else None


def _arguments(value: object) -> dict[str, object] | None:
    """An object, or a JSON text of one; nothing counts as none."""
    if value is None:
        return {}
    if isinstance(value, str):
        return decode_whole(value) if value.strip() else {}
    return value if isinstance(value, dict) else None


def _id(value: object) -> str:
    """What identifies the call beyond its answer: short numbers count from 0 in each."""
    return value if isinstance(value, str) and not (value.isdigit() and len(value) < 9) else ""
