// What OpenAI's client for JavaScript gets from a server: one line for each thing that it can do.
//
// usage: openai_client.mjs BASE_URL EMBEDDINGS_BASE_URL RETRIES

import OpenAI from "openai";

const [base, embeddingsBase, retries] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base + "/v1", apiKey: "none", maxRetries: Number(retries), timeout: 30_000 });
const messages = [{ role: "user", content: "how many bottles?" }];
const same = { max_tokens: 16, temperature: 0, seed: 1, cache_prompt: false };

const say = (...of) => console.log(of.join(" | "));

async function refused(what, call) {
  try {
    say(what, "answered", (await call()).object);
  } catch (e) {
    if (!(e instanceof OpenAI.APIError)) throw e;
    say(what, e.constructor.name, e.status, e.message);
  }
}

const model = (await client.models.list()).data[0].id;
say("models", model);

const chat = await client.chat.completions.create({ model, messages, ...same });
say("chat", JSON.stringify(chat.choices[0].message.content), chat.choices[0].finish_reason, chat.usage.completion_tokens);

let text = "", chunks = 0, usage;
for await (const c of await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true }, ...same })) {
  chunks++;
  text += c.choices[0]?.delta?.content ?? "";
  usage = c.usage ?? usage;
}
say("chat, stream", JSON.stringify(text), chunks, usage.completion_tokens);

const done = await client.completions.create({ model, prompt: "how many bottles?", ...same });
say("completion", JSON.stringify(done.choices[0].text), done.choices[0].finish_reason);

text = "", chunks = 0;
for await (const c of await client.completions.create({ model, prompt: "how many bottles?", stream: true, ...same })) {
  chunks++;
  text += c.choices[0]?.text ?? "";
}
say("completion, stream", JSON.stringify(text), chunks);

const response = await client.responses.create({ model, input: "how many bottles?", max_output_tokens: 16, temperature: 0 });
say("response", response.status, response.usage.output_tokens);

const embedder = new OpenAI({ baseURL: embeddingsBase + "/v1", apiKey: "none" });
const vectors = (await embedder.embeddings.create({ model, input: ["one", "two"] })).data;
say("embeddings", vectors.length, vectors[0].embedding.length, vectors[1].embedding.slice(0, 3).map((x) => x.toFixed(3)));

await refused("wrong model", () => client.chat.completions.create({ model: "another", messages, ...same }));
await refused("bad request", () => client.chat.completions.create({ model, messages: "none" }));
await refused("too long", () => client.completions.create({ model, prompt: "long ".repeat(30000), max_tokens: 1 }));
await refused("no such route", () => client.post("/no/such/route", { body: {} }));

const stream = await client.completions.create({ model, prompt: "on", max_tokens: 16000, stream: true, ignore_eos: true });
let seen = 0;
for await (const _ of stream) {
  if (++seen === 4) break; // the client aborts the request
}
say("left a stream");
