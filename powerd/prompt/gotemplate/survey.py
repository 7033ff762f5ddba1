"""Which names a Go template uses, and its cut at `.Response`, which legacy templates need (contract section 7.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from powerd.prompt.gotemplate import nodes as n
from powerd.prompt.gotemplate.parser import parse


@lru_cache(maxsize=64)
def names(text: str) -> frozenset[str]:
    """Every field a template names, anywhere: `.A.B` names A and B. Raises TemplateFailed."""
    template = parse(text)
    bodies = [template.body, *template.defined.values()]
    return frozenset(name for body in bodies for name in _in_body(body))


def _in_body(body: n.Body) -> Iterator[str]:
    for node in body:
        match node:
            case n.Action(pipe=pipe):
                yield from _in_pipe(pipe)
            case n.If() | n.Range():
                yield from _in_pipe(node.pipe)
                yield from _in_body(node.body)
                yield from _in_body(node.otherwise)
            case n.Call(pipe=n.Pipe() as pipe):
                yield from _in_pipe(pipe)


def _in_pipe(pipe: n.Pipe) -> Iterator[str]:
    for command in pipe.commands:
        for operand in command:
            match operand:
                case n.Field() | n.Variable():
                    yield from operand.names
                case n.Chain():
                    yield from operand.names
                    yield from _in_pipe(operand.operand)
                case n.Pipe():
                    yield from _in_pipe(operand)


def cut(template: n.Template) -> n.Template:
    """The template without anything that follows the first action which writes `.Response`."""
    return replace(template, body=_cut_body(template.body)[0])


def _cut_body(body: n.Body) -> tuple[n.Body, bool]:
    kept: list[n.Node] = []
    for node in body:
        short, found = _cut_node(node)
        kept.append(short)
        if found:
            return tuple(kept), True
    return tuple(kept), False


def _cut_node(node: n.Node) -> tuple[n.Node, bool]:
    if isinstance(node, n.Action):
        return node, "Response" in _in_pipe(node.pipe)
    if not isinstance(node, n.If | n.Range):
        return node, False
    body, found = _cut_body(node.body)
    otherwise, also = _cut_body(node.otherwise)
    return replace(node, body=body, otherwise=otherwise), found or also
