"""The official Python client, all of its methods but `web_search` and `web_fetch`, which ask ollama.com."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import ollama
from told import EMBEDDER, MODEL, QUESTION, RESULT, TOOL, URL, WEATHER, tell

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
vector = client.embed(EMBEDDER, "a text").embeddings[0]

assert client.generate(MODEL, "x", options={"num_predict": 2}).eval_count == 2
assert [part.done for part in client.generate(MODEL, "x", stream=True, options={"num_predict": 2})][-1]
assert MODEL in [model.model for model in client.list().models]
assert client.show(MODEL).details is not None
assert MODEL in [model.model for model in client.ps().models]
client.copy(MODEL, "copied")
client.create("made", from_=MODEL, system="Be brief.")
assert client.show("made").modelfile is not None
digest = client.create_blob(os.environ["POWERD_GGUF"])
assert [step.status for step in client.create("uploaded", files={"any.gguf": digest}, stream=True)][-1] == "success"
assert client.chat("uploaded", [{"role": "user", "content": QUESTION}]).message.content
for name in ("made", "copied", "uploaded"):
    client.delete(name)
assert client.pull(MODEL).status == "success"
assert [step.status for step in client.pull(MODEL, stream=True)][-1] == "success"
assert len(client.embeddings(EMBEDDER, "a text").embedding) == len(vector)


def refused(ask: Callable[[], object]) -> str:
    """What the server says against `ask`."""
    try:
        ask()
    except ollama.ResponseError as error:
        return str(error.error)
    raise AssertionError("not refused")


async def asynchronously() -> str | None:
    """The same question by the other client."""
    return (await ollama.AsyncClient(URL).chat(MODEL, [{"role": "user", "content": QUESTION}])).message.content


assert "not found" in refused(lambda: client.show("nobody"))
assert refused(lambda: client.push("nobody/nothing"))
assert refused(lambda: client.systemone(MODEL, "a state", {}))  # for models that nothing here can run
assert asyncio.run(asynchronously()) == chat.message.content
tell(
    chat=chat.message.content,
    stream=stream,
    called=call.arguments["city"],
    answer=answer.message.content,
    vector=len(vector),
)
