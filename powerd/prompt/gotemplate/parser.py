"""From a Go template's tokens to its nodes. Every fault is a TemplateFailed that names the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from powerd.prompt.failed import TemplateFailed
from powerd.prompt.gotemplate import nodes as n
from powerd.prompt.gotemplate.lexer import Token, tokens

#: Characters of a template that is read; Ollama's own have at most 12,000.
MAX_TEMPLATE = 128 * 1024
MAX_DEPTH = 50  # of blocks and parentheses within each other
MAX_VARIABLES = 200  # that are known at one place
#: What a template may call (contract section 7.2).
FUNCTIONS = frozenset(
    {
        *("and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice"),
        *("print", "printf", "println", "html", "js", "urlquery", "call"),
        *("json", "currentDate", "yesterdayDate", "toTypeScriptType"),
    }
)
_KEYWORDS = frozenset({"if", "with", "range", "define", "block", "template", "break", "continue", "else", "end"})
_VALUES: dict[str, bool | None] = {"true": True, "false": False, "nil": None}


@lru_cache(maxsize=64)
def parse(text: str) -> n.Template:
    """The template. Raises TemplateFailed for text that is none."""
    if len(text) > MAX_TEMPLATE:
        raise TemplateFailed(f"the template has {len(text)} characters, over the limit of {MAX_TEMPLATE}")
    return _Parser(list(tokens(text))).template()


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._depth = 0
        self._loops = 0
        self._variables = ["$"]
        self._defined: dict[str, n.Body] = {}

    def template(self) -> n.Template:
        body, ended = self._body(frozenset())
        assert not ended
        return n.Template(body, self._defined)

    # ------------------------------------------------------------ tokens

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> Token:
        """The next token; the lexer has seen to it that an action ends."""
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _skip(self) -> Token:
        """The next token that is not white space, left where it is."""
        while self._tokens[self._at].kind == "space":
            self._at += 1
        return self._tokens[self._at]

    def _close(self, what: str) -> None:
        token = self._skip()
        if token.kind != "close":
            raise TemplateFailed(f"unexpected {_quoted(token)} in {what}", token.line)
        self._at += 1

    def _name(self, what: str) -> str:
        token = self._skip()
        if token.kind != "text_value":
            raise TemplateFailed(f"unexpected {_quoted(token)} in {what}: a name in quotes belongs here", token.line)
        self._at += 1
        return str(token.value)

    @contextmanager
    def _inside(self, line: int) -> Iterator[None]:
        """One level deeper; variables declared within end with it."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateFailed(f"blocks or parentheses nest deeper than {MAX_DEPTH}", line)
        known = len(self._variables)
        yield
        del self._variables[known:]
        self._depth -= 1

    # ------------------------------------------------------------ blocks

    def _body(self, ends: frozenset[str]) -> tuple[n.Body, str]:
        """The nodes up to one of the keywords `ends`, which is consumed and returned; "" at the end of the text."""
        body: list[n.Node] = []
        while (token := self._peek()) is not None:
            self._at += 1
            if token.kind == "text":
                body.append(n.Text(str(token.value)))
                continue
            head = self._skip()
            word = str(head.value) if head.kind == "word" else ""
            if word in ends:
                self._at += 1
                return tuple(body), word
            node = self._control(word, head.line) if word in _KEYWORDS else self._action()
            if node is not None:
                body.append(node)
        return tuple(body), ""

    def _action(self) -> n.Action:
        pipe = self._pipe("an action")
        self._close("an action")
        return n.Action(pipe)

    def _control(self, word: str, line: int) -> n.Node | None:
        self._at += 1
        match word:
            case "if" | "with":
                return self._branch(word, line)
            case "range":
                return self._range(line)
            case "break" | "continue":
                self._close(word)
                if not self._loops:
                    raise TemplateFailed(f"{{{{{word}}}}} outside {{{{range}}}}", line)
                return n.Leave(word == "break")
            case "template":
                return self._call(line)
            case "define" | "block":
                return self._define(word, line)
            case _:
                raise TemplateFailed(f"unexpected {{{{{word}}}}}", line)

    def _branch(self, word: str, line: int) -> n.If:
        with self._inside(line):
            pipe = self._pipe(word)
            self._close(word)
            body, ended = self._within(frozenset({"else", "end"}), word, line)
            otherwise: n.Body = ()
            if ended == "else":
                token = self._skip()
                if token.kind == "word" and token.value in ("if", "with"):
                    self._at += 1
                    otherwise = (self._branch(str(token.value), token.line),)
                    return n.If(pipe, body, otherwise, word == "with")
                otherwise = self._else(word, line)
            else:
                self._close("end")
        return n.If(pipe, body, otherwise, word == "with")

    def _else(self, word: str, line: int) -> n.Body:
        self._close("else")
        otherwise, _ = self._within(frozenset({"end"}), word, line)
        self._close("end")
        return otherwise

    def _within(self, ends: frozenset[str], word: str, line: int) -> tuple[n.Body, str]:
        body, ended = self._body(ends)
        if not ended:
            raise TemplateFailed(f"{{{{{word}}}}} is not closed by {{{{end}}}}", line)
        return body, ended

    def _range(self, line: int) -> n.Range:
        with self._inside(line):
            pipe = self._pipe("range")
            self._close("range")
            self._loops += 1
            body, ended = self._within(frozenset({"else", "end"}), "range", line)
            self._loops -= 1
            otherwise: n.Body = ()
            if ended == "else":
                otherwise = self._else("range", line)
            else:
                self._close("end")
        return n.Range(pipe, body, otherwise)

    def _call(self, line: int) -> n.Call:
        name = self._name("template")
        pipe = None if self._skip().kind == "close" else self._pipe("template")
        self._close("template")
        return n.Call(name, pipe, line)

    def _define(self, word: str, line: int) -> n.Call | None:
        name = self._name(word)
        if word == "define" and self._depth:
            raise TemplateFailed("{{define}} inside another block", line)
        pipe = self._pipe(word) if word == "block" else None
        self._close(word)
        outer, loops, self._variables, self._loops = self._variables, self._loops, ["$"], 0
        with self._inside(line):
            body, _ = self._within(frozenset({"end"}), word, line)
        self._variables, self._loops = outer, loops
        self._close("end")
        self._defined[name] = body
        return n.Call(name, pipe, line) if word == "block" else None

    # ------------------------------------------------------------ pipelines

    def _pipe(self, what: str) -> n.Pipe:
        line = self._skip().line
        variables, assigns = self._declaration(what)
        commands = [self._command(what)]
        while self._skip().value == "|" and self._skip().kind == "sign":
            self._at += 1
            commands.append(self._command(what))
            if isinstance(commands[-1][0], n.Literal | n.Dot):
                raise TemplateFailed("only a function or a field can follow |", line)
        if not assigns:
            self._variables += variables
        if len(self._variables) > MAX_VARIABLES:
            raise TemplateFailed(f"more than {MAX_VARIABLES} variables", line)
        return n.Pipe(tuple(commands), line, variables, assigns)

    def _declaration(self, what: str) -> tuple[tuple[str, ...], bool]:
        """The variables that a pipeline begins with; nothing is consumed where it does not."""
        start, names = self._at, []
        while (token := self._skip()).kind == "variable":
            self._at += 1
            names.append(str(token.value))
            sign = self._skip()
            if sign.kind == "sign" and sign.value in (":=", "="):
                self._at += 1
                if sign.value == "=":
                    for name in names:
                        self._check_variable(name, token.line)
                return tuple(names), sign.value == "="
            if sign.value != "," or sign.kind != "sign" or what != "range" or len(names) == 2:
                break
            self._at += 1
        self._at = start
        return (), False

    def _command(self, what: str) -> tuple[n.Operand, ...]:
        operands: list[n.Operand] = []
        while True:
            token = self._skip()
            if token.kind == "close" or (token.kind == "sign" and token.value in ("|", ")")):
                break
            if operands and self._tokens[self._at - 1].kind != "space" and token.value != "(":
                raise TemplateFailed(f"unexpected {_quoted(token)} in {what}", token.line)
            operands.append(self._operand(what))
        if not operands:
            raise TemplateFailed(f"a value is missing in {what}", token.line)
        if len(operands) > 1 and isinstance(operands[0], n.Literal | n.Dot):
            raise TemplateFailed(f"{what} calls something that is no function", token.line)
        return tuple(operands)

    def _operand(self, what: str) -> n.Operand:
        token = self._next()
        written = str(token.value)
        match token.kind:
            case "text_value" | "number":
                return n.Literal(token.value)
            case "dot":
                return n.Dot()
            case "field":
                return n.Field((written, *self._fields()))
            case "variable":
                self._check_variable(written, token.line)
                return n.Variable(written, self._fields())
            case "word" if written in _VALUES:
                return n.Literal(_VALUES[written])
            case "word" if written in FUNCTIONS:
                return n.Function(written)
            case "word" if written not in _KEYWORDS:
                raise TemplateFailed(f'function "{written[:80]}" not defined', token.line)
            case "sign" if written == "(":
                return self._parenthesis(token.line)
        raise TemplateFailed(f"unexpected {_quoted(token)} in {what}", token.line)

    def _parenthesis(self, line: int) -> n.Operand:
        with self._inside(line):
            pipe = self._pipe("parentheses")
            token = self._skip()
            if token.kind != "sign" or token.value != ")":
                raise TemplateFailed("( is not closed by )", line)
            self._at += 1
        names = self._fields()
        return n.Chain(pipe, names) if names else pipe

    def _fields(self) -> tuple[str, ...]:
        names = []
        while (token := self._tokens[self._at]).kind == "field":
            names.append(str(token.value))
            self._at += 1
        return tuple(names)

    def _check_variable(self, name: str, line: int) -> None:
        if name not in self._variables:
            raise TemplateFailed(f'undefined variable "{name[:80]}"', line)


def _quoted(token: Token) -> str:
    return f'"{str(token.value)[:80]}"'
