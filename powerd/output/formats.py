"""What a model's template says of the way it writes: its thinking tags and the format of its tool calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from powerd.output.pieces import Reader

#: The tools of a request by name, each with its JSON schema of `parameters` ({} where it has none).
Tools = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Tags:
    """What stands around thinking, in text: `<think>` and `</think>`."""

    open: str
    close: str


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How a family writes its tool calls."""

    name: str  # "hermes", "llama3", "mistral", …
    begins: tuple[str, ...]  # texts one of which begins every call
    reader: Callable[[Tools], Reader]  # reads text that holds no thinking into content and calls
    first: bool = False  # a call is only what begins the answer; later the same text is content
    markers: tuple[str, ...] = ()  # texts of the format that may be control tokens of the vocabulary


@dataclass(frozen=True, slots=True)
class Format:
    """How a model writes. Either part may be missing: then all of that is content."""

    thinking: Tags | None = None
    tools: ToolFormat | None = None
    harmony: bool = False  # gpt-oss: channels instead of tags; read by a reader of its own
    always_thinks: bool = False  # thinking cannot be switched off
    answer: Tags | None = None  # what some models put around the answer proper; it is never shown
    thought_markers: tuple[str, ...] = ()  # the tags, as far as they may be control tokens
