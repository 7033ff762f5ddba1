"""The `template:` field: inline text or a file, in Jinja or in Go's syntax, told apart by what it is written in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from powerd.catalog.loader import Block, Node, Scalar
from powerd.catalog.problems import quote
from powerd.catalog.spec import Position, Template
from powerd.catalog.values import Reading, Wrong, found, mapping, path, reads, text, words
from powerd.prompt.check import check
from powerd.prompt.failed import TemplateFailed

#: Characters of one template; the longest in circulation have about 30,000.
MAX_TEMPLATE = 1024 * 1024

#: A field, a variable or a comment; a function of a field; a keyword as only Go uses it.
_GO_ACTION = re.compile(
    r"\{\{-?\s*(?:[.$]|/\*|\(*[a-zA-Z]+\s+[.$]"
    r"|(?:if|range|with|else if|else with)\s+[^\s}|]"
    r"|(?:define|block|template)\s+[\"`]"
    r"|(?:end|else|break|continue)\s*-?\}\})"
)
_JINJA_TAG = re.compile(r"\{[%#]")


def syntax_of(written: str) -> Literal["jinja", "go"]:
    """The syntax `written` is in: any `{% %}` or `{# #}` is Jinja, else an action only Go knows makes it Go."""
    if not _JINJA_TAG.search(written) and _GO_ACTION.search(written):
        return "go"
    return "jinja"


@reads(text.schema)
def _file(node: Node, reading: Reading) -> str:
    """The text of the file named."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value:
        raise Wrong(node.at, f"must be the path of a file, {found(node)}")
    where = path(node.value, node.at, reading)
    if where not in reading.files:
        reading.files[where] = _contents(where, node.at, reading)
    return reading.files[where]


def _contents(where: Path, at: Position, reading: Reading) -> str:
    try:
        contents = reading.read_file(where)
    except OSError as error:
        raise Wrong(at, f"cannot be read: {where}: {error.strerror or error}") from None
    except ValueError:
        raise Wrong(at, f"cannot be read: {quote(str(where))} is not a UTF-8 text file") from None
    if len(contents) > MAX_TEMPLATE or "\0" in contents:
        raise Wrong(at, f"cannot be used: {where} is longer than {MAX_TEMPLATE} characters or holds a NUL")
    if not contents:
        raise Wrong(at, f"cannot be used: {where} is empty")
    return contents


_PARTS = mapping({"file": _file, "text": text, "syntax": words("jinja", "go")})


@reads(
    {
        "anyOf": [
            text.schema,
            {**_PARTS.schema, "oneOf": [{"required": ["file"]}, {"required": ["text"]}]},
        ]
    }
)
def template(node: Node, reading: Reading) -> Template:
    """The template, its text read from the file it names."""
    if isinstance(node, Scalar):
        written = text(node, reading)
        return _checked(Template(written, syntax_of(written)), node)
    values = _PARTS(node, reading)
    if isinstance(node, Block) and len({entry.key for entry in node.entries} & {"file", "text"}) != 1:
        raise Wrong(node.at, 'must hold either "file" or "text"')
    written = values.get("file") or values.get("text") or ""
    return _checked(Template(written, values.get("syntax") or syntax_of(written)), node)


def _checked(template: Template, node: Node) -> Template:
    try:
        check(template.text, template.syntax)
    except TemplateFailed as error:
        raise Wrong(node.at, f"cannot be used: {error}") from None
    return template
