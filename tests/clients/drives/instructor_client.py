"""instructor, which turns answers into objects: by JSON and by a tool. The rest is `openai`, the client it wraps."""

from __future__ import annotations

import instructor
from openai import OpenAI
from pydantic import BaseModel
from told import EMBEDDER, MODEL, QUESTION, RESULT, TOOL, URL, WEATHER, tell


class Person(BaseModel):
    name: str
    age: int


class Weather(BaseModel):
    """Get the current weather in a city."""

    city: str


PERSON = "Extract the name and age as JSON: Anna is 30 years old."


def extract(mode: instructor.Mode, model: type[BaseModel], text: str) -> BaseModel:
    """An object of `model`, at the first try."""
    return instructor.from_openai(plain, mode=mode).create(
        model=MODEL, messages=[{"role": "user", "content": text}], response_model=model, max_retries=1, max_tokens=100
    )


plain = OpenAI(base_url=f"{URL}/v1", api_key="none")
question = [{"role": "user", "content": QUESTION}]
chat = plain.chat.completions.create(model=MODEL, messages=question).choices[0].message.content
stream = [
    part.choices[0].delta.content or ""
    for part in plain.chat.completions.create(model=MODEL, messages=question, stream=True)
    if part.choices
]
messages = [{"role": "user", "content": WEATHER}]
for mode in (instructor.Mode.JSON_SCHEMA, instructor.Mode.JSON):
    found = extract(mode, Person, PERSON)
    assert found.model_dump() == {"name": "Anna", "age": 30}
called = extract(instructor.Mode.TOOLS, Weather, WEATHER).city
first = plain.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message
call = first.tool_calls[0]
messages += [first.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
answer = plain.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message.content
vector = plain.embeddings.create(model=EMBEDDER, input="a text").data[0].embedding
tell(chat=chat, stream=stream, called=called, answer=answer, vector=len(vector))
