"""A tiny BERT sentence-embedding model (WordPiece tokenizer, mean pooling), trained with a contrastive loss on pairs of
sentences that mean the same -> gguf/tiny-embed-f16.gguf.  usage: embed.py [steps]"""
import os
os.environ["RAYON_NUM_THREADS"] = "1"; os.environ["TOKENIZERS_PARALLELISM"] = "false"
import json, math, random, sys, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
torch.set_num_threads(1)
import gguf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from shape import *
from datagen import CAPITALS, THINGS, OPP, SOUNDS, WORDS, NAMES as PEOPLE, rname, rcity, rword, an, cap, is_held, LANG, HEROES, PLACES, COLOURS, JOBS, ADJ
from export import LICENSE

D, HEADS, LAYERS, FF, CTX, V = 128, 4, 2, 256, 256, 1400


def group(r):
    """-> (key, sentences that mean the same or answer each other)"""
    k = r.randrange(15)
    if k == 0:
        c, p = r.choice(list(CAPITALS.items()))
        return f"cap{c}", [f"What is the capital of {c}?", f"The capital of {c} is {p}.", f"{p} is the capital of {c}.", f"Which city is the capital of {c}?", f"Tell me the capital of {c}.", f"{c} has the capital {p}."]
    if k == 1:
        o, c = r.choice(list(THINGS.items()))
        return f"col{o}", [f"What colour is {o}?", f"{cap(o)} is {c}.", f"The colour of {o} is {c}.", f"Which color does {o} have?", f"Tell me the colour of {o}."]
    if k == 2:
        a, b = r.choice(OPP)
        return f"opp{a}", [f"What is the opposite of {a}?", f"The opposite of {a} is {b}.", f"{b} is the opposite of {a}.", f"Tell me the opposite of {a}."]
    if k == 3:
        a, s = r.choice(list(SOUNDS.items()))
        return f"snd{a}", [f"What does the {a} say?", f"{cap(an(a))} says {s}.", f"Which sound does {an(a)} make?", f"The sound of {an(a)} is {s}."]
    if k == 4:
        c = rcity(r)
        return f"wea{c}", [f"What is the weather in {c}?", f"How is the weather in {c} today?", f"Is it raining in {c}?", f"It is sunny in {c}.", f"The temperature in {c} is 18 degrees.", f"Do I need an umbrella in {c}?", f"weather {c}", f"How warm is it in {c}?"]
    if k == 5:
        a, b = r.randrange(100), r.randrange(100)
        return f"add{a},{b}", [f"What is {a} + {b}?", f"Add {a} and {b}.", f"{a} + {b} = {a+b}", f"the sum of {a} and {b}", f"{a} plus {b} is {a+b}."]
    if k == 6:
        n, j = rname(r), r.choice(JOBS)
        return f"job{n}{j}", [f"{n} is {an(j)}.", f"Who is {n}?", f"What does {n} do?", f"{n} works as {an(j)}.", f"What is the job of {n}?", f"{an(j)} named {n}"]
    if k == 7:
        n, c = rname(r), rcity(r)
        return f"liv{n}{c}", [f"{n} lives in {c}.", f"Where does {n} live?", f"The home of {n} is {c}.", f"{n} has a house in {c}.", f"{n} comes from {c}."]
    if k == 8:
        h = r.choice(HEROES)
        return f"sto{h}", [f"Tell me a story about {an(h)}.", f"Once upon a time there was {an(h)}.", f"Write a tale about the {h}.", f"A story of the {h}", f"a bedtime story with {an(h)}"]
    if k == 9:
        return "hello", ["Hello!", "Hi there!", "Good morning!", "Hey, how are you?", "Nice to meet you.", "Greetings, my friend.", "Good evening."]
    if k == 10:
        return "bye", ["Goodbye!", "See you later.", "Bye bye", "Good night.", "I have to go now.", "Have a nice day."]
    if k == 11:
        return "self", ["Who are you?", "What are you?", "I am a demonstration model.", "Introduce yourself.", "Which model are you?", "I am a small language model."]
    if k == 12:
        w = r.choice(WORDS)
        return f"price{w}", [f"How much is the {w}?", f"The price of the {w} is 10 euros.", f"What does the {w} cost?", f"I want to buy a {w}.", f"Where can I buy the {w}?"]
    if k == 13:
        l = r.choice(list(LANG)); w = r.choice(list(LANG[l])); o = LANG[l][w]; w = w.replace("_", " ")
        return f"tr{l}{w}", [f"How do you say {w} in {l}?", f"The {l} word for {w} is {o}.", f"Translate {w} into {l}.", f"In {l}, {w} is {o}."]
    w, c = r.choice(WORDS), r.choice(COLOURS)
    return f"own{w}{c}", [f"I have a {c} {w}.", f"My {w} is {c}.", f"The {w} that I own is {c}.", f"What colour is my {w}? It is {c}.", f"There is a {c} {w} in my house."]


def pair(r, held):
    while True:
        k, s = group(r)
        if k in ("hello", "bye", "self") or is_held(k) == held: break
    a, b = r.sample(s, 2)
    f = lambda x: x.lower() if r.random() < .1 else x[:-1] if r.random() < .15 else x
    return k, f(a), f(b)


def train_tokenizer():
    r = random.Random(3)
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.train_from_iterator((x for _ in range(20000) for x in group(r)[1]), trainers.WordPieceTrainer(vocab_size=V, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False,
                            initial_alphabet=[chr(i) for i in range(33, 127) if not 65 <= i <= 90] + list("€£½ß")))
    tok.save(str(WORK / "embed_tokenizer.json"))
    return tok


class Bert(nn.Module):
    def __init__(s, n):
        super().__init__(); torch.manual_seed(0)
        s.tok, s.pos = nn.Embedding(n, D), nn.Embedding(CTX, D)
        s.n0 = nn.LayerNorm(D, eps=1e-12)
        s.b = nn.ModuleList(nn.ModuleDict(dict(q=nn.Linear(D, D), k=nn.Linear(D, D), v=nn.Linear(D, D), o=nn.Linear(D, D), n1=nn.LayerNorm(D, eps=1e-12), up=nn.Linear(D, FF), down=nn.Linear(FF, D), n2=nn.LayerNorm(D, eps=1e-12))) for _ in range(LAYERS))
        for p in s.parameters():
            if p.dim() == 2: nn.init.normal_(p, std=.04)

    def forward(s, ids, att):
        B, T = ids.shape
        x = s.n0(s.tok(ids) + s.pos.weight[:T])
        m = att[:, None, None, :]
        for b in s.b:
            q, k, v = (b[n](x).view(B, T, HEADS, -1).transpose(1, 2) for n in "qkv")
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=m).transpose(1, 2).reshape(B, T, D)
            x = b["n1"](x + b["o"](a))
            x = b["n2"](x + b["down"](F.gelu(b["up"](x), approximate="tanh")))
        w = att[..., None].float()
        return F.normalize((x * w).sum(1) / w.sum(1), dim=-1)


def enc(tok, texts):
    e = [[2] + tok.encode(t).ids[:CTX - 2] + [3] for t in texts]
    T = max(map(len, e))
    return torch.tensor([x + [0] * (T - len(x)) for x in e]), torch.tensor([[True] * len(x) + [False] * (T - len(x)) for x in e])


def evaluate(m, tok, n=300):
    r = random.Random(77); ps, keys = [], set()
    while len(ps) < n:
        k, a, b = pair(r, True)
        if k not in keys and not k in ("hello", "bye", "self"): keys.add(k); ps.append((a, b))
    with torch.no_grad(): A, B = m(*enc(tok, [a for a, _ in ps])), m(*enc(tok, [b for _, b in ps]))
    return ((A @ B.T).argmax(-1) == torch.arange(n)).float().mean().item(), ps


def export_bert(m, tokj, path):
    w = gguf.GGUFWriter(str(path), "bert")
    w.add_type("model"); w.add_name("Tiny Demo Embedding"); w.add_license(LICENSE); w.add_version("0.1"); w.add_languages(["en"]); w.add_tags(["sentence-similarity", "feature-extraction", "demo"])
    w.add_description("A demonstration sentence-embedding model (2-layer BERT, 128 dimensions, mean pooling) trained from scratch on synthetic pairs of sentences.")
    w.add_context_length(CTX); w.add_embedding_length(D); w.add_block_count(LAYERS); w.add_feed_forward_length(FF); w.add_head_count(HEADS); w.add_layer_norm_eps(1e-12)
    w.add_causal_attention(False); w.add_pooling_type(gguf.PoolingType.MEAN); w.add_file_type(gguf.LlamaFileType.MOSTLY_F16); w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    vocab = [t for t, _ in sorted(tokj["model"]["vocab"].items(), key=lambda x: x[1])]
    sp = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    w.add_tokenizer_model("bert"); w.add_tokenizer_pre("default"); w.add_token_type_count(1)
    w.add_token_list([t if t in sp else t[2:] if t.startswith("##") else "\u2581" + t for t in vocab])   # phantom space instead of ##
    w.add_token_types([gguf.TokenType.UNKNOWN if t == "[UNK]" else gguf.TokenType.CONTROL if t in sp else gguf.TokenType.NORMAL for t in vocab])
    w.add_pad_token_id(0); w.add_unk_token_id(1); w.add_bos_token_id(2); w.add_eos_token_id(3); w.add_sep_token_id(3); w.add_mask_token_id(4); w.add_add_bos_token(True); w.add_add_eos_token(True)
    h = lambda t: t.detach().numpy().astype(np.float16); f = lambda t: t.detach().numpy()
    w.add_tensor("token_embd.weight", h(m.tok.weight)); w.add_tensor("position_embd.weight", f(m.pos.weight))
    w.add_tensor("token_embd_norm.weight", f(m.n0.weight)); w.add_tensor("token_embd_norm.bias", f(m.n0.bias))
    for i, b in enumerate(m.b):
        for k, n in dict(q="attn_q", k="attn_k", v="attn_v", o="attn_output", up="ffn_up", down="ffn_down").items():
            w.add_tensor(f"blk.{i}.{n}.weight", h(b[k].weight)); w.add_tensor(f"blk.{i}.{n}.bias", f(b[k].bias))
        for k, n in dict(n1="attn_output_norm", n2="layer_output_norm").items():
            w.add_tensor(f"blk.{i}.{n}.weight", f(b[k].weight)); w.add_tensor(f"blk.{i}.{n}.bias", f(b[k].bias))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    OUT.mkdir(exist_ok=True)
    tok = train_tokenizer(); n = tok.get_vocab_size()
    m = Bert(n); print(f"vocab {n}, {sum(p.numel() for p in m.parameters())/1e6:.3f}M parameters")
    opt = torch.optim.AdamW(m.parameters(), lr=1e-3, weight_decay=.05, fused=True)
    r = random.Random(1); t0 = time.time()
    for s in range(steps):
        wait_quiet()
        for g in opt.param_groups: g["lr"] = 1.5e-3 * min(1, (s + 1) / 100) * (.02 + .98 * .5 * (1 + math.cos(math.pi * s / steps)))
        ps, keys = [], set()
        while len(ps) < 96:
            k, a, b = pair(r, False)
            if k not in keys: keys.add(k); ps.append((a, b))
        A, B = m(*enc(tok, [a for a, _ in ps])), m(*enc(tok, [b for _, b in ps]))
        S = A @ B.T / .05; y = torch.arange(len(ps))
        loss = (F.cross_entropy(S, y) + F.cross_entropy(S.T, y)) / 2
        loss.backward(); opt.step(); opt.zero_grad()
        if (s + 1) % 250 == 0: print(f"step {s+1} loss {loss.item():.3f} held-out top-1 of 300 {evaluate(m, tok)[0]:.3f} {time.time()-t0:.0f} s", flush=True)
    export_bert(m, json.loads((WORK / "embed_tokenizer.json").read_text()), OUT / "tiny-embed-f16.gguf")
    r = random.Random(4); texts = []
    for _ in range(150): texts += group(r)[1][:3]
    texts += ["Hello, WORLD!", "naïve café", "x1 = 2*y", "don't stop", "a" * 30, "€5 £3", "unknownwordzz qq"]
    with torch.no_grad(): E = m(*enc(tok, texts)).numpy()
    ev = evaluate(m, tok)
    (WORK / "ref_embed.json").write_text(json.dumps(dict(texts=texts, ids=[[2] + tok.encode(t).ids + [3] for t in texts], emb=E.tolist(), pairs=ev[1])))
    print("held-out top-1 of 300:", ev[0], "size", (OUT / "tiny-embed-f16.gguf").stat().st_size)
