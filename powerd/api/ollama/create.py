"""POST /api/create: a model made of another one or of uploaded files (contract section 4.3)."""

from __future__ import annotations

from functools import partial
from typing import Any

from powerd.api.call import Call
from powerd.api.ollama import translate
from powerd.api.ollama.schema import ChatMessage, CreateBody
from powerd.api.ollama.transfers import told, trusted
from powerd.errors import BadRequest, Unsupported
from powerd.reconcile.create import create as make
from powerd.reconcile.making.creation import NO_REMOTE_DRAFT, CreateRequest
from powerd.reconcile.pulls import OnStatus, narrated


async def create(call: Call) -> None:
    """POST /api/create: Ollama's progress objects, streamed unless `stream` is false."""
    body = await call.decoded(CreateBody)
    wanted, library, store = request(body), call.context.library, call.context.store
    pull = partial(library.pull, trusted=trusted(call))

    async def work(on_status: OnStatus) -> None:
        await make(wanted, library, store, on_status, pull=pull)

    await call.while_connected(told(call, narrated(work), stream=body.stream))


def request(body: CreateBody) -> CreateRequest:
    """The body as what powerd can make. Raises BadRequest, Unsupported."""
    if body.remote_host and body.draft_files:
        raise BadRequest(NO_REMOTE_DRAFT, "draft_files")
    if body.remote_host:
        raise Unsupported("remote_host: powerd runs models on this machine only", "remote_host")
    if len(body.messages) > translate.MAX_MESSAGES:
        raise BadRequest(f"messages: a model holds at most {translate.MAX_MESSAGES} messages", "messages")
    return CreateRequest(
        name=body.model or body.name,
        base=body.base,
        files=body.files,
        adapters=body.adapters,
        draft_files=body.draft_files,
        template=body.template,
        system=body.system,
        licenses=_licenses(body.license),
        parameters=body.parameters,
        messages=tuple(_message(index, message) for index, message in enumerate(body.messages)),
        renderer=body.renderer,
        parser=body.parser,
        requires=body.requires,
        quantize=body.quantize or body.quantization,
        draft_quantize=body.draft_quantize,
        info=body.info,
    )


def _licenses(value: Any) -> tuple[str, ...]:
    """One text or several; empty ones count as none."""
    listed = [value] if isinstance(value, str) else value or []
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise BadRequest("license: expected string or array of strings", "license")
    return tuple(text for text in listed if text)


def _message(index: int, message: ChatMessage) -> tuple[str, str]:
    if not message.role:
        raise BadRequest(f"messages[{index}].role: a message needs a role", f"messages[{index}].role")
    return message.role, message.content or ""
