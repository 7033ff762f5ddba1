"""The texts by which a template shows its format: data, in the order in which they are looked for."""

from __future__ import annotations

from dataclasses import dataclass

from powerd.output.formats import Tags

#: A family of `families`, and sets of texts one of which must be in the template, all of it. The first that fits is
#: the one, so what uses another's texts and more comes before it.
TOOL_SIGNS: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    ("gemma4", (("<|tool_call>call:",),)),
    ("functiongemma", (("<start_function_call>",),)),
    ("kimi-k2", (("<|tool_calls_section_begin|>",),)),
    ("solar", (("<|tool_call:begin|>",),)),
    ("deepseek-r1", (("<｜tool▁calls▁begin｜>", "```json"),)),
    ("deepseek-v3.1", (("<｜tool▁calls▁begin｜>",),)),
    ("minimax-m2", (("<minimax:tool_call>",),)),
    ("seed-oss", (("<seed:tool_call>",),)),
    ("deepseek-v3.2", (("｜DSML｜", "function_calls>"),)),
    ("deepseek-v4", (("｜DSML｜", "tool_calls>"),)),
    ("minicpm5", (('<function name="', '<param name="'),)),
    ("glm", (("<arg_key>", "<tool_call>"),)),
    ("qwen3-coder", (("<function=", "<parameter="),)),
    ("functionary", (("<function=", "</function>"),)),
    ("lfm2", (("<|tool_call_start|>",), ("<|tool_list_start|>",), ("List of tools: [",))),
    ("llama3", (("<|python_start|>", '"parameters"'),)),
    ("pythonic", (("<|python_start|>",), ("params_name1=params_value1",))),
    ("command-r7b", (("<|START_ACTION|>",),)),
    ("command-r", (("Action:", "```json", "tool_name"),)),
    ("nemotron", (("<TOOLCALL>",),)),
    ("apertus", (("<|tools_prefix|>",),)),
    ("gigachat", (("<|function_call|>",), ("function call", "<|role_sep|>"))),
    ("mistral", (("[TOOL_CALLS]",),)),
    ("apriel", (("<tool_calls>[",),)),
    ("minimax-m1", (("<tool_calls>",),)),
    ("phi-4-mini", (("<|tool|>", "<|/tool|>"),)),
    ("granite", (("<|tool_call|>",),)),
    ("firefunction", (("functools",),)),
    ("hermes", (("<tool_call>",),)),
    ("llama3", (("<|python_tag|>",), ("<|start_header_id|>", '"parameters"'), ("<|start_header_id|>", "ipython"))),
)

#: Texts that mean another format although a family's texts are there as well, which must not be taken for it.
FOREIGN: tuple[tuple[str, ...], ...] = (
    ("]<]minimax[>[",),  # MiniMax M3
    ("<|open|>", "<|close|>", "<|end_of_msg|>"),  # Kimi K3
    ("<atem:function_calls>",),
    (">>>${recipient}",),  # Functionary 3.2
    ("'<tool_calls{}>'.format(",),  # Hunyuan 3
)


@dataclass(frozen=True, slots=True)
class ThinkingSign:
    """Tags, and what else shows them or belongs to them."""

    tags: Tags
    shown: tuple[str, ...]  # texts that must all be in the template
    markers: tuple[str, ...] = ()


def _tags(opening: str, closing: str, *markers: str, shown: tuple[str, ...] = ()) -> ThinkingSign:
    return ThinkingSign(Tags(opening, closing), shown or (opening, closing), markers or (opening, closing))


THINKING_SIGNS: tuple[ThinkingSign, ...] = (
    _tags("<|channel>thought", "<channel|>", "<|channel>", "<channel|>", shown=("<|channel>", "<channel|>")),
    _tags("[THINK]", "[/THINK]"),
    _tags("<seed:think>", "</seed:think>"),
    _tags("<mm:think>", "</mm:think>"),
    _tags("<|START_THINKING|>", "<|END_THINKING|>"),
    _tags("<|inner_prefix|>", "<|inner_suffix|>"),
    _tags("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
    _tags("<thought>", "</thought>"),
    _tags("<think>", "</think>"),
    _tags("<think>", "</think>", shown=("</think>",)),  # templates that only cut earlier thinking off
)

#: What some models put around the answer proper, and the text that shows it.
ANSWER_SIGNS: tuple[tuple[Tags, str], ...] = (
    (Tags("<|START_RESPONSE|>", "<|END_RESPONSE|>"), "<|START_RESPONSE|>"),
    (Tags("<|START_TEXT|>", "<|END_TEXT|>"), "<|START_TEXT|>"),
    (Tags("<response>", "</response>"), "<response></response>"),
)

_THINK = Tags("<think>", "</think>")
_CHANNEL = Tags("<|channel>thought", "<channel|>")

#: The parsers of Ollama's manifests (contract 8.2): the family, and the thinking tags.
PARSERS: dict[str, tuple[str | None, Tags | None]] = {
    "qwen3": ("hermes", None),
    "qwen3-thinking": ("hermes", _THINK),
    "qwen3-vl-instruct": ("hermes", None),
    "qwen3-vl-thinking": ("hermes", _THINK),
    "qwen3.5": ("qwen3-coder", _THINK),
    "ornith": ("qwen3-coder", _THINK),
    "qwen3-coder": ("qwen3-coder", None),
    "ministral": ("mistral", Tags("[THINK]", "[/THINK]")),
    "deepseek3": ("deepseek-v3.1", _THINK),
    "cogito": ("deepseek-r1", _THINK),
    "olmo3": (None, None),
    "olmo3-think": (None, _THINK),
    "nemotron-3-nano": ("qwen3-coder", _THINK),
    "nemotron-3.5-nano": ("qwen3-coder", _THINK),
    "functiongemma": ("functiongemma", None),
    "glm-4.7": ("glm", _THINK),
    "glm-ocr": ("glm", _THINK),
    "gemma4": ("gemma4", _CHANNEL),
    "gemma4-no-thinking": ("gemma4", None),
    "lfm2": ("lfm2", None),
    "lfm2-thinking": ("lfm2", _THINK),
    "laguna": ("glm", _THINK),
    "poolside-v1": ("glm", _THINK),
    "cohere": ("command-r7b", Tags("<|START_THINKING|>", "<|END_THINKING|>")),
    "passthrough": (None, None),
}
