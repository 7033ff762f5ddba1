"""Jinja templates that many models were published with, and what Ollama's create makes of them (contract section 7.3).

A GGUF whose own template is one of these, or nearly, gets the family's Go template as a layer and its stop texts as
parameters. Both templates of a family make the same text; the stop texts help where a conversion named another token
as the end of a turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: Insertions, deletions and substitutions from which on two templates are not the same.
DISTANCE = 100


@dataclass(frozen=True, slots=True)
class Family:
    """The published Jinja, the same in Go, and the texts that end an answer."""

    jinja: str
    go: str
    stops: tuple[str, ...]


_ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "chatml": Family(
            "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
            "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
            "{% endif %}",
            "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n",
            ("<|im_start|>", "<|im_end|>"),
        ),
        "llama3-instruct": Family(
            "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
            "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + "
            "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
            "{% endfor %}{% if add_generation_prompt %}"
            "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
            "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ),
        "phi-3": Family(
            "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\\n' + "
            "message['content'] + '<|end|>' + '\\n' + '<|assistant|>' + '\\n'}}{% elif (message['role'] == "
            "'assistant') %}{{message['content'] + '<|end|>' + '\\n'}}{% endif %}{% endfor %}",
            "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n",
            ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>"),
        ),
        "gemma-instruct": Family(
            "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
            "{% endif %}{% for message in messages %}"
            + _ALTERNATE
            + "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = "
            "message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + "
            "'<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}",
            '{{- $system := .System }}{{ range .Messages }}{{ if ne .Role "system" }}<start_of_turn>'
            '{{ if eq .Role "assistant" }}model{{ else }}user{{ end }}\n'
            '{{ if $system }}{{ $system }}\n\n{{ $system = "" }}{{ end }}{{ .Content }}<end_of_turn>\n'
            "{{ end }}{{ end }}<start_of_turn>model\n",
            ("<start_of_turn>", "<end_of_turn>"),
        ),
        "mistral-instruct": Family(
            "{{ bos_token }}{% for message in messages %}"
            + _ALTERNATE
            + "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif "
            "message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}"
            "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
            '{{- $system := .System }}{{ range .Messages }}{{ if eq .Role "assistant" }} {{ .Content }}</s>'
            '{{ else if ne .Role "system" }}[INST] {{ if $system }}{{ $system }}\n\n{{ $system = "" }}{{ end }}'
            "{{ .Content }} [/INST]{{ end }}{{ end }}",
            ("[INST]", "[/INST]"),
        ),
        "zephyr": Family(
            "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\\n' + message['content'] "
            "+ eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\\n' + message['content'] + "
            "eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\\n'  + message['content'] + "
            "eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n"
            "{% endif %}\n{% endfor %}",
            "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}</s>\n{{ end }}<|assistant|>\n",
            ("<|system|>", "</s>", "<|user|>", "<|assistant|>"),
        ),
    }
)


def match(jinja: str) -> str | None:
    """The name of the family whose template is nearest to `jinja` and nearer than DISTANCE; None for no other."""
    found = [(distance(jinja, family.jinja, DISTANCE), name) for name, family in FAMILIES.items()]
    nearest, name = min(found)
    return name if nearest < DISTANCE else None


def distance(one: str, other: str, limit: int) -> int:
    """The Levenshtein distance, or `limit` where it is that or more; the time is bounded by limit × length."""
    if abs(len(one) - len(other)) >= limit or _unlike(one, other) >= limit:
        return limit
    before = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        low, high = max(1, row - limit), min(len(other), row + limit)
        after = [limit] * (len(other) + 1)
        after[0] = row
        for column in range(low, high + 1):
            changed = before[column - 1] + (letter != other[column - 1])
            after[column] = min(changed, before[column] + 1, after[column - 1] + 1)
        if min(after[low - 1 : high + 1]) >= limit:
            return limit
        before = after
    return min(before[-1], limit)


def _unlike(one: str, other: str) -> int:
    """A lower bound of the distance: the letters that either has and the other lacks."""
    mine, theirs = Counter(one), Counter(other)
    return max((mine - theirs).total(), (theirs - mine).total())
