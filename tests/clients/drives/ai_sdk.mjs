// The AI SDK with its ollama provider.
import { embed, generateText, stepCountIs, streamText, tool } from "ai";
import { createOllama } from "ollama-ai-provider-v2";
import { z } from "zod";

const { POWERD_URL: url, POWERD_MODEL: name, POWERD_EMBEDS: embeds } = process.env;
const ollama = createOllama({ baseURL: `${url}/api` });
const model = ollama(name);
const called = [];
const tools = {
  get_weather: tool({
    description: "Get the current weather in a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      called.push(city);
      return { temperature: 21, sky: "sunny" };
    },
  }),
};

const chat = await generateText({ model, prompt: "What is 2 + 3?" });
const stream = [];
for await (const part of streamText({ model, prompt: "What is 2 + 3?" }).textStream) stream.push(part);
const answer = await generateText({ model, prompt: "What is the weather in Paris?", tools, stopWhen: stepCountIs(3) });
const vector = embeds === "1" ? (await embed({ model: ollama.embedding(name), value: "a text" })).embedding : [];
console.log("\n" + JSON.stringify({ chat: chat.text, stream, called: called[0], answer: answer.text, vector: vector.length }));
