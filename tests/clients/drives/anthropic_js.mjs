// Anthropic's own npm client, at /v1/messages; its API has no embeddings.
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert";

const { POWERD_URL: url, POWERD_MODEL: model } = process.env;
const client = new Anthropic({ baseURL: url, apiKey: "none" });
const ask = (content) => [{ role: "user", content }];
const create = (messages, more) => client.messages.create({ model, max_tokens: 200, messages, ...more });
const tools = [{
  name: "get_weather",
  description: "Get the current weather in a city",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
}];

const chat = await create(ask("What is 2 + 3?"));
const stream = [];
const streamed = client.messages.stream({ model, max_tokens: 200, messages: ask("What is 2 + 3?") });
streamed.on("text", (text) => stream.push(text));
assert.equal((await streamed.finalMessage()).stop_reason, "end_turn");
const messages = ask("What is the weather in Paris?");
const first = await create(messages, { tools });
assert.equal(first.stop_reason, "tool_use");
const call = first.content.find((block) => block.type === "tool_use");
const result = { type: "tool_result", tool_use_id: call.id, content: '{"temperature": 21, "condition": "sunny"}' };
messages.push({ role: "assistant", content: first.content }, { role: "user", content: [result] });
const answer = await create(messages, { tools });
const counted = await client.messages.countTokens({ model, messages: ask("What is 2 + 3?") });
assert.equal(counted.input_tokens, chat.usage.input_tokens);
console.log("\n" + JSON.stringify({
  chat: chat.content[0].text, stream, called: call.input.city, answer: answer.content[0].text, vector: null,
}));
