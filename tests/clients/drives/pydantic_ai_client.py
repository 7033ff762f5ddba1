"""pydantic-ai by its Ollama provider."""

from __future__ import annotations

import asyncio

from pydantic_ai import Agent, Embedder
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.providers.ollama import OllamaProvider
from told import EMBEDDER, MODEL, QUESTION, RESULT, URL, WEATHER, tell

provider = OllamaProvider(base_url=f"{URL}/v1")
agent = Agent(OllamaModel(MODEL, provider=provider))
asks = Agent(OllamaModel(MODEL, provider=provider))
called: list[str] = []


@asks.tool_plain
def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    called.append(city)
    return RESULT


async def drive() -> None:
    chat = (await agent.run(QUESTION)).output
    async with agent.run_stream(QUESTION) as result:
        stream = [part async for part in result.stream_text(delta=True, debounce_by=None)]
    answer = (await asks.run(WEATHER)).output
    vector = (await Embedder(OpenAIEmbeddingModel(EMBEDDER, provider=provider)).embed_query("a text")).embeddings[0]
    tell(chat=chat, stream=stream, called=called[0], answer=answer, vector=len(vector))


asyncio.run(drive())
