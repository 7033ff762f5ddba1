"""The template for models that bring none, which are mostly models that were never taught to chat."""

from __future__ import annotations

#: One user message alone is the prompt as it stands, so such a model can be asked to continue a text. Anything longer
#: becomes a transcript: the system texts first, then each turn behind the name of its speaker, then an open turn of the
#: assistant. Tools are not mentioned, and no special token is written.
TEMPLATE = """\
{%- set system = messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | join('\\n') -%}
{%- set turns = messages | rejectattr('role', 'equalto', 'system') | list -%}
{%- set names = {'user': 'User', 'assistant': 'Assistant', 'tool': 'Tool'} -%}
{%- if system -%}
    {{- system + '\\n\\n' -}}
{%- endif -%}
{%- if turns | length == 1 and turns[0].role == 'user' -%}
    {{- turns[0].content -}}
{%- elif turns -%}
    {%- for turn in turns -%}
        {{- names.get(turn.role, turn.role) + ': ' + turn.content -}}
        {%- if not loop.last -%}
            {{- '\\n\\n' -}}
        {%- endif -%}
    {%- endfor -%}
    {%- if add_generation_prompt and turns[-1].role != 'assistant' -%}
        {{- '\\n\\nAssistant:' -}}
    {%- endif -%}
{%- endif -%}
"""
