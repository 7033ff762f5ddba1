"""The input of a response as messages (contract section 11.5; pure).

What the assistant did in one turn becomes one message: its thoughts, its text and its calls, as the model wrote them.
The texts that come before the conversation become one too, as many templates know a single system message only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from powerd.api import tools
from powerd.api.openai import media
from powerd.api.openai.responses.toolbox import CUSTOM_INPUT, full_name
from powerd.api.openai.translate import MAX_MESSAGES
from powerd.errors import BadRequest
from powerd.protocol import Message, ToolCall

_ROLES = frozenset({"system", "developer", "user", "assistant"})
_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
#: What a search was about is no part of the conversation; its findings are.
_SKIPPED = ("web_search_call",)

Item = Mapping[str, Any]


@dataclass(slots=True)
class Conversation:
    """The messages so far."""

    messages: list[Message] = field(default_factory=list)
    has_media: bool = False
    _thoughts: list[str] = field(default_factory=list)  # wait for the message they led to
    _after: list[str] = field(default_factory=list)  # texts that followed the calls of the last message
    _arguments: tools.Arguments = field(default_factory=tools.Arguments)
    _names: dict[str, str] = field(default_factory=dict)  # of functions, by the ids of their calls

    # ------------------------------------------------------------ items

    def take(self, place: str, item: Any) -> None:
        """Add one item. Raises BadRequest."""
        if not isinstance(item, dict):
            raise BadRequest(f"{place}: an item is an object", place)
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind is None:
            raise BadRequest(f"{place}: input item missing required 'type' field", place)
        if kind in _SKIPPED:
            return
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is None:
            hint = "; powerd keeps no responses, send the items themselves" if kind == "item_reference" else ""
            raise BadRequest(f'{place}: unknown input item type: "{str(kind)[:80]}"{hint}', place)
        reader(self, place, item)

    def _message(self, place: str, item: Item) -> None:
        role = item.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise BadRequest(f'{place}.role: unknown role "{str(role)[:40]}"', f"{place}.role")
        content = self._content(f"{place}.content", item.get("content"), "" if role == "assistant" else "\n\n")
        if role == "assistant":
            self._say(content)
        else:
            self._end_turn()
            self._add(Message("system" if role == "developer" else role, content))

    def _say(self, text: str) -> None:
        """Text that follows a call is part of its message: the call's result must come next."""
        last = self.messages[-1] if self.messages else None
        if last is not None and last.tool_calls and not self._thoughts:
            self._after.append(text)
        else:
            self._add(Message("assistant", text, self._take_thought()))

    def _reasoning(self, place: str, item: Item) -> None:
        """Thoughts of ours come back as `encrypted_content`; others' may stand in the content or the summary."""
        texts = [_string(place, item, "encrypted_content", "")]
        for name in ("content", "summary"):
            if not any(texts):
                texts = [self._content(f"{place}.{name}", item.get(name) or "", "\n")]
        self._thoughts += [text for text in texts if text]

    def _function_call(self, place: str, item: Item) -> None:
        self._call(place, item, self._arguments.read(f"{place}.arguments", _string(place, item, "arguments", "")))

    def _custom_call(self, place: str, item: Item) -> None:
        self._call(place, item, {CUSTOM_INPUT: _string(place, item, "input")})

    def _call(self, place: str, item: Item, arguments: dict[str, Any]) -> None:
        """A call belongs to the assistant's message before it, be that a text or other calls."""
        name = full_name(_string(place, item, "namespace", ""), _string(place, item, "name"))
        call = ToolCall(name, arguments, _string(place, item, "call_id", ""))
        if call.id:
            self._names[call.id] = name
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "assistant" or self._thoughts:
            self._add(Message("assistant", "", self._take_thought(), (call,)))
        else:
            self.messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))

    def _output(self, place: str, item: Item) -> None:
        call_id = _string(place, item, "call_id")
        text = self._content(f"{place}.output", item.get("output"), "\n\n")
        self._end_turn()
        self._add(Message("tool", text, tool_name=self._names.get(call_id, ""), tool_call_id=call_id))

    # ------------------------------------------------------------ their parts

    def _content(self, place: str, content: Any, between: str) -> str:
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise BadRequest(f"{place}: a string or an array of parts is needed", place)
        texts = [self._part(f"{place}[{number}]", part) for number, part in enumerate(content)]
        return between.join(text for text in texts if text)

    def _part(self, place: str, part: Any) -> str:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in media.KINDS:
            media.check(part, place)
            self.has_media = True
            return ""
        if kind == "input_file":
            raise BadRequest(f"{place}: file inputs are not currently supported", place)
        if kind == "refusal":
            return _string(place, part, "refusal")
        if kind not in _TEXTS:
            raise BadRequest(f"{place}: invalid message format", place)
        return _string(place, part, "text")

    def _add(self, message: Message) -> None:
        self._complete()
        self.messages.append(message)

    def _complete(self) -> None:
        """Give the last message the texts that followed its calls, all at once: there may be thousands."""
        if self._after:
            last, texts = self.messages[-1], self._after
            self.messages[-1] = replace(last, content="\n".join(part for part in (last.content, *texts) if part))
            self._after = []

    def _take_thought(self) -> str:
        thoughts, self._thoughts = self._thoughts, []
        return "\n".join(thoughts)

    def _end_turn(self) -> None:
        """Thoughts that led to nothing, as when an answer was cut, stay a message of their own."""
        if self._thoughts:
            self._add(Message("assistant", "", self._take_thought()))

    def end(self) -> tuple[Message, ...]:
        """All of it."""
        self._end_turn()
        self._complete()
        return tuple(self.messages)


_READERS = {
    "message": Conversation._message,
    "reasoning": Conversation._reasoning,
    "function_call": Conversation._function_call,
    "function_call_output": Conversation._output,
    "custom_tool_call": Conversation._custom_call,
    "custom_tool_call_output": Conversation._output,
}


def read(value: Any, instructions: str) -> tuple[tuple[Message, ...], bool]:
    """The messages of an `input`, behind the instructions, and whether any holds an image or sound.

    Raises BadRequest naming the item.
    """
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise BadRequest("input: a string or an array of items is needed", "input")
    if not value:
        raise BadRequest("[] is too short - 'input'", "input")
    if len(value) > MAX_MESSAGES:
        raise BadRequest(f"input[{MAX_MESSAGES}]: a conversation holds at most {MAX_MESSAGES} items", "input")
    conversation = Conversation([Message("system", instructions)] if instructions else [])
    for index, item in enumerate(value):
        conversation.take(f"input[{index}]", item)
    return _with_one_system(conversation.end()), conversation.has_media


def _with_one_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages with the system texts at their beginning as one."""
    count = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
    if count < 2:
        return messages
    return (Message("system", "\n\n".join(message.content for message in messages[:count])), *messages[count:])


def _string(place: str, item: Item, name: str, default: str | None = None) -> str:
    """A field that is a string; null counts as absent. Raises BadRequest."""
    value = item.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise BadRequest(f"{place}.{name}: a string is needed", f"{place}.{name}")
    return value
