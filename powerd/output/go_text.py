"""What the text of a Go template tells of the answers: the tags around thinking, and what begins and ends a call.

Contract 8.1 and 8.2 name the rules. They ask for the texts around an action, so the template is only cut into texts and
actions here: whether it is a valid one is found where it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from powerd.output.formats import Tags

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_OPENS = re.compile(r"(?:range|if|with|block|define)\b")
_MESSAGES = re.compile(r"range\b.*\.Messages\b")
_SAYS_THINKING = re.compile(r"(?:\$\w*)?\.Thinking(?:\s*\|.*)?\Z")
_SWITCH = re.compile(r"\.(?:Think|ThinkLevel|IsThinkSet)\b")
_TAG = r"(?:<[^<>\s]+>|\[[^\[\]\s]+\])"
_LAST_TAG = re.compile(rf"{_TAG}\Z")
_FIRST_TAG = re.compile(rf"{_TAG}")


@dataclass(frozen=True, slots=True)
class _Node:
    text: str
    is_action: bool


def switches_thinking(template: str) -> bool:
    """Whether it asks if thinking is wanted."""
    return any(node.is_action and _SWITCH.search(node.text) for node in _nodes(template))


def thinking_tags(template: str) -> Tags | None:
    """The texts next to `.Thinking` where the messages are written; None where there are not two."""
    nodes = _nodes(template)
    for at, ranges in _ranges(nodes):
        if _SAYS_THINKING.match(nodes[at].text) and ranges and all(map(_MESSAGES.match, ranges)):
            opening = _beside(nodes, at, -1)
            closing = _beside(nodes, at, 1)
            if opening and closing:
                return Tags(opening, closing)
    return None


def call_texts(template: str) -> tuple[str, str] | None:
    """What begins a call and what ends it, either "" for nothing but the object; None where no calls are written."""
    nodes = _nodes(template)
    calls = [at for at, node in enumerate(nodes) if node.is_action and ".ToolCalls" in node.text]
    if not calls:
        return None
    named = next((at for at in range(calls[0], len(nodes)) if _is_action(nodes[at], ".Function")), None)
    if named is None:
        return _begin(nodes, calls[0]), ""
    start = named
    while start > 0 and (not nodes[start - 1].is_action or start - 1 in calls):
        start -= 1
    return _begin(nodes, next((at for at in calls if at >= start), named)), _end(nodes, named)


def _begin(nodes: Sequence[_Node], start: int) -> str:
    """All text behind an action up to the brace or the next action that writes something; the first of any else."""
    told: list[str] = []
    for node in nodes[start + 1 :]:
        if node.is_action and not (".ToolCalls" in node.text and _OPENS.match(node.text)):
            if "".join(told).strip():
                break
        elif not node.is_action:
            told.append(node.text)
            if "{" in node.text:
                break
    return "".join(told).partition("{")[0].strip().removesuffix("[").rstrip()


def _end(nodes: Sequence[_Node], start: int) -> str:
    """The tag behind the arguments, if one is there."""
    at = next((at for at in range(start, len(nodes)) if _is_action(nodes[at], ".Arguments")), None)
    told = ""
    for node in nodes[at + 1 :] if at is not None else ():
        if not node.is_action:
            told += node.text
        elif node.text != "end":
            break
    found = _FIRST_TAG.match(told.lstrip(" \t\r\n}])`"))
    return found[0] if found is not None else ""


def _is_action(node: _Node, field: str) -> bool:
    return node.is_action and field in node.text


def _beside(nodes: Sequence[_Node], at: int, step: int) -> str:
    """The tag in the text before or behind an action, or else the text's nearest line."""
    there = at + step
    lines = nodes[there].text.split("\n") if 0 <= there < len(nodes) and not nodes[there].is_action else []
    line = next((line.strip() for line in lines[::step] if line.strip()), "")
    found = (_FIRST_TAG.match if step > 0 else _LAST_TAG.search)(line)
    return found[0] if found is not None else line


def _ranges(nodes: Sequence[_Node]) -> Iterator[tuple[int, list[str]]]:
    """Each action with the ranges that it is in."""
    within: list[str] = []
    for at, node in enumerate(nodes):
        if not node.is_action:
            continue
        if _OPENS.match(node.text):
            within.append(node.text)
        elif node.text == "end" and within:
            within.pop()
        yield at, [text for text in within if text.startswith("range")]


def _nodes(template: str) -> list[_Node]:
    """Texts and actions in turn, comments and empty texts left out."""
    nodes = (_Node(part, bool(at % 2)) for at, part in enumerate(_ACTION.split(template)))
    return [node for node in nodes if node.text and not node.text.startswith("/*")]
