"""OpenAI's own Python client, at `/v1`: chat completions, completions, responses, models and embeddings."""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI
from told import EMBEDDER, MODEL, QUESTION, RESULT, TOOL, URL, WEATHER, tell

client = OpenAI(base_url=f"{URL}/v1", api_key="none")
completions = client.chat.completions
chat = completions.create(model=MODEL, messages=[{"role": "user", "content": QUESTION}]).choices[0].message.content
parts = completions.create(model=MODEL, messages=[{"role": "user", "content": QUESTION}], stream=True)
stream = [part.choices[0].delta.content or "" for part in parts if part.choices]
messages: list[Any] = [{"role": "user", "content": WEATHER}]
first = completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message
call = first.tool_calls[0]
messages += [first, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
answer = completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message.content
vector = client.embeddings.create(model=EMBEDDER, input="a text").data[0].embedding

assert MODEL in [model.id for model in client.models.list()]
assert client.models.retrieve(MODEL).id == MODEL
assert client.completions.create(model=MODEL, prompt="x", max_tokens=2).usage.completion_tokens == 2
assert client.responses.create(model=MODEL, input=QUESTION).output_text == chat
with client.responses.stream(model=MODEL, input=QUESTION) as events:
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == chat
    assert events.get_final_response().status == "completed"
city = json.loads(call.function.arguments)["city"]
tell(chat=chat, stream=stream, called=city, answer=answer, vector=len(vector))
