"""From a parsed Go template and a value to text. Steps, output and depth are counted, so every template ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

from powerd.prompt import failed
from powerd.prompt.failed import TemplateFailed
from powerd.prompt.gotemplate import functions
from powerd.prompt.gotemplate import nodes as n
from powerd.prompt.gotemplate.values import Value, field, items, shown, truth

MAX_STEPS = 500_000  # nodes, commands and turns of loops
MAX_DEPTH = 100  # of bodies within each other, templates that call themselves among them
_NONE = object()  # no value comes in from the left of a pipeline


def execute(template: n.Template, data: Value, now: datetime) -> str:
    """The text the template makes of `data`; `now` is what dates are told from. Raises TemplateFailed."""
    run = _Run(template, now)
    try:
        run.body(template.body, data, [("$", data)])
    except RecursionError:
        raise TemplateFailed("the template nests too deeply") from None
    except MemoryError:
        raise TemplateFailed("the template needs more memory than it may have") from None
    text = "".join(run.written)
    if len(text.encode("utf-8", "surrogatepass")) > failed.MAX_OUTPUT:
        _too_long()
    return text


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


Scope = list[tuple[str, Value]]


class _Run:
    def __init__(self, template: n.Template, now: datetime) -> None:
        self._template = template
        self._now = now
        self._steps = 0
        self._size = 0
        self._depth = 0
        self.written: list[str] = []

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TemplateFailed(f"the template takes more than {MAX_STEPS} steps")

    # ------------------------------------------------------------ nodes

    def body(self, body: n.Body, dot: Value, scope: Scope) -> None:
        """Execute nodes; variables declared within end with it."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateFailed("the template nests too deeply")
        known = len(scope)
        for node in body:
            self._step()
            self._node(node, dot, scope)
        del scope[known:]
        self._depth -= 1

    def _node(self, node: n.Node, dot: Value, scope: Scope) -> None:
        match node:
            case n.Text():
                self._write(node.text)
            case n.Action():
                value = self._pipe(node.pipe, dot, scope)
                if not node.pipe.variables:
                    self._write(shown(value))
            case n.If():
                self._if(node, dot, scope)
            case n.Range():
                self._range(node, dot, scope)
            case n.Leave():
                raise _Break if node.loop else _Continue
            case n.Call():
                self._call(node, dot, scope)

    def _write(self, text: str) -> None:
        self._size += len(text)
        if self._size > failed.MAX_OUTPUT:
            _too_long()
        self.written.append(text)

    def _if(self, node: n.If, dot: Value, scope: Scope) -> None:
        known = len(scope)
        value = self._pipe(node.pipe, dot, scope)
        if truth(value):
            self.body(node.body, value if node.moves_dot else dot, scope)
        else:
            self.body(node.otherwise, dot, scope)
        del scope[known:]

    def _range(self, node: n.Range, dot: Value, scope: Scope) -> None:
        known, depth, ran = len(scope), self._depth, False
        names = () if node.pipe.assigns else node.pipe.variables
        value = self._pipe(node.pipe, dot, scope, declare=False)
        try:
            for key, element in items(value):
                ran = True
                self._step()
                turn = (element,) if len(node.pipe.variables) == 1 else (key, element)
                if node.pipe.assigns:
                    for name, each in zip(node.pipe.variables, turn, strict=False):
                        _assign(scope, name, each)
                scope += zip(names, turn, strict=False)
                try:
                    self.body(node.body, element, scope)
                except _Continue:
                    self._depth = depth
                del scope[known:]
        except _Break:
            self._depth = depth
            del scope[known:]
        except TemplateFailed as error:
            _located(error, node.pipe.line)
        if not ran:
            self.body(node.otherwise, dot, scope)

    def _call(self, node: n.Call, dot: Value, scope: Scope) -> None:
        body = self._template.defined.get(node.name)
        if body is None:
            raise TemplateFailed(f'template "{node.name[:80]}" not defined', node.line)
        value = None if node.pipe is None else self._pipe(node.pipe, dot, scope)
        self.body(body, value, [("$", value)])

    # ------------------------------------------------------------ pipelines

    def _pipe(self, pipe: n.Pipe, dot: Value, scope: Scope, declare: bool = True) -> Value:
        value: Value = _NONE
        try:
            for command in pipe.commands:
                self._step()
                value = self._command(command, value, dot, scope)
        except TemplateFailed as error:
            _located(error, pipe.line)
        for name in pipe.variables if declare else ():
            if pipe.assigns:
                _assign(scope, name, value)
            else:
                scope.append((name, value))
        return value

    def _command(self, command: Sequence[n.Operand], last: Value, dot: Value, scope: Scope) -> Value:
        head, *rest = command
        if isinstance(head, n.Function):
            return self._function(head.name, rest, last, dot, scope)
        if rest or last is not _NONE:
            raise TemplateFailed("arguments for something that is no function")
        return self._operand(head, dot, scope)

    def _function(self, name: str, rest: Sequence[n.Operand], last: Value, dot: Value, scope: Scope) -> Value:
        if name in ("and", "or"):
            return self._lazy(name, rest, last, dot, scope)
        arguments = [self._operand(each, dot, scope) for each in rest]
        if last is not _NONE:
            arguments.append(last)
        value = functions.call(name, arguments, self._now)
        if isinstance(value, str) and len(value) > failed.MAX_OUTPUT:
            _too_long()
        return value

    def _lazy(self, name: str, rest: Sequence[n.Operand], last: Value, dot: Value, scope: Scope) -> Value:
        """The first operand that decides, else the last one."""
        value: Value = _NONE
        for operand in rest:
            value = self._operand(operand, dot, scope)
            if truth(value) is (name == "or"):
                return value
        value = last if last is not _NONE else value
        if value is _NONE:
            raise TemplateFailed(f"wrong number of arguments for {name}: 0")
        return value

    def _operand(self, operand: n.Operand, dot: Value, scope: Scope) -> Value:
        self._step()
        match operand:
            case n.Dot():
                return dot
            case n.Literal():
                return operand.value
            case n.Field():
                return _fields(dot, operand.names)
            case n.Variable():
                return _fields(_variable(scope, operand.name), operand.names)
            case n.Function():
                return self._function(operand.name, (), _NONE, dot, scope)
            case n.Chain():
                return _fields(self._pipe(operand.operand, dot, scope), operand.names)
            case n.Pipe():
                return self._pipe(operand, dot, scope)


def _fields(value: Value, names: Sequence[str]) -> Value:
    for name in names:
        value = field(value, name)
    return value


def _variable(scope: Scope, name: str) -> Value:
    for known, value in reversed(scope):
        if known == name:
            return value
    raise TemplateFailed(f'undefined variable "{name[:80]}"')


def _assign(scope: Scope, name: str, value: Value) -> None:
    for at in range(len(scope) - 1, -1, -1):
        if scope[at][0] == name:
            scope[at] = (name, value)
            return


def _located(error: TemplateFailed, line: int) -> NoReturn:
    """The same failure, with the line where none is named."""
    if error.line is not None:
        raise error
    raise TemplateFailed(str(error).removeprefix("template error: "), line) from None


def _too_long() -> NoReturn:
    raise TemplateFailed(f"the text grows over the limit of {failed.MAX_OUTPUT} bytes")
