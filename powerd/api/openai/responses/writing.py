"""The items of a response while they are written, and the events that tell of them (contract section 11.5; pure).

Deviations from Ollama, on purpose: a summary of thoughts is announced and closed as a part, as OpenAI does it; log
probabilities are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from powerd.api.openai.frames import token_object
from powerd.api.openai.responses.toolbox import CUSTOM_INPUT, Told
from powerd.protocol import Logprob, ToolCall

#: The type of an event and its fields.
Event = tuple[str, dict[str, object]]
Status = Literal["in_progress", "completed", "incomplete"]


@dataclass(slots=True)
class Place:
    """Where an item stands in its response."""

    response: str
    index: int

    def named(self, prefix: str) -> str:
        """The item's id."""
        return f"{prefix}_{self.response}_{self.index}"


@dataclass(slots=True)
class Reasoning:
    """Thoughts. They are the summary, and the `encrypted_content` that clients send back with the next request."""

    place: Place
    _texts: list[str] = field(default_factory=list)

    def item(self, status: Status) -> dict[str, object]:
        """The item as far as it is written."""
        text = "".join(self._texts)
        about: dict[str, object] = {"id": self.place.named("rs"), "type": "reasoning", "status": status}
        return about | ({"summary": [_summary(text)], "encrypted_content": text} if text else {"summary": []})

    def opened(self) -> list[Event]:
        """Its first events."""
        return [
            _added(self.place, self.item("in_progress")),
            ("response.reasoning_summary_part.added", self._at() | {"part": _summary("")}),
        ]

    def more(self, text: str, likely: Sequence[Logprob]) -> Event:
        """Some more text."""
        self._texts.append(text)
        return "response.reasoning_summary_text.delta", self._at() | {"delta": text}

    def closed(self, item: dict[str, object]) -> list[Event]:
        """Its last events."""
        text = "".join(self._texts)
        return [
            ("response.reasoning_summary_text.done", self._at() | {"text": text}),
            ("response.reasoning_summary_part.done", self._at() | {"part": _summary(text)}),
            _done(self.place, item),
        ]

    def _at(self) -> dict[str, object]:
        return {"item_id": self.place.named("rs"), "output_index": self.place.index, "summary_index": 0}


@dataclass(slots=True)
class Spoken:
    """A message of the assistant."""

    place: Place
    _texts: list[str] = field(default_factory=list)
    _likely: list[dict[str, object]] = field(default_factory=list)

    def item(self, status: Status) -> dict[str, object]:
        """The item as far as it is written."""
        content = [] if status == "in_progress" else [self._part()]
        about = {"id": self.place.named("msg"), "type": "message", "status": status}
        return about | {"role": "assistant", "content": content}

    def opened(self) -> list[Event]:
        """Its first events."""
        return [
            _added(self.place, self.item("in_progress")),
            ("response.content_part.added", self._at() | {"part": self._part()}),
        ]

    def more(self, text: str, likely: Sequence[Logprob]) -> Event:
        """Some more text, and the log probabilities of its tokens."""
        told = [token_object(token) for token in likely]
        self._texts.append(text)
        self._likely += told
        return "response.output_text.delta", self._at() | {"delta": text, "logprobs": told}

    def closed(self, item: dict[str, object]) -> list[Event]:
        """Its last events."""
        text = {"text": "".join(self._texts), "logprobs": self._likely}
        return [
            ("response.output_text.done", self._at() | text),
            ("response.content_part.done", self._at() | {"part": self._part()}),
            _done(self.place, item),
        ]

    def _part(self) -> dict[str, object]:
        text = "".join(self._texts)
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": self._likely}

    def _at(self) -> dict[str, object]:
        return {"item_id": self.place.named("msg"), "output_index": self.place.index, "content_index": 0}


def called(place: Place, call: ToolCall, told: Told) -> tuple[dict[str, object], list[Event]]:
    """The item of a call, which is always whole, and its events."""
    kind, prefix, name = ("custom_tool_call", "ctc", "input") if told.custom else ("function_call", "fc", "arguments")
    text = _text_of(call) if told.custom else msgspec.json.encode(call.arguments).decode()
    item: dict[str, object] = {
        "id": place.named(prefix),
        "type": kind,
        "status": "completed",
        "call_id": call.id,
        "name": told.name,
        name: text,
    }
    if told.namespace:
        item["namespace"] = told.namespace
    at: dict[str, object] = {"item_id": place.named(prefix), "output_index": place.index}
    about = f"response.custom_tool_call_{name}" if told.custom else f"response.function_call_{name}"
    last = {name: text} if told.custom else {"name": told.name, name: text}
    return item, [
        _added(place, item | {"status": "in_progress", name: ""}),
        (f"{about}.delta", at | {"delta": text}),
        (f"{about}.done", at | last),
        _done(place, item),
    ]


def _text_of(call: ToolCall) -> str:
    """The text for a tool that takes text."""
    text: Any = call.arguments.get(CUSTOM_INPUT)
    return text if isinstance(text, str) else msgspec.json.encode(call.arguments).decode()


def _added(place: Place, item: dict[str, object]) -> Event:
    return "response.output_item.added", {"output_index": place.index, "item": item}


def _done(place: Place, item: dict[str, object]) -> Event:
    return "response.output_item.done", {"output_index": place.index, "item": item}


def _summary(text: str) -> dict[str, object]:
    return {"type": "summary_text", "text": text}
