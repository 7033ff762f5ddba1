"""How many tokens a request's prompt has: rendered and counted by the model's runner, and nothing is generated."""

from __future__ import annotations

from powerd.api import inference
from powerd.api.ask import Ask
from powerd.api.call import Call
from powerd.api.fitting import has_bos
from powerd.api.rendering import conversation, rendered


async def counted(call: Call, ask: Ask) -> int:
    """The prompt's tokens; loads the model where it is not. Raises as generating does, but never ContextOverflow."""
    ask = inference.in_class(ask, call.header(inference.CLASS_HEADER))
    async with inference.leased(call.context, ask, call.id) as (offer, _, lease, notes):
        prompt = await rendered(call.context, ask, offer, conversation(ask, offer), notes)
        tokens = await lease.count(prompt, add_bos=not has_bos(prompt, offer))
    call.model, call.prompt_tokens = offer.name.display, tokens
    call.headers |= notes
    return tokens
