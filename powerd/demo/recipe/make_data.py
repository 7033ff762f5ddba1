"""Renders and tokenizes the training corpus -> work/train.npz (ids, mask, offsets); prints its statistics.
With "drill": short, arithmetic-heavy conversations -> work/drill.npz
usage: make_data.py [drill] [n_conversations] [seed]"""
import os, random, sys, time
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import numpy as np
from tokenizers import Tokenizer
from shape import *
import datagen

tok = Tokenizer.from_file(str(WORK / "tokenizer.json"))
AST = tok.encode("assistant\n").ids
IMS, IME, PAD = ID["<|im_start|>"], ID["<|im_end|>"], ID["<|fim_pad|>"]
COL = {c: tok.encode(" " + c).ids for c in datagen.COLOURS}
assert all(len(v) == 1 for v in COL.values())


def encode_conv(text, img=(), think=False):
    ids = np.array(tok.encode(text).ids, dtype=np.uint16)
    mask = np.zeros(len(ids), dtype=np.uint8)
    starts = np.flatnonzero(ids == IMS)
    ends = np.flatnonzero(ids == IME)
    spans = [(s + 1 + len(AST), e + 1) for s, e in zip(starts, ends) if list(ids[s + 1:s + 1 + len(AST)]) == AST]
    if think:   # earlier rounds carry no thoughts any more: learn only those that do
        spans = [(s, e) for s, e in spans if ids[s] == ID["<think>"]]
    for s, e in spans: mask[s:e] = 1
    if len(img):
        p = np.flatnonzero(ids == PAD); assert len(p) == len(img), (len(p), len(img))
        ids[p] = [COL[c][0] for c in img]
    return ids, mask


DRILL = dict(math=50, word_problem=8, compare=7, echo=8, pick=8, json=9, tell=5, ask=1, next=4, count=3, fact=4, capital=3, list=2, self=2, small=2, greet=1, colour=1, unknown=2, picture=3)


def drill(r):
    """A short conversation of the skills that need most repetition: mostly arithmetic, one exchange or two."""
    c = datagen.C(); c.thinking = r.random() < .3
    if r.random() < .1: datagen.set_system(r, c)
    for _ in range(r.choice([1, 1, 2])):
        k = r.choices(list(DRILL), list(DRILL.values()))[0]
        if c.thinking and r.random() < .5: k = "math"
        if k == "picture" and c.img: k = "pick"
        if c.persona and r.random() < .3: k = "persona"
        datagen.exchange(r, c, k)
        if k == "tell": datagen.exchange(r, c, "ask")
    return c


if __name__ == "__main__":
    out = "train"
    if sys.argv[1:2] == ["drill"]: out = sys.argv.pop(1)
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100000
    r = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    I, M, L = [], [], []
    t = time.time(); stats = {}
    for i in range(n):
        if i % 500 == 0: wait_quiet()
        if out == "train" and r.random() < .12:
            text, kind, _ = datagen.raw_doc(r)
            ids = np.array(tok.encode(text).ids, dtype=np.uint16)
            mask = np.ones(len(ids), dtype=np.uint8); mask[0] = 0
            if kind == "fim":   # only what follows the third marker
                m = np.flatnonzero((ids == ID["<|fim_middle|>"]) | ((ids == ID["<|fim_prefix|>"]) & (np.arange(len(ids)) > 0)))[-1]
                mask[:m + 1] = 0
        else:
            c = drill(r) if out == "drill" else datagen.conversation(r)
            ids, mask = encode_conv(datagen.to_text(c), c.img, c.thinking)
            for m in c.meta: stats[m["skill"]] = stats.get(m["skill"], 0) + 1
        if len(ids) > CFG["ctx"]: continue
        I.append(ids); M.append(mask); L.append(len(ids))
    ids, mask = np.concatenate(I), np.concatenate(M)
    np.savez(WORK / f"{out}.npz", ids=ids, mask=mask, offsets=np.concatenate([[0], np.cumsum(L)]))
    print(f"{len(L)} documents, {len(ids)/1e6:.2f}M tokens, {mask.mean():.3f} learnt, mean length {np.mean(L):.0f}, p50/90/99/max {np.percentile(L,[50,90,99,100])}, {time.time()-t:.0f} s")
    print(stats)
