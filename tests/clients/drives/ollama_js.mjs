// The official npm client, all of its methods but webSearch and webFetch, which ask ollama.com.
import { Ollama } from "ollama";
import assert from "node:assert";

const { POWERD_URL: host, POWERD_MODEL: model, POWERD_EMBEDDER: embedder } = process.env;
const client = new Ollama({ host });
const ask = (content) => [{ role: "user", content }];
const tools = [{
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the current weather in a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
}];

const chat = await client.chat({ model, messages: ask("What is 2 + 3?") });
const stream = [];
for await (const part of await client.chat({ model, messages: ask("What is 2 + 3?"), stream: true })) {
  stream.push(part.message.content);
}
const messages = ask("What is the weather in Paris?");
const first = await client.chat({ model, messages, tools });
const call = first.message.tool_calls[0].function;
messages.push(first.message, { role: "tool", tool_name: call.name, content: '{"temperature": 21, "condition": "sunny"}' });
const answer = await client.chat({ model, messages, tools });
const vector = (await client.embed({ model: embedder, input: "a text" })).embeddings[0];

assert.equal((await client.generate({ model, prompt: "x", options: { num_predict: 2 } })).eval_count, 2);
assert((await client.list()).models.some((each) => each.name === model));
assert((await client.show({ model })).details);
assert((await client.ps()).models.some((each) => each.name === model));
await assert.rejects(client.show({ model: "nobody" }), { name: "ResponseError", status_code: 404 });
await assert.rejects(client.push({ model: "nobody/nothing" }), { name: "ResponseError" });
await assert.rejects(client.systemone({ model, state: "a state", questions: {} }), { name: "ResponseError" });
await client.copy({ source: model, destination: "copied" });
await client.create({ model: "made", from: model, system: "Be brief." });
await client.delete({ model: "made" });
await client.delete({ model: "copied" });
assert.equal((await client.pull({ model })).status, "success");
const steps = [];
for await (const step of await client.pull({ model, stream: true })) steps.push(step.status);
assert.equal(steps.at(-1), "success");
assert((await client.version()).version);
assert.equal((await client.embeddings({ model: embedder, prompt: "a text" })).embedding.length, vector.length);
const endless = await client.generate({ model, prompt: "x", stream: true, options: { num_predict: 500 } });
await assert.rejects(async () => {
  for await (const _ of endless) endless.abort();
}, { name: "AbortError" });
console.log("\n" + JSON.stringify({
  chat: chat.message.content, stream, called: call.arguments.city, answer: answer.message.content, vector: vector.length,
}));
