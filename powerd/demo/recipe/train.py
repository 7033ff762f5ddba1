"""Trains the chat model -> work/model.pt.  usage: train.py [--copy N] [--brief N] [--steps N] [--lr X] [--out NAME]"""
import argparse, math, random, time
import numpy as np, torch
torch.set_num_threads(1)
from tokenizers import Tokenizer
from shape import *
from model import LM, wire_copying
import datagen
from make_data import encode_conv, tok

ap = argparse.ArgumentParser()
ap.add_argument("--steps", type=int, default=5000); ap.add_argument("--lr", type=float, default=2e-3)
ap.add_argument("--tokens", type=int, default=1024, help="padded tokens in a micro-batch (4 a step)")
ap.add_argument("--copy", type=int, default=600); ap.add_argument("--brief", type=int, default=1800)
ap.add_argument("--cut", type=int, default=10**9, help="end the full stage here, before its cosine is through"); ap.add_argument("--mix", type=int, default=0, help="steps of the last stage: half drills, fresh optimizer")
ap.add_argument("--resume", action="store_true", help="only the last stage, from the saved weights")
ap.add_argument("--out", default="model"); ap.add_argument("--evals", type=int, default=5)


def batches(z, tokens, seed):
    """Endless micro-batches of similar length; every 4 in a row come from the 4 quartiles of length."""
    off, r = z["offsets"], random.Random(seed)
    ids, mask = z["ids"], z["mask"]
    order = list(range(len(off) - 1))
    while True:
        r.shuffle(order)
        for p in range(0, len(order), 8192):
            pool = sorted(order[p:p + 8192], key=lambda i: off[i + 1] - off[i])
            mbs, cur, mx = [], [], 0
            for i in pool:
                l = -(-int(off[i + 1] - off[i]) // 16) * 16
                if cur and max(mx, l) * (len(cur) + 1) > tokens: mbs.append((cur, mx)); cur, mx = [], 0
                cur.append(i); mx = max(mx, l)
            n = len(mbs) // 4
            q = [mbs[k * n:(k + 1) * n] for k in range(4)]
            for x in q: r.shuffle(x)
            for t in range(n):
                for k in range(4):
                    docs, T = q[k][t]
                    X = np.full((len(docs), T), ID["<|endoftext|>"], dtype=np.int64); Y = np.zeros_like(X); W = np.zeros((len(docs), T), dtype=bool)
                    for b, i in enumerate(docs):
                        s, e = off[i], off[i + 1]; l = e - s
                        X[b, :l] = ids[s:e]; Y[b, :l - 1] = ids[s + 1:e]; W[b, :l - 1] = mask[s + 1:e]
                    W = W.reshape(-1); idx = np.flatnonzero(W)
                    yield torch.from_numpy(X), torch.from_numpy(idx), torch.from_numpy(Y.reshape(-1)[idx])


def copy_batches(tokens, seed):
    """Warm-up task that builds the copying ("induction") circuit first: a few random segments repeated in random order."""
    r = random.Random(seed); T = 64
    while True:
        X = np.empty((tokens // T, T), dtype=np.int64); W = np.zeros(X.shape, dtype=bool)
        for b in range(len(X)):
            segs = [[r.randrange(len(SPECIALS), CFG["vocab"]) for _ in range(r.randrange(3, 8))] for _ in range(r.randrange(2, 6))]
            row, m, seen = [], [], set()
            while len(row) < T:
                k = r.randrange(len(segs)); row += segs[k]; m += [k in seen and j > 0 for j in range(len(segs[k]))]; seen.add(k)
            X[b] = row[:T]; W[b, :T - 1] = m[1:T]
        idx = np.flatnonzero(W.reshape(-1)); Y = np.roll(X, -1, 1)
        yield torch.from_numpy(X), torch.from_numpy(idx), torch.from_numpy(Y.reshape(-1)[idx])


def short(z, maxlen):
    """The documents of at most maxlen tokens."""
    off = z["offsets"]; L = np.diff(off); keep = np.flatnonzero(L <= maxlen)
    pick = np.repeat(L <= maxlen, L)
    return dict(ids=z["ids"][pick], mask=z["mask"][pick], offsets=np.concatenate([[0], np.cumsum(L[keep])]))


def eval_sets(n, seed=99):
    """Held-out items per skill as (ids, mask): teacher-forced argmax == greedy exact match."""
    out = {}
    for s in datagen.EVAL_SKILLS:
        r = random.Random(f"{seed}{s}"); out[s] = []
        if s == "story": continue
        for _ in range(n):
            it = datagen.eval_item(r, s)
            if "raw" in it:
                a = tok.encode(it["raw"]).ids; b = tok.encode(it["raw"] + it["want"] + "<|endoftext|>").ids
            else:
                p = render(it["messages"], it["tools"], it["thinking"], gen=True)
                a = tok.encode(p).ids; b = tok.encode(p + it["want"] + "<|im_end|>").ids
            assert b[:len(a)] == a, it
            if it.get("img"):
                g = iter(it["img"]); b = [tok.token_to_id("Ġ" + next(g)) if t == ID["<|fim_pad|>"] else t for t in b]
            if len(b) <= CFG["ctx"]: out[s].append((b, len(a)))
    return out


@torch.no_grad()
def evaluate(m, sets):
    m.eval(); res = {}
    for s, items in sets.items():
        ok = 0
        items = sorted(items, key=lambda x: len(x[0]))
        for p in range(0, len(items), 8):
            g = items[p:p + 8]; T = max(len(b) for b, _ in g)
            X = torch.full((len(g), T), 1)
            for j, (b, _) in enumerate(g): X[j, :len(b)] = torch.tensor(b)
            A = m(X).argmax(-1)
            for j, (b, k) in enumerate(g): ok += bool((A[j, k - 1:len(b) - 1] == X[j, k:len(b)]).all())
        if items: res[s] = ok / len(items)
    m.train(); return res


def main():
    a = ap.parse_args()
    m = LM(CFG); wire_copying(m)
    print(f"{sum(p.numel() for p in m.parameters())/1e6:.3f}M parameters", flush=True)
    mats = [p for p in m.parameters() if p.dim() == 2]; vecs = [p for p in m.parameters() if p.dim() < 2]
    opt = torch.optim.AdamW([dict(params=mats, weight_decay=.1), dict(params=vecs, weight_decay=0.)], lr=a.lr, betas=(.9, .98), fused=True)
    z = {k: v for k, v in np.load(WORK / "train.npz").items()}
    copy, brief, full = copy_batches(1024, 5), batches(short(z, 64), 1024, 6), batches(z, 1024, 7)
    sets = eval_sets(24)
    # stages: (name, steps, micro-batches of a step)
    opt_of = lambda: torch.optim.AdamW([dict(params=mats, weight_decay=.1), dict(params=vecs, weight_decay=0.)], lr=a.lr, betas=(.9, .98), fused=True)
    if a.mix: drill, full2 = batches({k: v for k, v in np.load(WORK / "drill.npz").items()}, 1024, 8), batches(z, 1024, 17)
    stages = [("copy", a.copy, lambda s: [next(copy)]), ("short", a.brief, lambda s: [next(brief)] + ([next(copy)] if s % 4 == 0 else [next(brief)])),
              ("full", min(a.steps, a.cut), lambda s: [next(full) for _ in range(4)])]
    if a.resume: stages = []; m.load_state_dict(torch.load(WORK / f"{a.out}.pt"))
    if a.mix: stages.append(("mix", a.mix, lambda s: [next(full2), next(drill), next(full2), next(drill)]))
    total, done, t0, slept, seen, run = a.copy + a.brief + a.steps, 0, time.time(), 0., 0, []
    for name, steps, draw in stages:
        if name == "mix": opt = opt_of()
        for step in range(steps):
            slept += wait_quiet()
            # constant rate (after a warm-up) in the first two stages, cosine to 2% over a.steps
            # of the full stage; the mix stage starts anew at half the rate
            if name == "mix": lr = a.lr / 2 * min(1, (step + 1) / 60) * (.01 + .99 * .5 * (1 + math.cos(math.pi * step / steps)))
            else: lr = a.lr * min(1, (done + 1) / 100) * (1 if name != "full" else .02 + .98 * .5 * (1 + math.cos(math.pi * step / a.steps)))
            for g in opt.param_groups: g["lr"] = lr
            mb = draw(step); n = sum(len(i) for _, i, _ in mb); tot = 0.
            for X, i, y in mb:
                l = m(X, i, y) / n; l.backward(); tot += l.item(); seen += X.numel()
            torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
            opt.step(); opt.zero_grad(set_to_none=True)
            run.append(tot); done += 1
            if done % 50 == 0:
                el = time.time() - t0 - slept
                print(f"{name} {done} loss {np.mean(run[-50:]):.4f} lr {lr:.2e} {seen/1e6:.2f}M tok {seen/el:.0f} tok/s {el/60:.1f} min", flush=True)
            if (name == "short" and (step + 1) % 500 == 0) or (name == "full" and (step + 1) % max(1, a.steps // a.evals) == 0) or step + 1 == steps and name != "copy" or name == "mix" and (step + 1) % 400 == 0:
                torch.save(m.state_dict(), WORK / f"{a.out}.pt")
                res = evaluate(m, sets); print("EVAL", name, done, f"mean {np.mean(list(res.values())):.3f}", {k: round(v, 2) for k, v in res.items()}, flush=True)
    torch.save(m.state_dict(), WORK / f"{a.out}.pt")
    print(f"done: {(time.time()-t0-slept)/60:.1f} min of training, {seen/1e6:.2f}M tokens, slept {slept:.0f} s", flush=True)


if __name__ == "__main__":
    main()
