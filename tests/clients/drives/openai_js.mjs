// OpenAI's own npm client, at /v1: its chat completions, and its responses.
import OpenAI from "openai";
import assert from "node:assert";

const { POWERD_URL: url, POWERD_MODEL: model, POWERD_EMBEDDER: embedder } = process.env;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
const ask = (content) => [{ role: "user", content }];
const tools = [{
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the current weather in a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
}];
const create = async (body) => (await client.chat.completions.create({ model, ...body })).choices[0].message;

const chat = await create({ messages: ask("What is 2 + 3?") });
const stream = [];
for await (const part of await client.chat.completions.create({ model, messages: ask("What is 2 + 3?"), stream: true })) {
  stream.push(part.choices[0]?.delta.content ?? "");
}
const messages = ask("What is the weather in Paris?");
const first = await create({ messages, tools });
const [call] = first.tool_calls;
messages.push(first, { role: "tool", tool_call_id: call.id, content: '{"temperature": 21, "condition": "sunny"}' });
const answer = await create({ messages, tools });
const vector = (await client.embeddings.create({ model: embedder, input: "a text" })).data[0].embedding;

const response = await client.responses.create({ model, input: "What is 2 + 3?" });
assert.equal(response.output_text, chat.content);
const deltas = [];
for await (const event of await client.responses.create({ model, input: "What is 2 + 3?", stream: true })) {
  if (event.type === "response.output_text.delta") deltas.push(event.delta);
}
assert.equal(deltas.join(""), chat.content);
const functions = [{ type: "function", strict: false, ...tools[0].function }];
const input = ask("What is the weather in Paris?");
const { output } = await client.responses.create({ model, input, tools: functions });
const made = output.find((item) => item.type === "function_call");
input.push(...output, { type: "function_call_output", call_id: made.call_id, output: '{"temperature": 21, "condition": "sunny"}' });
assert.match((await client.responses.create({ model, input, tools: functions })).output_text, /21/);
console.log("\n" + JSON.stringify({
  chat: chat.content, stream, called: JSON.parse(call.function.arguments).city, answer: answer.content, vector: vector.length,
}));
