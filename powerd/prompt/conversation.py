"""From a job to its prompt: who runs which syntax, and the forms a Jinja template is offered a conversation in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from powerd.jobs import RenderJob
from powerd.prompt import thinking, turns
from powerd.prompt.failed import TemplateFailed
from powerd.prompt.generic import TEMPLATE
from powerd.prompt.jinja import run, without_unknown_tags
from powerd.prompt.mapping import mappings, with_json_arguments, without_calls, without_system


def render(job: RenderJob, now: datetime, on_note: Callable[[str], None] = lambda _: None) -> str:
    """The prompt text of a job; `now` carries the local time zone. Raises TemplateFailed.

    A lenient job's Jinja template goes without the tags nobody knows, which `on_note` hears; and where it refuses the
    usual form, it is tried with the others that templates are written for. If none helps, the first refusal counts.
    """
    if job.syntax == "go":
        return turns.render(job, now)
    template = job.template or TEMPLATE
    if not job.lenient:
        return run(template, _variables(job, now), now)
    template, unknown = without_unknown_tags(template)
    if unknown:
        on_note(f"tags nobody knows were left out: {', '.join(unknown)}")
    try:
        return run(template, _variables(job, now), now)
    except TemplateFailed as refusal:
        for variables in _other_forms(job, now):
            with suppress(TemplateFailed):
                return run(template, variables, now)
        raise refusal from None


def _variables(job: RenderJob, now: datetime) -> dict[str, Any]:
    """The names the form fixes win over `job.variables`, and these over the date and what follows from `job.think`."""
    return {
        "date_string": now.strftime("%d %b %Y"),
        "datetime": now.strftime("%b %d %Y"),
        **thinking.variables(job.think, job.template),
        **job.variables,
        "messages": mappings(job.messages, job.template),
        "tools": list(job.tools) or None,
        "bos_token": job.bos,
        "eos_token": job.eos,
        "add_generation_prompt": job.add_generation_prompt,
    }


def _other_forms(job: RenderJob, now: datetime) -> Iterator[dict[str, Any]]:
    """What some templates want instead of the usual form, each built anew: a template may have changed the last.

    No `tools` at all, or as JSON text by the name of `functions`; arguments of calls as JSON text; no system message;
    no calls and results, for a model that was taught no tools and is given a conversation that has some.
    """
    if not job.tools:
        yield {name: value for name, value in _variables(job, now).items() if name != "tools"}
    if "functions" in job.template:
        functions = json.dumps(list(job.tools), ensure_ascii=False, indent=4) if job.tools else ""
        yield {**_variables(job, now), "functions": functions}
    if any(message.tool_calls for message in job.messages):
        yield {**_variables(job, now), "messages": with_json_arguments(job.messages)}
    if any(message.role == "system" for message in job.messages):
        yield _variables(replace(job, messages=tuple(without_system(job.messages))), now)
    if any(message.tool_calls or message.role == "tool" for message in job.messages):
        yield _variables(replace(job, messages=tuple(without_system(without_calls(job.messages)))), now)
