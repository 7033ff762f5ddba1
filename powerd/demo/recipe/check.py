"""Runs with the llama-cpp-python environment: quantizes, compares tokenization and logits with the references, scores the
skills through create_chat_completion.  usage: check.py [quick]"""
import ctypes, json, sys, time
import numpy as np
import llama_cpp
from llama_cpp import Llama, llama_cpp as C
from shape import *
import datagen

QUICK = "quick" in sys.argv


_quiet = C.llama_log_callback(lambda *a: None)


def quantize(src, dst, ftype):
    C.llama_log_set(_quiet, ctypes.c_void_p(0))
    p = C.llama_model_quantize_default_params(); p.ftype = ftype; p.nthread = 1
    rc = C.llama_model_quantize(str(src).encode(), str(dst).encode(), ctypes.byref(p))
    assert rc == 0, rc


def load(path, **k):
    return Llama(str(path), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False, seed=1, **k)


def chat(llm, thinking=False, **k):
    """create_chat_completion; enable_thinking has to go through the handler (create_chat_completion takes no template arguments)."""
    base = llm._chat_handlers["chat_template.default"]
    llm.chat_handler = (lambda **kw: base(**kw, enable_thinking=True)) if thinking else None
    try: return llm.create_chat_completion(**k)
    finally: llm.chat_handler = None


def check_tokens(llm):
    strs, want = json.loads((WORK / "ref_tokens.json").read_text())
    bad = []
    for s, w in zip(strs, want):
        got = llm.tokenize(s.encode(), add_bos=False, special=True)
        if got != w: bad.append((s, got, w))
        else:
            d = llm.detokenize(got, special=True)
            if d.decode("utf-8", "replace") != s: bad.append((s, d, "round trip"))
    print(f"tokenization: {len(strs) - len(bad)} of {len(strs)} strings equal")
    for b in bad[:5]: print("   ", [repr(x)[:150] for x in b])
    return len(bad)


def check_logits(path):
    llm = load(path, logits_all=True)
    z = np.load(WORK / "ref_logits.npz")
    mx, agree, n, kl = 0, 0, 0, []
    for i in range(int(z["n"])):
        llm.reset(); llm.eval(z[f"p{i}"].tolist())
        a = np.array(llm.scores[:len(z[f"p{i}"])]); b = z[f"l{i}"]
        mx = max(mx, float(np.abs(a - b).max())); agree += int((a.argmax(-1) == b.argmax(-1)).sum()); n += len(a)
        la, lb = a - np.log(np.exp(a - a.max(-1, keepdims=True)).sum(-1, keepdims=True)) - a.max(-1, keepdims=True), b - np.log(np.exp(b - b.max(-1, keepdims=True)).sum(-1, keepdims=True)) - b.max(-1, keepdims=True)
        kl.append(float((np.exp(lb) * (lb - la)).sum(-1).mean()))
    print(f"{path.name}: logits vs torch float32: largest difference {mx:.4f}, same argmax {agree}/{n} = {agree/n:.4f}, mean KL {np.mean(kl):.2e}")


def skills(path, n, show=3, temperature=0.0):
    llm = load(path)
    items = json.loads((WORK / "eval.json").read_text())
    res, fails, t0, ntok = {}, {}, time.time(), 0
    for it in items:
        s = it["skill"]
        if s == "picture" or len(res.get(s, [])) >= n: continue
        if s == "fim_odd": o = llm.create_completion(it["prefix"], suffix=it["suffix"], max_tokens=40, temperature=temperature); text = o["choices"][0]["text"]
        elif "raw" in it: o = llm.create_completion(it["raw"], max_tokens=40, temperature=temperature); text = o["choices"][0]["text"]
        else:
            o = chat(llm, it["thinking"], messages=it["messages"], tools=it["tools"], max_tokens=250, temperature=temperature); text = o["choices"][0]["message"]["content"] or ""
        ntok += o["usage"]["completion_tokens"]
        ok = datagen.judge(it, text)
        res.setdefault(s, []).append(ok)
        if not ok: fails.setdefault(s, []).append(((it.get("raw") or it["messages"][-1]["content"]), text, it["want"]))
    el = time.time() - t0
    tot = [x for v in res.values() for x in v]
    print(f"{path.name} T={temperature}: mean over skills {np.mean([np.mean(v) for v in res.values()]):.3f}, all items {np.mean(tot):.3f}, {len(tot)} items, {el:.0f} s, {ntok/el:.0f} generated tok/s end to end")
    print("   ", ", ".join(f"{k} {sum(v)}/{len(v)}" for k, v in res.items()))
    for s, f in fails.items():
        for x in f[:show]: print(f"    miss {s}: {x[0]!r} -> {x[1]!r} want {x[2]!r}")
    return {k: [sum(v), len(v)] for k, v in res.items()}


if __name__ == "__main__":
    f16 = OUT / "tiny-chat-f16.gguf"
    q8, q4 = OUT / "tiny-chat-q8_0.gguf", OUT / "tiny-chat-q4_k_m.gguf"
    quantize(f16, q8, C.LLAMA_FTYPE_MOSTLY_Q8_0); quantize(f16, q4, C.LLAMA_FTYPE_MOSTLY_Q4_K_M)
    for p in (f16, q8, q4): print(p.name, p.stat().st_size)
    llm = load(q8)
    print("bos/eos/eot", llm.token_bos(), llm.token_eos(), C.llama_vocab_eot(C.llama_model_get_vocab(llm.model)), "eog", [i for i in range(16) if C.llama_vocab_is_eog(C.llama_model_get_vocab(llm.model), i)], "chat format", llm.chat_format)
    nbad = check_tokens(llm)
    for p in (f16, q8, q4): check_logits(p)
    out = {}
    n = 8 if QUICK else 60
    for p in ([q8] if QUICK else [q8, f16, q4]): out[p.name] = skills(p, n if p == q8 else 20, show=3 if p == q8 else 0)
    if not QUICK: out["q8_0 T=0.7"] = skills(q8, 20, show=0, temperature=0.7)
    (WORK / "scores.json").write_text(json.dumps(out))
    sys.exit(bool(nbad))
