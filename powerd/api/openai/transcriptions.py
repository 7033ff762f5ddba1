"""POST /v1/audio/transcriptions (contract section 11.6): the form is read and judged; no model here can hear."""

from __future__ import annotations

from powerd.api.call import Call
from powerd.errors import BadRequest, Unsupported


async def transcriptions(call: Call) -> None:
    """Refuse as Ollama does for a model without the capability. Raises BadRequest or NotFound for what comes before."""
    form = await call.form()
    model = form.fields.get("model") or call.context.default_model
    if not model:
        raise BadRequest("model is required", "model")
    size = form.files.get("file")
    if size is None:
        raise BadRequest('file is required: the form has no part "file" with a file name', "file")
    if not size:
        raise BadRequest("audio file is empty", "file")
    offer = call.context.library.find(model)
    raise Unsupported(f"{offer.name.full} does not support audio", "model")
