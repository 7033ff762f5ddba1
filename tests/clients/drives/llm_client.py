"""llm with its plugin llm-ollama, which finds the server by OLLAMA_HOST."""

from __future__ import annotations

import llm
from told import EMBEDDER, MODEL, QUESTION, RESULT, WEATHER, tell

called: list[str] = []


def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    called.append(city)
    return RESULT


model = llm.get_model(f"ollama/{MODEL}")
chat = model.prompt(QUESTION, stream=False).text()
stream = list(model.prompt(QUESTION))
answer = model.chain(WEATHER, tools=[get_weather]).text()
vector = llm.get_embedding_model(f"ollama/{EMBEDDER}").embed("a text")
tell(chat=chat, stream=stream, called=called[0], answer=answer, vector=len(vector))
