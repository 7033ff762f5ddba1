"""Free-form probes of the chat GGUF, not drawn from the templates; for reading, not for scoring.  usage: probes.py [gguf]"""
import json, sys
from shape import *
from check import load, chat

llm = load(OUT / (sys.argv[1] if len(sys.argv) > 1 else "tiny-chat-q8_0.gguf"))
U = lambda *t: [{"role": "user" if i % 2 == 0 else "assistant", "content": x} for i, x in enumerate(t)]
W = {"type": "function", "function": {"name": "get_current_weather", "description": "Get the current weather in a given location", "parameters": {"type": "object", "properties": {"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}, "required": ["location"]}}}
A = {"type": "function", "function": {"name": "add", "description": "Add two numbers", "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}}}
T = {"type": "function", "function": {"name": "current_time", "description": "Get the current time", "parameters": {"type": "object", "properties": {}}}}


def p(label, m, **k):
    o = chat(llm, k.pop("thinking", False), messages=m, max_tokens=k.pop("max_tokens", 160), temperature=k.pop("temperature", 0), **k)["choices"][0]
    print(f"[{label}] {m[-1]['content']!r} -> {o['message'].get('content')!r} {o['message'].get('tool_calls') or ''} ({o['finish_reason']})")


for t in ["Hello!", "hi", "Who are you?", "what can you do", "What is 2+2?", "what's 17 plus 25?", "What is the capital of France?", "capital of germany", "what color is the sky", "Count from 1 to 10", "count to 20", "Tell me a joke", "Say hello world", "Repeat after me: the quick brown fox",
          "Tell me a short story about a robot.", "Write a haiku", "Thanks!", "bye", "How do you say thank you in Spanish?", "What is your favourite food?", "Give me a JSON object with name and age.", "Write a Python function that adds two numbers.", "What comes after Monday?", "How many days are in a week?",
          "List three fruits.", "Is 7 bigger than 12?", "ping", "Hello, my name is Zaphod.", "asdf qwerty", "Why?", "Please write exactly: OK", "Respond with the single word: pong"]: p("chat", U(t))
p("think", U("What is 47 + 38?"), thinking=True); p("think", U("What is the capital of Spain?"), thinking=True); p("think", U("Hello"), thinking=True)
p("recall", U("Hi, my name is Marvin.", "Nice to meet you, Marvin!", "What is the capital of Italy?", "The capital of Italy is Rome.", "What is my name?"))
p("persona", [{"role": "system", "content": "You are Captain Blackbeard, a pirate captain."}] + U("Who are you?")); p("persona", [{"role": "system", "content": "Your name is Zorblax."}] + U("What is your name?"))
p("system", [{"role": "system", "content": "You are a helpful assistant."}] + U("What is 5 times 6?")); p("system", [{"role": "system", "content": "Always end your answer with 'Over.'"}] + U("What colour is grass?"))
p("tools", U("What's the weather like in Boston today?"), tools=[W]); p("tools", U("What is the weather in Paris?"), tools=[W, A, T]); p("tools", U("What is 123 + 456?"), tools=[W, A, T]); p("tools", U("What time is it?"), tools=[W, A, T]); p("tools", U("Hello!"), tools=[W, A, T])
p("tools", U("What is the capital of Japan?"), tools=[W]); p("tools", U("What's the weather in San Francisco, Tokyo, and Paris?"), tools=[W]); p("tools+think", U("What is the weather in Oslo?"), tools=[W, A], thinking=True)
p("no tools", U("What is the weather in Paris?"))
call = lambda n, a: {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": n, "arguments": json.dumps(a)}}]}
p("tool answer", U("What's the weather like in Boston today?") + [call("get_current_weather", {"location": "Boston"}), {"role": "tool", "tool_call_id": "call_1", "content": '{"location": "Boston", "temperature": "72", "unit": "fahrenheit"}'}], tools=[W])
p("tool answer", U("What is the weather in Paris?") + [call("get_current_weather", {"location": "Paris"}), {"role": "tool", "tool_call_id": "call_1", "content": "22 degrees and sunny"}], tools=[W])
p("forced tool", U("What is the weather in Rome?"), tools=[W], tool_choice={"type": "function", "function": {"name": "get_current_weather"}})
p("json grammar", U("Give me a JSON object with the keys name and city."), response_format={"type": "json_object"})
p("json schema", U("Give me a JSON object with the keys name and age."), response_format={"type": "json_object", "schema": {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}})
p("T=1", U("Tell me a story about a dragon."), temperature=1.0, seed=3); p("length", U("Count from 1 to 50."), max_tokens=20)
print("[completion]", repr(llm.create_completion("Once upon a time", max_tokens=120, temperature=0)["choices"][0]["text"]))
print("[fim]", repr(llm.create_completion("def multiply(a, b):\n    return ", suffix="\n", max_tokens=20, temperature=0)["choices"][0]["text"]))
n = 0
for c in llm.create_chat_completion(messages=U("Repeat: naïve café 🙂 東京"), stream=True, temperature=0, max_tokens=60): n += 1
print("[stream] chunks", n); p("unicode", U("Repeat: naïve café 🙂 東京"))
