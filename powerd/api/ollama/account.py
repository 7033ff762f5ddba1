"""What Ollama sends on to ollama.com: accounts and searches, of which powerd has none (contract section 1.14)."""

from __future__ import annotations

from powerd.api.call import Call, Handler
from powerd.api.status import Refusal
from powerd.errors import Forbidden


def disabled(what: str) -> Handler:
    """A handler that answers as an Ollama whose cloud is switched off does."""

    async def refuse(_call: Call) -> None:
        raise Forbidden(f"ollama cloud is disabled: {what} is unavailable")

    return refuse


async def signout(_call: Call) -> None:
    """POST /api/signout, and the older DELETE /api/user/keys/:encodedKey: nobody can be signed in."""
    raise Refusal(401, "you are not currently signed in")


async def recommendations(call: Call) -> None:
    """GET /api/experimental/model-recommendations: ollama.com makes them."""
    await call.json({"recommendations": []})
