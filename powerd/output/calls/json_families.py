"""The families that write a call as a JSON object, and what they put around it.

Where a form comes from: the model's own chat template and card. Each also reads the slips its models are known for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from powerd.output.calls.json_calls import JsonCalls, JsonForm
from powerd.output.formats import ToolFormat

_FENCE = r"(?:```(?:json)?\s*)?"
_LIST = rf"\s*{_FENCE}\[?\s*"


def _tagged(name: str, begins: tuple[str, ...], ends: tuple[str, ...] = (), *, bare: bool = False) -> ToolFormat:
    """Objects of name and arguments, one or a list, after a text."""
    begin = "|".join(map(re.escape, begins))
    form = JsonForm(begins, re.compile(rf"(?:{begin}){'?' if bare else ''}{_LIST}"), (*ends, "```"), bare)
    return ToolFormat(name, begins, partial(JsonCalls, form), markers=(*begins, *ends))


def _named(
    name: str, begins: tuple[str, ...], head: str, ends: tuple[str, ...] = (), markers: tuple[str, ...] = ()
) -> ToolFormat:
    """Arguments alone, after a text that holds the name."""
    form = JsonForm(begins, re.compile(head), ends)
    return ToolFormat(name, begins, partial(JsonCalls, form), markers=markers or (*begins, *ends))


# ---------------------------------------------------------------- name and arguments in the object

#: Hermes, Qwen 2.5 and 3, SmolLM 3, Granite 4, Bielik, MiMo and many more. Small ones forget the tag.
HERMES = _tagged("hermes", ("<tool_call>",), ("</tool_call>",), bare=True)
#: Granite 3: a list, and no end.
GRANITE = _tagged("granite", ("<|tool_call|>", "<tool_call>"), ("</tool_call>",))
PHI4_MINI = _tagged("phi-4-mini", ("<|tool_call|>", "functools"), ("<|/tool_call|>",))
FIREFUNCTION = _tagged("firefunction", ("functools",))
COMMAND_R7B = _tagged("command-r7b", ("<|START_ACTION|>",), ("<|END_ACTION|>",))
COMMAND_R = _tagged("command-r", ("Action:",))
NEMOTRON = _tagged("nemotron", ("<TOOLCALL>",), ("</TOOLCALL>",))
APRIEL = _tagged("apriel", ("<tool_calls>",), ("</tool_calls>",))
MINIMAX_M1 = _tagged("minimax-m1", ("<tool_calls>",), ("</tool_calls>",))
#: `[{NAME: {…}}]`
APERTUS = _tagged("apertus", ("<|tools_prefix|>",), ("<|tools_suffix|>",))
#: The second is version 3's, which begins a message of another role.
GIGACHAT = replace(
    _tagged(
        "gigachat", ("<|function_call|>", "<|message_sep|>\n\nfunction call<|role_sep|>", "function call<|role_sep|>")
    ),
    markers=("<|function_call|>", "<|message_sep|>", "<|role_sep|>"),
)

# ---------------------------------------------------------------- the name before the object

#: A list with ids, and since November 2024 `name[CALL_ID]id[ARGS]{…}` or `name[ARGS]{…}`.
MISTRAL = _named(
    "mistral",
    ("[TOOL_CALLS]",),
    r"\[TOOL_CALLS\]\s*(?:\[\s*|(?P<name>[\w.-]+)\s*(?:\[CALL_ID\]\s*(?P<id>\w+)\s*)?(?:\[ARGS\]\s*)?)?",
    ("[/TOOL_CALLS]",),
    ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
)

_DEEPSEEK_BEGINS = (
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool_calls_begin｜>",  # the distilled models spell it so, now and then
    "<｜tool calls begin｜>",
)
_DEEPSEEK_ENDS = ("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "```")
_DEEPSEEK = (
    r"(?:<｜tool[▁_ ]calls[▁_ ]begin｜>\s*)?(?:<｜tool▁call▁begin｜>\s*)?(?:function\s*<｜tool▁sep｜>\s*)?"
    r"(?P<name>[\w.-]+)\s*(?:<｜tool▁sep｜>\s*)?" + _FENCE
)


_DEEPSEEK_CONTROL = (*_DEEPSEEK_BEGINS[:2], "<｜tool▁sep｜>", *_DEEPSEEK_ENDS[:2])


#: `function<｜tool▁sep｜>NAME`, then a code fence.
DEEPSEEK_R1 = _named("deepseek-r1", _DEEPSEEK_BEGINS, _DEEPSEEK, _DEEPSEEK_ENDS, _DEEPSEEK_CONTROL)
#: `NAME<｜tool▁sep｜>{…}`
DEEPSEEK_V31 = _named("deepseek-v3.1", _DEEPSEEK_BEGINS, _DEEPSEEK, _DEEPSEEK_ENDS, _DEEPSEEK_CONTROL)

_KIMI_BEGINS = ("<|tool_calls_section_begin|>", "<|tool_call_begin|>")
_KIMI_ENDS = ("<|tool_call_end|>", "<|tool_calls_section_end|>")
_KIMI_ARGUMENTS = "<|tool_call_argument_begin|>"
#: `functions.NAME:0` names the call as well: its number counts through the whole conversation.
KIMI_K2 = _named(
    "kimi-k2",
    _KIMI_BEGINS,
    r"(?:<\|tool_calls_section_begin\|>\s*)?(?:<\|tool_call_begin\|>\s*)?"
    r"(?P<id>(?:functions\.)?(?P<name>[\w.-]+?)(?::\d+)?)\s*<\|tool_call_argument_begin\|>\s*",
    _KIMI_ENDS,
    (*_KIMI_BEGINS, _KIMI_ARGUMENTS, *_KIMI_ENDS),
)

_SOLAR_BEGINS = ("<|tool_calls|>", "<|tool_call:begin|>")
SOLAR = _named(
    "solar",
    _SOLAR_BEGINS,
    r"(?:<\|tool_calls\|>\s*)?<\|tool_call:begin\|>\s*(?P<id>[\w-]*)\s*"
    r"<\|tool_call:name\|>\s*(?P<name>[\w.-]+)\s*<\|tool_call:args\|>\s*",
    ("<|tool_call:end|>",),
    (*_SOLAR_BEGINS, "<|tool_call:name|>", "<|tool_call:args|>", "<|tool_call:end|>"),
)

FUNCTIONARY = _named("functionary", ("<function=",), r"<function=(?P<name>[\w.-]+)>\s*", ("</function>",))

# ---------------------------------------------------------------- nothing before the object

_LLAMA3_FORM = JsonForm(
    ("<|python_tag|>", "<|python_start|>"),
    re.compile(rf"(?:<\|python_(?:tag|start)\|>)?{_LIST}"),
    ("<|python_end|>", "```"),
    bare=True,
)
#: `{"name": …, "parameters": …}` and nothing else; a tag comes before it where the tool is "built in", and in Llama 4.
LLAMA3 = ToolFormat(
    "llama3",
    ("<|python_tag|>", "{"),
    partial(JsonCalls, _LLAMA3_FORM),
    first=True,
    markers=("<|python_tag|>", "<|python_start|>", "<|python_end|>"),
)

_JSON_FORM = JsonForm((), re.compile(_LIST), ("```",), bare=True)
#: `{"name": …, "arguments": …}` and nothing else: what models write that were only told what their tools are.
JSON = ToolFormat("json", ("{",), partial(JsonCalls, _JSON_FORM), first=True)

JSON_FAMILIES: tuple[ToolFormat, ...] = (
    HERMES,
    GRANITE,
    PHI4_MINI,
    FIREFUNCTION,
    COMMAND_R7B,
    COMMAND_R,
    NEMOTRON,
    APRIEL,
    MINIMAX_M1,
    APERTUS,
    GIGACHAT,
    MISTRAL,
    DEEPSEEK_R1,
    DEEPSEEK_V31,
    KIMI_K2,
    SOLAR,
    FUNCTIONARY,
    LLAMA3,
    JSON,
)
