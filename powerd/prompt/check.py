"""Whether a text is a template at all, told before anything is rendered with it."""

from __future__ import annotations

from functools import lru_cache

from powerd.prompt.choose import Syntax
from powerd.prompt.gotemplate.parser import parse

#: Characters of Jinja that are read here; a longer text takes seconds and is judged when it is rendered.
MAX_JINJA = 128 * 1024


@lru_cache(maxsize=64)
def check(text: str, syntax: Syntax) -> None:
    """Raise TemplateFailed, with the line, for what cannot be read. Nothing of the template is run."""
    if syntax == "go":
        parse(text)
    elif len(text) <= MAX_JINJA:
        from powerd.prompt.jinja import parsed  # noqa: PLC0415  # 50 ms that only Jinja written by owners costs

        parsed(text)
