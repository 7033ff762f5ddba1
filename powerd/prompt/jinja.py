"""Chat templates as the transformers library runs them: Jinja in an immutable sandbox.

The environment follows `transformers.utils.chat_template_utils`: trimmed blocks, `break` and `continue`, a `tojson`
that leaves characters as they are, `raise_exception`, `strftime_now`, and `{% generation %}`, which only marks text
there and is passed through here. The sandbox refuses attributes that begin with an underscore, changes to mappings and
sets, and ranges over 100,000 items; no loader, so no template can name a file. Time and memory are not limited here
but by the process this runs in.

As in llama.cpp, and not in transformers, a template may put into a list and take out of it (Kimi K2 keeps the ids of
calls in one), and `safe` does nothing: text that counts as HTML would have what is added to it escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from jinja2 import BaseLoader, Environment, Template, TemplateSyntaxError, nodes
from jinja2.exceptions import TemplateError, TemplateRuntimeError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from powerd.prompt.failed import MAX_OUTPUT, TemplateFailed

MAX_TEMPLATE = 4 * 1024 * 1024  # characters
_COMPILED = 64  # templates kept
_T = TypeVar("_T")


def compiled(text: str) -> Template:
    """The template, from a small cache where it is known. Raises TemplateFailed for text that is not a template."""
    return _read(text, _compile)


def parsed(text: str) -> None:
    """Raise TemplateFailed for text that is not a template. Constants are not computed, unlike when it is compiled."""
    _read(text, _ENVIRONMENT.parse)


def _read(text: str, read: Callable[[str], _T]) -> _T:
    if len(text) > MAX_TEMPLATE:
        raise TemplateFailed(f"the template has {len(text)} characters, over the limit of {MAX_TEMPLATE}")
    try:
        return read(text)
    except TemplateSyntaxError as error:
        raise TemplateFailed(error.message or "syntax error", error.lineno) from None
    except MemoryError:
        raise _out_of_memory() from None
    except Exception as error:  # the parser and the compiler meet deep nesting in many ways
        raise TemplateFailed(_reason(error)) from None


_UNKNOWN = re.compile(r"Encountered unknown tag '(\w+)'")
_MOST_UNKNOWN = 8  # tags that are left out of one template


def without_unknown_tags(text: str) -> tuple[str, list[str]]:
    """The template without the tags nobody knows, and their names; what stands between two of them stays.

    Raises TemplateFailed for a template that cannot be read even so.
    """
    unknown: list[str] = []
    while True:
        try:
            compiled(text)
            return text, unknown
        except TemplateFailed as error:
            found = _UNKNOWN.search(str(error))
            if found is None or len(unknown) == _MOST_UNKNOWN:
                raise
        unknown.append(found[1])
        text = re.sub(rf"\{{%([-+]?)\s*(?:end)?{found[1]}\b.*?([-+]?)%\}}", r"{#\1 \2#}", text, flags=re.DOTALL)


def run(text: str, variables: Mapping[str, Any], now: datetime) -> str:
    """The text the template makes of `variables`; `now` is what `strftime_now` formats.

    Raises TemplateFailed for every fault of the template, and for output over MAX_OUTPUT bytes.
    """
    template = compiled(text)
    own = {"strftime_now": now.strftime, "raise_exception": _raise_exception}
    try:
        pieces = template.root_render_func(template.new_context({**variables, **own}))
        return _bounded(pieces)
    except TemplateFailed:
        raise
    except MemoryError:
        raise _out_of_memory() from None
    except Exception as error:  # templates call methods of strings, numbers and mappings: any error can come out
        raise TemplateFailed(_reason(error), _line(error.__traceback__)) from None


def _bounded(pieces: Iterator[str]) -> str:
    kept, characters = [], 0
    for piece in pieces:
        characters += len(piece)
        if characters > MAX_OUTPUT:
            break
        kept.append(piece)
    text = "".join(kept)
    if characters > MAX_OUTPUT or len(text.encode()) > MAX_OUTPUT:
        raise TemplateFailed(f"the text grows over the limit of {MAX_OUTPUT} bytes")
    return text


def _out_of_memory() -> TemplateFailed:
    """Compiled templates may hold large constants: let go of them, so that the next job finds room."""
    _compile.cache_clear()
    return TemplateFailed("the template needs more memory than it may have")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the template nests too deeply"
    if isinstance(error, UnicodeEncodeError):
        return "the text holds half of a surrogate pair"
    message = error.message if isinstance(error, TemplateError) else str(error)
    return message or type(error).__name__


def _line(traceback: TracebackType | None) -> int | None:
    """The innermost template line of a traceback."""
    line = None
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line


def _raise_exception(message: object) -> NoReturn:
    raise TemplateRuntimeError(str(message))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if isinstance(value, Iterator):  # what `map` and `select` make
        value = list(value)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: marks what the model wrote, for training; the text passes through."""

    tags = {"generation"}  # noqa: RUF012 - Jinja2 declares it as an instance variable

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _NoFiles(BaseLoader):
    """`include`, `import` and `extends` end here."""

    def get_source(self, environment: Environment, template: str) -> NoReturn:
        raise TemplateRuntimeError("a chat template cannot include, import or extend another template")


class _Sandbox(ImmutableSandboxedEnvironment):
    """Lists may grow and shrink: what a job brings is its own, and nothing of it outlives the job."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return (type(obj) is list and attr in ("append", "pop")) or super().is_safe_attribute(obj, attr, value)


def _environment() -> Environment:
    environment = _Sandbox(
        loader=_NoFiles(),
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = _tojson
    environment.filters["safe"] = lambda text: text
    return environment


_ENVIRONMENT = _environment()


@lru_cache(maxsize=_COMPILED)
def _compile(text: str) -> Template:
    return _ENVIRONMENT.from_string(text)
