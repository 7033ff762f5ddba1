"""langchain-openai, at `/v1`."""

from __future__ import annotations

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from told import EMBEDDER, MODEL, QUESTION, RESULT, URL, WEATHER, tell


@tool
def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    return RESULT


model = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key="none")
chat = model.invoke(QUESTION)
stream = [str(part.content) for part in model.stream(QUESTION)]
bound = model.bind_tools([get_weather])
first = bound.invoke(WEATHER)
call = first.tool_calls[0]
answer = bound.invoke([HumanMessage(WEATHER), first, ToolMessage(RESULT, tool_call_id=call["id"])])
embeddings = OpenAIEmbeddings(model=EMBEDDER, base_url=f"{URL}/v1", api_key="none", check_embedding_ctx_length=False)
vector = embeddings.embed_query("a text")
tell(chat=chat.content, stream=stream, called=call["args"]["city"], answer=answer.content, vector=len(vector))
