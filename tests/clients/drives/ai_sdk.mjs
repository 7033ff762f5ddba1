// The AI SDK with its ollama provider.
import { embed, generateText, stepCountIs, streamText, tool } from "ai";
import { createOllama } from "ollama-ai-provider-v2";
import { z } from "zod";

const { POWERD_URL: url, POWERD_MODEL: name, POWERD_EMBEDDER: embedder } = process.env;
const ollama = createOllama({ baseURL: `${url}/api` });
const model = ollama(name);
const called = [];
const tools = {
  get_weather: tool({
    description: "Get the current weather in a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      called.push(city);
      return { temperature: 21, condition: "sunny" };
    },
  }),
};

const chat = await generateText({ model, prompt: "What is 2 + 3?" });
const stream = [];
for await (const part of streamText({ model, prompt: "What is 2 + 3?" }).textStream) stream.push(part);
const answer = await generateText({ model, prompt: "What is the weather in Paris?", tools, stopWhen: stepCountIs(3) });
const { embedding: vector } = await embed({ model: ollama.embedding(embedder), value: "a text" });
console.log("\n" + JSON.stringify({ chat: chat.text, stream, called: called[0], answer: answer.text, vector: vector.length }));
