"""llama-index-llms-ollama and llama-index-embeddings-ollama."""

from __future__ import annotations

from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama
from told import EMBEDDER, MODEL, QUESTION, RESULT, URL, WEATHER, tell


def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    return RESULT


llm = Ollama(model=MODEL, base_url=URL, request_timeout=60)
chat = llm.chat([ChatMessage(QUESTION)])
stream = [part.delta or "" for part in llm.stream_chat([ChatMessage(QUESTION)])]
tool = FunctionTool.from_defaults(get_weather)
first = llm.chat_with_tools([tool], user_msg=WEATHER)
call = llm.get_tool_calls_from_response(first)[0]
messages = [ChatMessage(WEATHER), first.message, ChatMessage(RESULT, role=MessageRole.TOOL, tool_name=call.tool_name)]
answer = llm.chat_with_tools([tool], chat_history=messages)
vector = OllamaEmbedding(model_name=EMBEDDER, base_url=URL).get_text_embedding("a text")
tell(
    chat=chat.message.content,
    stream=stream,
    called=call.tool_kwargs["city"],
    answer=answer.message.content,
    vector=len(vector),
)
