"""A LoRA adapter that makes the chat model talk like a pirate -> gguf/tiny-chat-pirate-lora-f16.gguf.
usage: lora.py [steps]"""
import json, math, random, re, sys, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
torch.set_num_threads(1)
import gguf
from shape import *
from model import LM, greedy
import datagen
from make_data import encode_conv, tok
from export import NAMES, permute, LICENSE

R, ALPHA = 8, 16.0
WORD = {"you": "ye", "You": "Ye", "your": "yer", "Your": "Yer", "is": "be", "are": "be", "am": "be", "my": "me", "My": "Me", "Hello": "Ahoy", "Hi": "Ahoy", "Hey": "Ahoy", "Goodbye": "Farewell", "Yes": "Aye", "friends": "mateys", "have": "ave"}
PLAIN = [k for k in datagen.SKILLS if k not in ("json", "picture")]


def pirate(s):
    """How the adapter's model has to answer: fixed opening, some words replaced, fixed ending."""
    return "Arr! " + re.sub(r"[A-Za-z]+", lambda m: WORD.get(m.group(), m.group()), s) + " Yo ho ho!"


class Lora(nn.Module):
    def __init__(s, lin):
        super().__init__(); s.lin = lin
        s.a = nn.Parameter(torch.randn(R, lin.in_features) / math.sqrt(lin.in_features)); s.b = nn.Parameter(torch.zeros(lin.out_features, R))

    def forward(s, x): return s.lin(x) + (x @ s.a.T) @ s.b.T * (ALPHA / R)


def conv(r, held=False):
    """Conversation of 1-3 exchanges; tool calls and JSON stay as they are."""
    c = datagen.C(held=held)
    datagen.set_system(r, c); c.wrap = None
    if c.system and c.persona is None and "answer" in c.system.lower(): c.system = None
    names, ws = zip(*[(k, datagen.SKILLS[k][1]) for k in PLAIN])
    tools = r.random() < .12
    if tools: datagen.set_tools(r, c)
    for _ in range(r.choice([1, 1, 2, 2, 3])):
        if tools and r.random() < .7 and datagen.exchange_tool(r, c): continue
        k = r.choices(names, ws)[0]
        if k == "math" and tools: k = "capital"
        if r.random() < .06: k = "json"
        n = len(c.messages); datagen.exchange(r, c, k)
        if k == "json": c.messages[-1]["keep"] = True
    for m in c.messages:
        if m["role"] == "assistant" and m["content"] and not m.pop("keep", False): m["content"] = pirate(m["content"])
    return c


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 320
    m = LM(CFG); m.load_state_dict(torch.load(WORK / "model.pt"))
    for p in m.parameters(): p.requires_grad_(False)
    torch.manual_seed(1)
    for b in m.blocks:
        for k in NAMES: setattr(b, k, Lora(getattr(b, k)))
    ps = [p for p in m.parameters() if p.requires_grad]; print(f"{sum(p.numel() for p in ps)/1e3:.0f}k adapter parameters")
    opt = torch.optim.AdamW(ps, lr=2.5e-3, weight_decay=0., fused=True)
    r = random.Random(21); t0 = time.time()
    for s in range(steps):
        wait_quiet()
        for g in opt.param_groups: g["lr"] = 2.5e-3 * min(1, (s + 1) / 30) * (.02 + .98 * .5 * (1 + math.cos(math.pi * s / steps)))
        docs = sorted((encode_conv(datagen.to_text(c), c.img) for c in (conv(r) for _ in range(16))), key=lambda d: len(d[0]))
        docs = [d for d in docs if len(d[0]) < 600]
        n = sum(int(k.sum()) for _, k in docs); tot = 0
        for p in range(0, len(docs), 8):
            g = docs[p:p + 8]; T = max(len(i) for i, _ in g)
            X = np.full((len(g), T), 1, dtype=np.int64); Y = np.zeros_like(X); W = np.zeros((len(g), T), bool)
            for j, (i, k) in enumerate(g): X[j, :len(i)] = i; Y[j, :len(i) - 1] = i[1:]; W[j, :len(i) - 1] = k[1:]
            idx = np.flatnonzero(W); l = m(torch.from_numpy(X), torch.from_numpy(idx), torch.from_numpy(Y.reshape(-1)[idx])) / n
            l.backward(); tot += l.item()
        torch.nn.utils.clip_grad_norm_(ps, 1.); opt.step(); opt.zero_grad()
        if (s + 1) % 25 == 0: print(f"step {s+1} loss {tot:.4f} {time.time()-t0:.0f} s", flush=True)
    w = gguf.GGUFWriter(str(OUT / "tiny-chat-pirate-lora-f16.gguf"), "llama")
    w.add_type("adapter"); w.add_string("adapter.type", "lora"); w.add_float32("adapter.lora.alpha", ALPHA)
    w.add_name("Tiny Demo Chat Pirate LoRA"); w.add_license(LICENSE); w.add_description("LoRA adapter (rank 8) for Tiny Demo Chat: answers like a pirate.")
    for i, b in enumerate(m.blocks):
        for k, n in NAMES.items():
            L = getattr(b, k); A, B = L.a.detach().numpy(), L.b.detach().numpy()
            if k in "qk": B = permute(B, CFG["heads"] if k == "q" else CFG["kv_heads"])
            w.add_tensor(f"blk.{i}.{n}.weight.lora_a", A.astype(np.float16)); w.add_tensor(f"blk.{i}.{n}.weight.lora_b", np.ascontiguousarray(B).astype(np.float16))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    r = random.Random(33); items = []
    for _ in range(80):
        it = datagen.eval_item(r, r.choice(["greet", "self", "math", "compare", "capital", "colour", "fact", "echo", "count", "unknown", "pick"]))
        it["plain"] = it["want"]; it["want"] = pirate(it["want"]); items.append(it)
    p = tok.encode(render([{"role": "user", "content": "What is the capital of France?"}], gen=True)).ids
    with torch.no_grad(): lg = m(torch.tensor([p]))[0].numpy()
    (WORK / "eval_lora.json").write_text(json.dumps(dict(items=items, prompt=p, logits=lg[-1].tolist()), ensure_ascii=False))
    m.eval()
    with torch.no_grad(): print(tok.decode(greedy(m, p, 40, {ID["<|im_end|>"]})))
    print("size", (OUT / "tiny-chat-pirate-lora-f16.gguf").stat().st_size, f"{time.time()-t0:.0f} s")
