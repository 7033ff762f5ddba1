"""From Anthropic's messages and their content blocks to a neutral conversation (contract section 12; pure).

Text blocks are put together as they are. The results of tools come before the text of their message. A block whose
kind has no place here is refused by name, where Ollama leaves it out without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from powerd.api.anthropic.schema import SentMessage
from powerd.errors import BadRequest
from powerd.protocol import Message, ToolCall

MAX_MESSAGES = 4096
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
#: How Claude Code opens a block of its system text that is meant for Anthropic's accounts; it changes all the time.
_BILLING = "x-anthropic-billing-header:"


@dataclass(slots=True)
class Conversation:
    """A conversation as it is read."""

    messages: list[Message] = field(default_factory=list)
    pictures: bool = False
    _names: dict[str, str] = field(default_factory=dict)  # of the tools called, by the calls' ids

    def called(self, call: ToolCall) -> ToolCall:
        """Remember the tool's name for the result, which names only the call."""
        self._names[call.id] = call.name
        return call

    def result(self, call_id: str, content: str) -> Message:
        """What a tool answered."""
        return Message("tool", content, tool_name=self._names.get(call_id, ""), tool_call_id=call_id)


def conversation(system: Any, sent: Sequence[SentMessage]) -> Conversation:
    """The system text and the messages. Raises BadRequest naming the place."""
    if len(sent) > MAX_MESSAGES:
        raise BadRequest(f"messages[{MAX_MESSAGES}]: a conversation holds at most {MAX_MESSAGES} messages", "messages")
    read = Conversation()
    if text := _system("system", system):
        read.messages.append(Message("system", text))
    for index, message in enumerate(sent):
        place = f"messages[{index}]"
        reader = _READERS.get(message.role)
        if reader is None:
            raise BadRequest(
                f'{place}.role: "user", "assistant" or "system" is taken, not "{message.role[:40]}"', f"{place}.role"
            )
        reader(f"{place}.content", message.content, read)
    return read


# ---------------------------------------------------------------- the roles


def _system(place: str, content: Any) -> str:
    if content is None:
        return ""
    texts = []
    for at, block in _blocks(place, content):
        if _kind(at, block) != "text":
            raise BadRequest(f"{at}: a system text consists of text blocks", at)
        texts.append(_text(at, block))
    return "".join(text for text in texts if not text.startswith(_BILLING))


def _from_system(place: str, content: Any, read: Conversation) -> None:
    read.messages.append(Message("system", _system(place, content)))


def _from_user(place: str, content: Any, read: Conversation) -> None:
    """The results of tools, each a message of its own, then what the user says."""
    texts: list[str] = []
    results = 0
    for at, block in _blocks(place, content):
        kind = _kind(at, block)
        if kind == "text":
            texts.append(_text(at, block))
        elif kind == "image":
            _check_picture(at, block, read)
        elif kind == "tool_result":
            results += 1
            read.messages.append(_result(at, block, read))
        else:
            raise _no_place(at, kind, "user")
    if texts or not results:
        read.messages.append(Message("user", "".join(texts)))


def _from_assistant(place: str, content: Any, read: Conversation) -> None:
    """One message of text, thoughts and calls; the result of a search within it divides it."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for at, block in _blocks(place, content):
        kind = _kind(at, block)
        if kind == "text":
            texts.append(_text(at, block))
        elif kind == "thinking":
            thoughts.append(_string(at, block, "thinking"))
        elif kind in ("tool_use", "server_tool_use"):
            calls.append(read.called(_call(at, kind, block)))
        elif kind == "web_search_tool_result":
            read.messages.append(Message("assistant", "".join(texts), "".join(thoughts), tuple(calls)))
            read.messages.append(read.result(_id(at, kind, block, "tool_use_id"), _found(block.get("content"))))
            texts, thoughts, calls = [], [], []
        elif kind != "redacted_thinking":  # that nobody but its author can read
            raise _no_place(at, kind, "assistant")
    read.messages.append(Message("assistant", "".join(texts), "".join(thoughts), tuple(calls)))


_READERS = {"user": _from_user, "assistant": _from_assistant, "system": _from_system}


# ---------------------------------------------------------------- the blocks


def _blocks(place: str, content: Any) -> list[tuple[str, Any]]:
    """The blocks, each with its place; a string is one text block."""
    if isinstance(content, str):
        return [(place, {"type": "text", "text": content})]
    if not isinstance(content, list):
        raise BadRequest(f"{place}: a string or an array of content blocks is needed", place)
    return [(f"{place}[{number}]", block) for number, block in enumerate(content)]


def _kind(place: str, block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        raise BadRequest(f"{place}: a content block is needed, an object with a `type`", place)
    return kind


def _string(place: str, block: dict[str, Any], name: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{place}.{name}: a string is needed", f"{place}.{name}")
    return value


def _text(place: str, block: dict[str, Any]) -> str:
    return _string(place, block, "text")


def _id(place: str, kind: str, block: dict[str, Any], name: str) -> str:
    value = block.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{place}: {kind} block missing required '{name}' field", f"{place}.{name}")
    return value


def _call(place: str, kind: str, block: dict[str, Any]) -> ToolCall:
    identity, name = _id(place, kind, block, "id"), _id(place, kind, block, "name")
    arguments = block.get("input")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise BadRequest(f"{place}.input: an object is needed", f"{place}.input")
    return ToolCall(name, arguments, identity)


def _result(place: str, block: dict[str, Any], read: Conversation) -> Message:
    call_id = _id(place, "tool_result", block, "tool_use_id")
    content = block.get("content")
    texts = []
    for at, part in _blocks(f"{place}.content", "" if content is None else content):
        kind = _kind(at, part)
        if kind == "image":
            _check_picture(at, part, read)
        elif kind == "text":
            texts.append(_text(at, part))
        else:
            raise BadRequest(f'{at}: a tool_result holds text and images, not "{kind[:40]}"', at)
    return read.result(call_id, "".join(texts))


def _found(content: Any) -> str:
    """What a search on another server found, as far as it can be read: titles and addresses."""
    hits = [hit for hit in content if isinstance(hit, dict)] if isinstance(content, list) else []
    return "\n".join(f"{hit.get('title', '')} {hit.get('url', '')}".strip() for hit in hits)


def _check_picture(place: str, block: dict[str, Any], read: Conversation) -> None:
    """No address is ever fetched (reliability S20)."""
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    if not isinstance(source, dict) or kind != "base64":
        named = kind[:40] if isinstance(kind, str) else "none"
        raise BadRequest(
            f"{place}: invalid image source type: {named}. Only base64 images are supported.", f"{place}.source"
        )
    form = source.get("media_type")
    if not isinstance(form, str) or form not in _PICTURES or not isinstance(source.get("data"), str):
        raise BadRequest(
            f"{place}.source: needs `data`, a string, and a `media_type`: {', '.join(sorted(_PICTURES))}",
            f"{place}.source",
        )
    read.pictures = True


def _no_place(place: str, kind: str, role: str) -> BadRequest:
    return BadRequest(f'{place}.type: blocks of type "{kind[:40]}" are not taken from the {role}', f"{place}.type")
