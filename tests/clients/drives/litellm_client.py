"""litellm, by its `ollama_chat/` and `ollama/` providers."""

from __future__ import annotations

import json
from typing import Any

import litellm
from told import EMBEDDER, MODEL, QUESTION, RESULT, TOOL, URL, WEATHER, tell


def ask(messages: list[Any], **more: Any) -> Any:
    return litellm.completion(model=f"ollama_chat/{MODEL}", api_base=URL, messages=messages, **more)


question = [{"role": "user", "content": QUESTION}]
chat = ask(question).choices[0].message.content
stream = [part.choices[0].delta.content or "" for part in ask(question, stream=True)]
messages: list[Any] = [{"role": "user", "content": WEATHER}]
first = ask(messages, tools=[TOOL]).choices[0].message
call = first.tool_calls[0]
messages += [first.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
answer = ask(messages, tools=[TOOL]).choices[0].message.content
vector = litellm.embedding(model=f"ollama/{EMBEDDER}", api_base=URL, input=["a text"]).data[0]["embedding"]
tell(chat=chat, stream=stream, called=json.loads(call.function.arguments)["city"], answer=answer, vector=len(vector))
