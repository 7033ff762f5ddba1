"""The families that write calls in markup, and their tags, from the models' own chat templates."""

from __future__ import annotations

from collections.abc import Mapping
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


def _attributes(function: str, parameter: str, key_tails: Mapping[str, Value], around: str = "") -> Tags:
    """XML's way: names stand in `name` attributes; `around` is the tag around functions."""
    return Tags(
        open=around and f"<{around}>",
        close=around and f"</{around}>",
        function_head=f'<{function} name="',
        function_tail='">',
        function_end=f"</{function}>",
        key_head=f'<{parameter} name="',
        key_tails=key_tails,
        value_end=f"</{parameter}>",
    )


_QWEN = Tags(
    open="<tool_call>",
    close="</tool_call>",
    function_head="<function=",
    function_tail=">",
    function_end="</function>",
    key_head="<parameter=",
    key_tails={">": _DECLARED},
    value_end="</parameter>",
    padded=True,
)
_GLM = Tags(
    open="<tool_call>",
    function_end="</tool_call>",
    key_head="<arg_key>",
    key_tails={"</arg_key>": _DECLARED},
    value_head="<arg_value>",
    value_end="</arg_value>",
)
_MINIMAX = _attributes("invoke", "parameter", {'">': _DECLARED}, around="minimax:tool_call")
_MINICPM = replace(_attributes("function", "param", {'">': _DECLARED}), cdata=True)
_DSML = _attributes(
    "｜DSML｜invoke",
    "｜DSML｜parameter",
    {'" string="true">': Value.TEXT, '" string="false">': Value.JSON},
    around="｜DSML｜function_calls",
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
