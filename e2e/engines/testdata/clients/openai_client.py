"""What OpenAI's client for Python gets from a server: one line for each thing that it can do.

usage: openai_client.py BASE_URL EMBEDDINGS_BASE_URL RETRIES
"""

import sys

import openai

base, embeddings_base, retries = sys.argv[1:]
client = openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=int(retries), timeout=30)
messages = [{"role": "user", "content": "how many bottles?"}]
same = {"max_tokens": 16, "temperature": 0, "seed": 1, "extra_body": {"cache_prompt": False}}


def say(what, *of):
    print(what, *of, sep=" | ", flush=True)


def refused(what, call):
    try:
        answer = call()
        say(what, "answered", answer.object)
    except openai.APIError as e:
        say(what, type(e).__name__, getattr(e, "status_code", None), e.message)


model = client.models.list().data[0].id
say("models", model)

chat = client.chat.completions.create(model=model, messages=messages, **same)
say("chat", repr(chat.choices[0].message.content), chat.choices[0].finish_reason, chat.usage.completion_tokens)

chunks = list(client.chat.completions.create(model=model, messages=messages, stream=True, stream_options={"include_usage": True}, **same))
text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
say("chat, stream", repr(text), len(chunks), chunks[-1].usage.completion_tokens)

done = client.completions.create(model=model, prompt="how many bottles?", **same)
say("completion", repr(done.choices[0].text), done.choices[0].finish_reason)

chunks = list(client.completions.create(model=model, prompt="how many bottles?", stream=True, **same))
say("completion, stream", repr("".join(c.choices[0].text for c in chunks if c.choices)), len(chunks))

response = client.responses.create(model=model, input="how many bottles?", max_output_tokens=16, temperature=0)
say("response", response.status, response.usage.output_tokens)

vectors = openai.OpenAI(base_url=embeddings_base + "/v1", api_key="none").embeddings.create(model=model, input=["one", "two"]).data
say("embeddings", len(vectors), len(vectors[0].embedding), [round(x, 3) for x in vectors[1].embedding[:3]])

refused("wrong model", lambda: client.chat.completions.create(model="another", messages=messages, **same))
refused("bad request", lambda: client.chat.completions.create(model=model, messages="none"))
refused("too long", lambda: client.completions.create(model=model, prompt="long " * 30000, max_tokens=1))
refused("no such route", lambda: client.post("/no/such/route", cast_to=object, body={}))

with client.completions.create(model=model, prompt="on", max_tokens=16000, stream=True, extra_body={"ignore_eos": True}) as stream:
    for n, _ in enumerate(stream):
        if n == 3:
            break
say("left a stream")
