"""The official Python client."""

from __future__ import annotations

from typing import Any

import ollama
from told import EMBEDS, MODEL, QUESTION, RESULT, TOOL, URL, WEATHER, tell

client = ollama.Client(host=URL)
chat = client.chat(MODEL, [{"role": "user", "content": QUESTION}])
stream = [
    part.message.content or "" for part in client.chat(MODEL, [{"role": "user", "content": QUESTION}], stream=True)
]
messages: list[Any] = [{"role": "user", "content": WEATHER}]
first = client.chat(MODEL, messages, tools=[TOOL])
call = (first.message.tool_calls or [])[0].function
messages += [first.message, {"role": "tool", "tool_name": call.name, "content": RESULT}]
answer = client.chat(MODEL, messages, tools=[TOOL])
vector = client.embed(MODEL, "a text").embeddings[0] if EMBEDS else []

assert client.generate(MODEL, "x", options={"num_predict": 2}).eval_count == 2
assert MODEL in [model.model for model in client.list().models]
assert client.show(MODEL).details is not None
assert [model.model for model in client.ps().models] == [MODEL]
client.copy(MODEL, "copied")
client.create("made", from_=MODEL, system="Be brief.")
assert client.show("made").modelfile is not None
client.delete("made")
client.delete("copied")
assert client.pull(MODEL).status == "success"
if EMBEDS:
    assert len(client.embeddings(MODEL, "a text").embedding) == len(vector)
tell(
    chat=chat.message.content,
    stream=stream,
    called=call.arguments["city"],
    answer=answer.message.content,
    vector=len(vector),
)
