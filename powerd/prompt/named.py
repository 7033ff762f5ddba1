"""Templates known by name, for models that bring none, and how such a model is recognised (contract section 7.3).

The tokens that end a turn belong to one family each, so the end token tells the family. Llama 2, Mistral and Alpaca end
a turn with the plain `</s>`, and are recognised by the model's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


def _open(answer: str) -> str:
    """The opening of an answer, where one is wanted."""
    return "{%- if add_generation_prompt %}{{ " + answer + " }}{% endif -%}"


@dataclass(frozen=True, slots=True)
class Named:
    """A Jinja text, the end tokens of the models it suits, and a pattern for their names."""

    text: str
    ends: frozenset[str] = frozenset()
    models: str = ""


def _headed(head: str, tail: str, opening: str) -> str:
    """Every message between a head that names the role and a tail; then the opening of an answer."""
    return (
        "{%- for message in messages -%}{{ "
        + head
        + " + message.content + "
        + tail
        + " }}{%- endfor -%}"
        + _open(opening)
    )


#: Roles that a family lacks are spoken by the user; a system text stands before the first turn of the user.
_FIRST_SYSTEM = """\
{%- set ns = namespace(system='') -%}
{%- for message in messages if message.role == 'system' -%}
    {%- set ns.system = ns.system + ('\\n\\n' if ns.system else '') + message.content -%}
{%- endfor -%}
{%- for message in messages if message.role != 'system' -%}
"""

_INSTRUCTED = (
    _FIRST_SYSTEM
    + """\
    {%- if message.role == 'assistant' -%}
        {{- ' ' + message.content + eos_token -}}
    {%- else -%}
        {{- OPENING + '[INST] ' + (SYSTEM if ns.system else '') + message.content + ' [/INST]' -}}
        {%- set ns.system = '' -%}
    {%- endif -%}
{%- endfor -%}
"""
)

NAMED: Mapping[str, Named] = MappingProxyType(
    {
        "chatml": Named(
            _headed("'<|im_start|>' + message.role + '\\n'", "'<|im_end|>\\n'", "'<|im_start|>assistant\\n'"),
            frozenset({"<|im_end|>"}),
        ),
        "llama3-instruct": Named(
            "{{- bos_token -}}"
            + _headed(
                "'<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n'",
                "'<|eot_id|>'",
                "'<|start_header_id|>assistant<|end_header_id|>\\n\\n'",
            ),
            frozenset({"<|eot_id|>"}),
        ),
        "phi-3": Named(
            _headed("'<|' + message.role + '|>\\n'", "'<|end|>\\n'", "'<|assistant|>\\n'"),
            frozenset({"<|end|>"}),
        ),
        "gemma-instruct": Named(
            "{{- bos_token -}}"
            + _FIRST_SYSTEM
            + """\
    {{- '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\\n' -}}
    {%- if ns.system -%}{{- ns.system + '\\n\\n' -}}{%- set ns.system = '' -%}{%- endif -%}
    {{- message.content + '<end_of_turn>\\n' -}}
{%- endfor -%}
"""
            + _open("'<start_of_turn>model\\n'"),
            frozenset({"<end_of_turn>"}),
        ),
        "llama2-chat": Named(
            _INSTRUCTED.replace("OPENING", "bos_token").replace(
                "SYSTEM", "'<<SYS>>\\n' + ns.system + '\\n<</SYS>>\\n\\n'"
            ),
            models=r"llama[-_ ]?2.*chat|codellama.*instruct",
        ),
        "mistral-instruct": Named(
            "{{- bos_token -}}" + _INSTRUCTED.replace("OPENING", "''").replace("SYSTEM", "ns.system + '\\n\\n'"),
            models=r"(?:mistral|mixtral).*instruct",
        ),
        "alpaca": Named(
            _FIRST_SYSTEM
            + """\
    {%- if ns.system -%}{{- ns.system + '\\n\\n' -}}{%- set ns.system = '' -%}{%- endif -%}
    {{- '### Response:\\n' if message.role == 'assistant' else '### Instruction:\\n' -}}
    {{- message.content + '\\n\\n' -}}
{%- endfor -%}
"""
            + _open("'### Response:\\n'"),
            models=r"alpaca",
        ),
    }
)


def detect(end: str, name: str) -> str | None:
    """The name of the template for a model that brings none; `end` is its end token, `name` what it calls itself."""
    for known, template in NAMED.items():
        if end in template.ends or (template.models and re.search(template.models, name, re.IGNORECASE)):
            return known
    return None
