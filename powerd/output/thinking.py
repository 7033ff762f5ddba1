"""Telling thinking from the answer (contract, appendix B), and the texts that some models put around the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from powerd.output.formats import Tags
from powerd.output.marks import BLANK, marks, past
from powerd.output.pieces import Content, Piece, Reader, Thought
from powerd.protocol import ToolCall

#: A text that begins a call is looked for amid thinking only if it is this long: a brace would be everywhere.
_TELLING = 5
#: How texts begin that are tokens of their own, which nobody writes to speak of them. Others count at a line's start.
_TOKENS = ("<|", "<｜", "[TOOL_CALLS]")


class _State(Enum):
    OPENING = auto()  # blanks, then maybe the opening tag
    OPENED = auto()  # blanks after it
    THINKING = auto()
    SUSPECT = auto()  # a call seems to begin amid thinking
    ANSWER = auto()


class ThinkingReader:
    """Reads thinking up to its closing tag and gives all else to another reader.

    As appendix B, and beyond it, so that no tag is ever content: a model may open its thinking a second time, close
    what it has not opened, and think again before it answers. Thinking that is never closed but ends with calls has
    forgotten its tag: the calls count. Text held when the answer ends is told.
    """

    __slots__ = ("_close", "_held", "_kept", "_last", "_marks", "_open", "_rest", "_said", "_state", "_trial")

    def __init__(
        self,
        tags: Tags,
        rest: Reader,
        *,
        inside: bool,
        begins: tuple[str, ...] = (),
        trial: Callable[[], Reader] | None = None,
    ) -> None:
        """`trial` makes a reader of what may be calls amid thinking, `begins` being what begins one."""
        self._open = tags.open
        self._close = tags.close
        self._marks = marks(tags.close, *(begin for begin in begins if trial is not None and len(begin) >= _TELLING))
        self._trial = trial
        self._rest = rest
        self._state = _State.OPENED if inside else _State.OPENING
        self._said = False  # thinking has been read: the blanks after it are no content
        self._held = ""  # text that more is needed of to tell what it is; short
        self._kept: list[str] = []  # blanks that may be content, or all from where a call seems to begin
        self._last = ""  # the last character of the thinking

    def feed(self, text: str) -> Sequence[Piece]:
        """What more text tells."""
        if self._state is _State.ANSWER:
            return self._rest.feed(text)
        if self._held:
            text, self._held = self._held + text, ""
        out: list[Piece] = []
        at = 0
        while at < len(text):
            at = self._step(text, at, out)
        return out

    def end(self) -> Sequence[Piece]:
        """What was held back."""
        rest = "".join((*self._kept, self._held))
        if self._state is _State.OPENING:
            return [*(self._rest.feed(rest) if rest else ()), *self._rest.end()]
        if self._state is _State.ANSWER:
            return self._rest.end()
        calls = self._calls(rest) if self._state is _State.SUSPECT else ()
        return calls or ([Thought(rest)] if rest else [])

    def _step(self, text: str, start: int, out: list[Piece]) -> int:
        if self._state is _State.THINKING:
            return self._read_thinking(text, start, out)
        if self._state is _State.SUSPECT:
            return self._read_suspect(text, start, out)
        if self._state is _State.ANSWER:
            out.extend(self._rest.feed(text[start:]))
            return len(text)
        at = past(BLANK, text, start)
        if self._state is _State.OPENING and not self._said and at > start:
            self._kept.append(text[start:at])
        if at == len(text):
            return at
        return self._read_tag(text, at, out)

    def _read_tag(self, text: str, at: int, out: list[Piece]) -> int:
        """Before thinking or at its beginning, behind blanks."""
        opening = self._state is _State.OPENING
        if text.startswith(self._open, at):
            self._kept.clear()
            self._state = _State.OPENED
            return at + len(self._open)
        if opening and text.startswith(self._close, at):
            return self._closed(at + len(self._close))
        rest = text[at : at + max(len(self._open), len(self._close))]
        if self._open.startswith(rest) or (opening and self._close.startswith(rest)):
            self._held = rest
            return len(text)
        self._state = _State.ANSWER if opening else _State.THINKING
        if self._kept:
            out.extend(self._rest.feed("".join(self._kept)))
            self._kept.clear()
        return at

    def _closed(self, at: int) -> int:
        self._kept.clear()
        self._said = True
        self._state = _State.OPENING
        return at

    def _read_thinking(self, text: str, start: int, out: list[Piece]) -> int:
        found = self._marks.search(text, start)
        if found is None:
            self._think(text[start:], out)
            return len(text)
        at, mark = found
        self._think(text[start:at], out)
        if mark is None:
            self._held = text[at:]
            return len(text)
        if mark == self._close:
            return self._closed(at + len(mark))
        if self._last in ("", "\n") or mark.startswith(_TOKENS):
            self._state = _State.SUSPECT
            return at
        self._think(mark, out)
        return at + len(mark)

    def _think(self, text: str, out: list[Piece]) -> None:
        if text:
            self._last = text[-1]
            out.append(Thought(text))

    def _read_suspect(self, text: str, start: int, out: list[Piece]) -> int:
        """All is kept up to the closing tag, with which it was thinking."""
        found = marks(self._close).search(text, start)
        at, mark = found if found is not None else (len(text), None)
        if start < at:
            self._kept.append(text[start:at])
        if mark is None:
            self._held = text[at:]
            return len(text)
        self._think("".join(self._kept), out)
        return self._closed(at + len(mark))

    def _calls(self, text: str) -> list[Piece]:
        """The calls that a text consists of; none if there is anything else in it."""
        if self._trial is None:
            return []
        trial = self._trial()
        pieces = [*trial.feed(text), *trial.end()]
        return pieces if all(isinstance(piece, ToolCall) for piece in pieces) else []


class Unwrapped:
    """Leaves out the texts that a model puts around its answer, and gives the rest to another reader."""

    __slots__ = ("_held", "_marks", "_rest")

    def __init__(self, tags: Tags, rest: Reader) -> None:
        self._marks = marks(tags.open, tags.close)
        self._rest = rest
        self._held = ""

    def feed(self, text: str) -> Sequence[Piece]:
        """What more text tells."""
        text, self._held = self._held + text, ""
        told: list[str] = []
        at = 0
        while (found := self._marks.search(text, at)) is not None:
            told.append(text[at : found[0]])
            if found[1] is None:
                self._held = text[found[0] :]
                return self._pass("".join(told))
            at = found[0] + len(found[1])
        told.append(text[at:])
        return self._pass("".join(told))

    def end(self) -> Sequence[Piece]:
        """What was held back."""
        return [*self._pass(self._held), *self._rest.end()]

    def _pass(self, text: str) -> Sequence[Piece]:
        return self._rest.feed(text) if text else ()


class Plain:
    """Reads everything as content."""

    def feed(self, text: str) -> Sequence[Piece]:
        """The text."""
        return (Content(text),) if text else ()

    def end(self) -> Sequence[Piece]:
        """Nothing."""
        return ()
