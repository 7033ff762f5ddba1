"""Drafts: the small model beside a model's weights that a speculating server guesses with.

powerd does not speculate. It keeps a draft as a layer, so that whoever gets the model from here has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from powerd.errors import BadRequest
from powerd.reconcile.making.ingredients import Ingredients, Upload
from powerd.reconcile.making.workshop import Workshop
from powerd.store.gguf import GgufError, read_header
from powerd.store.manifest import DRAFT_TYPE, MODEL_TYPE, Layer
from powerd.store.store import Store


async def add_draft(made: Ingredients, files: Sequence[Upload], kind: str, store: Store, workshop: Workshop) -> None:
    """Add the draft model among `files` in the place of the base's, quantized to `kind` where one is given.

    Without files it is the base's draft that is quantized. Raises BadRequest, and what converting and quantizing raise.
    """
    if not files and not kind:
        return
    draft = await _uploaded(files, workshop) if files else await workshop.in_thread(lambda _: _inherited(made, store))
    await workshop.quantize(draft, kind, "draft model")
    assert draft.weights is not None
    layer = Layer(DRAFT_TYPE, draft.weights.digest, draft.weights.size)
    made.layers = [*(each for each in made.layers if each.media_type != DRAFT_TYPE), layer]
    made.config = {key: value for key, value in made.config.items() if key != "draft"}
    made.fresh |= draft.fresh


async def _uploaded(files: Sequence[Upload], workshop: Workshop) -> Ingredients:
    draft = Ingredients()
    try:
        await workshop.add_files(draft, files, "draft model")
    except BadRequest as error:
        raise BadRequest(f"draft_files: {error.message}", "draft_files") from None
    if draft.weights is None or len(draft.layers) > 1:
        raise BadRequest("draft_files: a draft is the weights of one model and nothing else", "draft_files")
    return draft


def _inherited(made: Ingredients, store: Store) -> Ingredients:
    """The draft that the base brought. Blocking."""
    layer = next((each for each in made.layers if each.media_type == DRAFT_TYPE), None)
    path = store.blob(layer.digest) if layer is not None else None
    if layer is None or path is None:
        raise BadRequest(
            "draft_quantize: there is no draft model; name its files under 'draft_files'", "draft_quantize"
        )
    try:
        header = read_header(path)
    except GgufError as error:
        raise BadRequest(f"draft_quantize: the base's draft cannot be read: {error}", "draft_quantize") from None
    return Ingredients([], Layer(MODEL_TYPE, layer.digest, layer.size), path, header)
