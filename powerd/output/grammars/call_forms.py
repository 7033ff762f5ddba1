"""How each family whose calls hold JSON writes them, as grammars need it: exactly, not with the slips readers forgive.

A form is what stands before the first call, around each call, and after the last. In `ARGUMENTS` forms the name stands
in the text before the object; in the others the object holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

#: Where the arguments go, and the name: in `opens` of ARGUMENTS forms.
NAME = "\0name\0"
#: An id the model makes up.
ID = "\0id\0"
#: The number of a call.
NUMBER = "\0number\0"
#: A blank or a line's end that may be left out.
GAP = "\0gap\0"

Shape = Literal["object", "keyed", "arguments"]


@dataclass(frozen=True, slots=True)
class CallForm:
    """One way to write calls; texts of the vocabulary that may be control tokens stand alone in a tuple's places."""

    begins: tuple[str, ...]  # before the first call; the first of these texts triggers the grammar
    opens: tuple[str, ...] = ()  # before each call
    closes: tuple[str, ...] = ()  # after each call
    ends: tuple[str, ...] = ()  # after the last call
    shape: Shape = "object"  # {name, arguments}, {NAME: arguments}, or the arguments alone
    keys: tuple[str, str] = ("name", "arguments")
    before: str = ""  # what an object holds before its name, as a regular expression
    after: str = ""  # what an object holds after its arguments
    between: str | None = None  # a regular expression between calls; None = one call only
    listed: bool = False  # in brackets, with commas
    bare: bool = False  # only the whole beginning with a tool's name tells a call from other text


def _listed(*texts: str, ends: tuple[str, ...] = (), keys: tuple[str, str] = ("name", "arguments")) -> CallForm:
    return CallForm((*texts, GAP), ends=(GAP, *ends) if ends else (), keys=keys, listed=True)


_TOOL_NAME = ("tool_name", "parameters")
_OBJECT_ID = r'"tool_call_id" ?: ?"[0-9]{1,4}" ?, ?'
_MISTRAL_ID = r'( ?, ?"id" ?: ?"[a-zA-Z0-9]{9}")?'
_DEEPSEEK_CALL, _DEEPSEEK_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
_DEEPSEEK_ALL, _DEEPSEEK_ALL_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_DEEPSEEK_SEP = "<｜tool▁sep｜>"


def _deepseek(opens: tuple[str, ...], closes: tuple[str, ...]) -> tuple[CallForm, ...]:
    one = CallForm((), (_DEEPSEEK_CALL, *opens), (*closes, _DEEPSEEK_END), shape="arguments")
    return replace(one, begins=(_DEEPSEEK_ALL, GAP), ends=(GAP, _DEEPSEEK_ALL_END), between=r"\n?"), one


_KIMI_CALL = (
    "<|tool_call_begin|>",
    "functions.",
    NAME,
    ":",
    NUMBER,
    "<|tool_call_argument_begin|>",
)
_KIMI = CallForm((), _KIMI_CALL, ("<|tool_call_end|>",), shape="arguments")
_KIMI_ALL = CallForm(
    ("<|tool_calls_section_begin|>",),
    _KIMI_CALL,
    ("<|tool_call_end|>",),
    ("<|tool_calls_section_end|>",),
    shape="arguments",
    between=r"\n?",
)
_SOLAR_CALL = ("<|tool_call:begin|>", ID, "<|tool_call:name|>", NAME, "<|tool_call:args|>")
_LLAMA3 = CallForm((), keys=("name", "parameters"), before=r'("type" ?: ?"function" ?, ?)?', bare=True)
_HARMONY_BETWEEN = (
    (" ", "<|constrain|>", "json"),
    (" json",),
    (),
    ("<|channel|>", "commentary json"),
    ("<|channel|>", "commentary ", "<|constrain|>", "json"),
)

#: By the name of the ToolFormat. The first form is what a call that must be is written in.
FORMS: dict[str, tuple[CallForm, ...]] = {
    "hermes": (CallForm((), ("<tool_call>", GAP), (GAP, "</tool_call>"), between=r"\n{0,2}"),),
    "granite": (_listed("<|tool_call|>"), _listed("<tool_call>")),
    "phi-4-mini": (_listed("<|tool_call|>", ends=("<|/tool_call|>",)), _listed("functools")),
    "firefunction": (_listed("functools"),),
    "command-r7b": (
        CallForm(
            ("<|START_ACTION|>", GAP), ends=(GAP, "<|END_ACTION|>"), keys=_TOOL_NAME, before=_OBJECT_ID, listed=True
        ),
    ),
    "command-r": (
        _listed("Action: ```json", ends=("```",), keys=_TOOL_NAME),
        _listed("Action:```json", ends=("```",), keys=_TOOL_NAME),
        _listed("Action:\n```json", ends=("```",), keys=_TOOL_NAME),
    ),
    "nemotron": (_listed("<TOOLCALL>", ends=("</TOOLCALL>",)),),
    "apriel": (_listed("<tool_calls>", ends=("</tool_calls>",)),),
    "minimax-m1": (CallForm(("<tool_calls>", GAP), ends=(GAP, "</tool_calls>"), between=r"\n"),),
    "apertus": (CallForm(("<|tools_prefix|>",), ends=("<|tools_suffix|>",), shape="keyed", listed=True),),
    "gigachat": (CallForm((), ("<|function_call|>", GAP)), CallForm((), ("function call<|role_sep|>", GAP))),
    "mistral": (
        CallForm(("[TOOL_CALLS]", GAP), after=_MISTRAL_ID, listed=True),
        CallForm((), ("[TOOL_CALLS]", NAME, "[ARGS]"), shape="arguments", between=""),
        CallForm((), ("[TOOL_CALLS]", NAME, "[CALL_ID]", ID, "[ARGS]"), shape="arguments", between=""),
        CallForm((), ("[TOOL_CALLS]", NAME), shape="arguments", between=""),
    ),
    "deepseek-r1": _deepseek(("function", _DEEPSEEK_SEP, NAME, "\n```json\n"), ("\n```",)),
    "deepseek-v3.1": _deepseek((NAME, _DEEPSEEK_SEP), ()),
    "kimi-k2": (_KIMI_ALL, _KIMI),
    "solar": (
        CallForm(("<|tool_calls|>",), _SOLAR_CALL, ("<|tool_call:end|>",), shape="arguments", between=""),
        CallForm((), _SOLAR_CALL, ("<|tool_call:end|>",), shape="arguments", between=""),
    ),
    "functionary": (CallForm((), ("<function=", NAME, ">"), ("</function>",), shape="arguments", between=r"\n?"),),
    "llama3": (replace(_LLAMA3, between=r"[;, \n]{1,2}"), replace(_LLAMA3, begins=("<|python_tag|>",))),
    "harmony": tuple(
        CallForm((), ("to=functions.", NAME, *between, "<|message|>"), shape="arguments")
        for between in _HARMONY_BETWEEN
    ),
}
