"""LoRA through llama-cpp-python: loaded with lora_path, at scale 1 and 0, and hot-swapped on one context."""
import ctypes, json
import numpy as np
from llama_cpp import Llama, llama_cpp as C
from shape import *
ref = json.loads((WORK / "eval_lora.json").read_text())
LP = OUT / "tiny-chat-pirate-lora-f16.gguf"


def run(llm, field):
    ok, shown = 0, 0
    for it in ref["items"]:
        t = llm.create_chat_completion(messages=it["messages"], tools=it["tools"], max_tokens=200, temperature=0)["choices"][0]["message"]["content"]
        ok += t.strip() == it[field].strip()
        if t.strip() != it[field].strip() and shown < 4: shown += 1; print("     miss", repr(it["messages"][-1]["content"])[:90], "->", repr(t)[:110], "want", repr(it[field])[:110])
    return f"{ok}/{len(ref['items'])}"


print(LP.name, LP.stat().st_size, "bytes")
for base in ("tiny-chat-f16.gguf", "tiny-chat-q8_0.gguf"):
    llm = Llama(str(OUT / base), lora_path=str(LP), n_ctx=1024, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False)
    llm.eval(ref["prompt"]); d = np.abs(np.array(llm.scores[len(ref["prompt"]) - 1]) - np.array(ref["logits"])).max(); llm.reset()
    print(base, "+ lora: logits vs torch, largest difference", round(float(d), 4)); print("   pirate answers, exact match", run(llm, "want"))
llm = Llama(str(OUT / "tiny-chat-q8_0.gguf"), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False)
ask = lambda: llm.create_chat_completion(messages=[{"role": "user", "content": "What is the capital of France?"}], max_tokens=60, temperature=0)["choices"][0]["message"]["content"]
ad = C.llama_adapter_lora_init(llm.model, str(LP).encode()); assert ad
print("   no adapter :", ask())
for sc in (1.0, 0.5, 0.0):
    C.llama_set_adapters_lora(llm._ctx.ctx, (C.llama_adapter_lora_p_ctypes * 1)(ad), 1, (ctypes.c_float * 1)(sc)); llm.reset(); llm._ctx.kv_cache_clear(); print(f"   scale {sc}  :", ask())
C.llama_set_adapters_lora(llm._ctx.ctx, None, 0, None); llm.reset(); llm._ctx.kv_cache_clear(); print("   removed    :", ask())
print("   plain answers with the adapter removed", run(llm, "plain"))
C.llama_adapter_lora_free(ad)
