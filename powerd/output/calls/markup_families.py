"""The families that write calls in markup, and their tags, from the models' own chat templates."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from powerd.output.calls.markup import Tags, Value, functions, named
from powerd.output.calls.steps import Calls, Grammar
from powerd.output.formats import ToolFormat, Tools

_DECLARED = Value.DECLARED


def _format(name: str, begin: str, markers: tuple[str, ...], grammar: Grammar, *more: str) -> ToolFormat:
    """`more`: what begins a call by mistake. It is none within thinking, where models speak of their tools."""

    def reader(tools: Tools) -> Calls:
        return Calls((begin, *more), grammar, tools)

    return ToolFormat(name, (begin,), reader, markers=markers)


def _functions(name: str, tags: Tags) -> ToolFormat:
    return _format(name, tags.open, (tags.open, tags.close), partial(functions, tags=tags))


_QWEN = Tags(
    open="<tool_call>",
    close="</tool_call>",
    function_head="<function=",
    function_tail=">",
    function_end="</function>",
    key_head="<parameter=",
    key_tails={">": _DECLARED},
    value_head="",
    value_end="</parameter>",
    padded=True,
)
_MINIMAX = Tags(
    open="<minimax:tool_call>",
    close="</minimax:tool_call>",
    function_head='<invoke name="',
    function_tail='">',
    function_end="</invoke>",
    key_head='<parameter name="',
    key_tails={'">': _DECLARED},
    value_head="",
    value_end="</parameter>",
)
_DSML = Tags(
    open="<｜DSML｜function_calls>",
    close="</｜DSML｜function_calls>",
    function_head='<｜DSML｜invoke name="',
    function_tail='">',
    function_end="</｜DSML｜invoke>",
    key_head='<｜DSML｜parameter name="',
    key_tails={'" string="true">': Value.TEXT, '" string="false">': Value.JSON},
    value_head="",
    value_end="</｜DSML｜parameter>",
)
_MINICPM = replace(
    _MINIMAX,
    open="",
    close="",
    function_head='<function name="',
    function_end="</function>",
    key_head='<param name="',
    value_end="</param>",
    cdata=True,
)
_GLM = Tags(
    open="<tool_call>",
    close="",
    function_head="",
    function_tail="",
    function_end="</tool_call>",
    key_head="<arg_key>",
    key_tails={"</arg_key>": _DECLARED},
    value_head="<arg_value>",
    value_end="</arg_value>",
)

#: Qwen3-Coder, Qwen 3.5, Nemotron 3 Nano, Step 3.5. Qwen3-Coder forgets the opening tag now and then.
QWEN3_CODER = _format(
    "qwen3-coder",
    _QWEN.open,
    (_QWEN.open, _QWEN.close),
    partial(functions, tags=_QWEN),
    _QWEN.function_head,
)
SEED_OSS = _functions("seed-oss", replace(_QWEN, open="<seed:tool_call>", close="</seed:tool_call>", padded=False))
MINIMAX_M2 = _functions("minimax-m2", _MINIMAX)
#: GLM 4.5 to 4.7, Laguna, Spark 2.5, Ling 3.
GLM = _format(
    "glm",
    _GLM.open,
    (_GLM.open, _GLM.function_end, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    partial(named, tags=_GLM),
)
_DSML_MARKERS = ("｜DSML｜",)
DEEPSEEK_V32 = _format("deepseek-v3.2", _DSML.open, _DSML_MARKERS, partial(functions, tags=_DSML))
DEEPSEEK_V4 = _format(
    "deepseek-v4",
    "<｜DSML｜tool_calls>",
    _DSML_MARKERS,
    partial(functions, tags=replace(_DSML, open="<｜DSML｜tool_calls>", close="</｜DSML｜tool_calls>")),
)
MINICPM5 = _format("minicpm5", _MINICPM.function_head, (), partial(functions, tags=_MINICPM))
MARKUP_FAMILIES = (QWEN3_CODER, SEED_OSS, MINIMAX_M2, GLM, DEEPSEEK_V32, DEEPSEEK_V4, MINICPM5)
