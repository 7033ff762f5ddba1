"""Checks the embedding GGUF with llama-cpp-python: tokens, vectors against torch, retrieval."""
import ctypes, json, sys
import numpy as np
from llama_cpp import Llama, llama_cpp as C
from shape import *
from check import quantize

ref = json.loads((WORK / "ref_embed.json").read_text())
f16, q8 = OUT / "tiny-embed-f16.gguf", OUT / "tiny-embed-q8_0.gguf"
quantize(f16, q8, C.LLAMA_FTYPE_MOSTLY_Q8_0)
for p in (f16, q8):
    llm = Llama(str(p), embedding=True, n_ctx=256, n_threads=1, n_threads_batch=1, verbose=False)
    same = sum(llm.tokenize(t.encode(), add_bos=True, special=False) == i for t, i in zip(ref["texts"], ref["ids"]))
    E = np.array([llm.embed(t, normalize=True) for t in ref["texts"]]); R = np.array(ref["emb"])
    A = np.array([llm.embed(a, normalize=True) for a, _ in ref["pairs"]]); B = np.array([llm.embed(b, normalize=True) for _, b in ref["pairs"]])
    print(p.name, p.stat().st_size, "bytes; tokens equal", f"{same}/{len(ref['texts'])}", "cosine with torch min", round(float((E * R).sum(-1).min()), 5), "dims", E.shape[1], "retrieval top-1", float(((A @ B.T).argmax(-1) == np.arange(len(A))).mean()))
    if same < len(ref["texts"]):
        for t, i in zip(ref["texts"], ref["ids"]):
            g = llm.tokenize(t.encode(), add_bos=True, special=False)
            if g != i: print("   differs", repr(t), g, i); break
docs = ["Paris is the capital of France.", "The price of the bread is 10 euros.", "It is sunny in Madrid.", "Grass is green.", "Anna is a teacher.", "A cow says moo."]
D = np.array([llm.embed(d, normalize=True) for d in docs])
for q in ["Which city is the capital of France?", "How much does bread cost?", "weather in Madrid", "What colour is grass?", "What is Anna's job?", "what sound does the cow make"]:
    s = D @ np.array(llm.embed(q, normalize=True)); print(f"   {q!r} -> {docs[int(s.argmax())]!r} {s.max():.2f} (next {np.sort(s)[-2]:.2f})")
print("   create_embedding:", len(llm.create_embedding(["a", "b"])["data"]), "items")
