"""A second context that needs the room of an idle model, over real processes: who leaves, and who is answered when."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from powerd.errors import DoesNotFit
from powerd.fleet.budget import estimate, second
from powerd.protocol import Deployment
from powerd.vectors import Embed, Embedded
from tests.fleet.stage import CONFIG, Stage, collect, fake, on_stage, text, want


def shaped(deployment: Deployment, **shape: object) -> Deployment:
    return msgspec.structs.replace(deployment, shape=msgspec.structs.replace(deployment.shape, **shape))


CHAT = shaped(fake(parallel=2), vocab=1 << 20)
OTHER = shaped(fake(), weights_bytes=second(CHAT, None).total)
TIGHT = replace(CONFIG, memory_budget=estimate(CHAT).total + estimate(OTHER).total + second(CHAT, None).total // 2)


async def embedded(stage: Stage) -> None:
    async with await stage.fleet.lease(want(CHAT, embeds=True)) as lease:
        (end,) = await collect(lease.submit(Embed(0, "a text")))
        assert isinstance(end, Embedded)


@pytest.mark.parametrize("pooling", ["mean", ""])
def test_row_47_an_idle_embedding_model_leaves_for_vectors_and_a_chat_model_does_not(pooling: str) -> None:
    other = shaped(OTHER, pooling=pooling)

    async def play(stage: Stage) -> None:
        async with await stage.fleet.lease(want(other)):
            pass
        assert text(await stage.ask(CHAT, num_predict=2))
        if pooling:
            await asyncio.gather(embedded(stage), embedded(stage), stage.ask(CHAT, num_predict=2))
            assert stage.said("unload") == ["evicted"]
        else:
            with pytest.raises(DoesNotFit, match="makes embeddings in a second context, for which there is no room"):
                await embedded(stage)
            assert stage.said("unload") == []
            assert len(stage.fleet.views()) == 2
        assert text(await stage.ask(CHAT, num_predict=2))

    on_stage(play, TIGHT)
