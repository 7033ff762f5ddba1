"""What a Go template consists of, once parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dot:
    """`.`"""


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, a number, a truth value or nil."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Field:
    """`.A.B`"""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """`$x.A.B`; the name keeps its `$`."""

    name: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """The name of a function, which is called with the rest of its command."""

    name: str


@dataclass(frozen=True, slots=True)
class Chain:
    """`(pipeline).A.B`"""

    operand: Pipe
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands joined by `|`, and the variables that take the result."""

    commands: tuple[tuple[Operand, ...], ...]
    line: int
    variables: tuple[str, ...] = ()
    assigns: bool = False  # `=` instead of `:=`


Operand = Dot | Literal | Field | Variable | Function | Chain | Pipe


@dataclass(frozen=True, slots=True)
class Text:
    """Characters between actions."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """`{{ pipeline }}`"""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class If:
    """`{{ if }}`, or `{{ with }}` where `moves_dot`."""

    pipe: Pipe
    body: Body
    otherwise: Body
    moves_dot: bool


@dataclass(frozen=True, slots=True)
class Range:
    """`{{ range }}`"""

    pipe: Pipe
    body: Body
    otherwise: Body


@dataclass(frozen=True, slots=True)
class Leave:
    """`{{ break }}` or `{{ continue }}`"""

    loop: bool  # break


@dataclass(frozen=True, slots=True)
class Call:
    """`{{ template "name" pipeline }}`"""

    name: str
    pipe: Pipe | None
    line: int


Node = Text | Action | If | Range | Leave | Call
Body = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: what is executed, and the templates it defines."""

    body: Body
    defined: Mapping[str, Body]
