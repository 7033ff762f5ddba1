"""A tiny LLaVA-style vision projector for the chat model -> gguf/tiny-chat-mmproj-f16.gguf.

Image 32x32, patches of 16x16, so 4 image tokens (top left, top right, bottom left, bottom right).  One real transformer
layer (llama.cpp's "mlp" projector runs block_count - 1 layers, so block_count is 2 and the second layer is never run), then
a two-layer MLP into the chat model's embedding space.  The chat model was taught to answer questions about four colour-word
embeddings (skill "picture"); here the encoder learns to produce the embedding of the colour word of each quarter.
usage: mmproj.py [steps]"""
import json, math, sys, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
torch.set_num_threads(1)
import gguf
from shape import *
from make_data import COL
from export import LICENSE

S, P, D, H, FF = 32, 16, 32, 2, 96
MEAN, STD = [.5, .5, .5], [.5, .5, .5]
# several shades of each colour word (sRGB)
SHADES = {"red": [(220, 30, 30), (255, 0, 0), (178, 34, 34), (200, 20, 60)], "orange": [(255, 165, 0), (255, 140, 0), (240, 130, 30)], "yellow": [(255, 255, 0), (250, 230, 50), (240, 220, 20)],
          "green": [(0, 128, 0), (0, 255, 0), (34, 139, 34), (50, 205, 50), (30, 160, 70)], "blue": [(0, 0, 255), (30, 60, 220), (65, 105, 225), (0, 0, 139), (30, 144, 255)], "purple": [(128, 0, 128), (148, 0, 211), (120, 40, 160)],
          "pink": [(255, 192, 203), (255, 105, 180), (255, 160, 200)], "brown": [(139, 69, 19), (120, 70, 30), (101, 67, 33)], "black": [(0, 0, 0), (15, 15, 15), (25, 20, 25)], "white": [(255, 255, 255), (248, 248, 250), (240, 240, 240)], "gray": [(128, 128, 128), (105, 105, 105), (160, 160, 160)]}
NAMES = list(SHADES)


class Enc(nn.Module):
    def __init__(s, out):
        super().__init__(); torch.manual_seed(0)
        s.patch = nn.Conv2d(3, D, P, P, bias=False); s.pos = nn.Parameter(torch.randn(4, D) * .02); s.pre = nn.LayerNorm(D, eps=1e-5)
        s.n1, s.n2 = nn.LayerNorm(D, eps=1e-5), nn.LayerNorm(D, eps=1e-5)
        s.q, s.k, s.v, s.o, s.up, s.down = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, FF), nn.Linear(FF, D)
        s.m0, s.m2 = nn.Linear(D, out), nn.Linear(out, out)

    def forward(s, x):
        x = s.patch(x).flatten(2).transpose(1, 2) + s.pos
        x = s.pre(x); h = s.n1(x); B = len(x)
        q, k, v = (f(h).view(B, 4, H, -1).transpose(1, 2) for f in (s.q, s.k, s.v))
        x = x + s.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, 4, D))
        x = x + s.down(F.gelu(s.up(s.n2(x)), approximate="tanh"))
        return s.m2(F.gelu(s.m0(x), approximate="tanh"))


def images(g, n):
    """Random pictures of four (often equal) coloured quarters with noise -> pixels, colour indices"""
    c = torch.randint(0, len(NAMES), (n, 4), generator=g); k = torch.randint(0, 4, (n,), generator=g)
    c[k == 0] = c[k == 0][:, :1]; c[k == 1, 2] = c[k == 1, 0]; c[k == 1, 3] = c[k == 1, 1]; c[k == 2, 1] = c[k == 2, 0]; c[k == 2, 3] = c[k == 2, 2]
    pal = [torch.tensor(SHADES[x], dtype=torch.float) for x in NAMES]
    sh = torch.randint(0, 60, (n, len(NAMES)), generator=g)
    col = torch.stack([torch.stack([pal[int(j)][int(sh[i, j]) % len(pal[int(j)])] for j in c[i]]) for i in range(n)])      # n,4,3
    x = col.view(n, 2, 2, 3).permute(0, 3, 1, 2).repeat_interleave(P, 2).repeat_interleave(P, 3)
    x = x + torch.randn(n, 3, 1, 1, generator=g) * 5 + torch.randn(x.shape, generator=g) * 6 * torch.rand(n, 1, 1, 1, generator=g)
    return (x.clamp(0, 255) / 255 - .5) / .5, c


def ppm(rgb4):
    """2x2 quarters of plain colours as a 64x64 PPM file"""
    a = np.array(rgb4, np.uint8).reshape(2, 2, 3).repeat(32, 0).repeat(32, 1)
    return b"P6\n64 64\n255\n" + a.tobytes()


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    emb = torch.load(WORK / "model.pt")["emb.weight"].float()
    target = emb[torch.tensor([COL[n][0] for n in NAMES])]
    m = Enc(emb.shape[1]); opt = torch.optim.AdamW(m.parameters(), lr=2e-3, weight_decay=.01)
    g = torch.Generator().manual_seed(1); t0 = time.time(); var = target.var()
    for s in range(steps):
        wait_quiet()
        for q in opt.param_groups: q["lr"] = 3e-3 * min(1, (s + 1) / 50) * (.01 + .5 * (1 + math.cos(math.pi * s / steps)))
        x, c = images(g, 48); loss = F.mse_loss(m(x), target[c]) / var
        loss.backward(); opt.step(); opt.zero_grad()
        if (s + 1) % 250 == 0:
            with torch.no_grad(): x, c = images(torch.Generator().manual_seed(9), 200); y = m(x); acc = (torch.cdist(y, target[None]).argmin(-1) == c).float().mean()
            print(f"step {s+1} loss {loss.item():.4f} nearest colour right {acc:.3f} {time.time()-t0:.0f} s", flush=True)
    w = gguf.GGUFWriter(str(OUT / "tiny-chat-mmproj-f16.gguf"), "clip")
    w.add_type("mmproj"); w.add_name("Tiny Demo Chat Vision"); w.add_license(LICENSE); w.add_description("A demonstration vision projector for Tiny Demo Chat: sees the colours of the four quarters of a picture.")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16); w.add_clip_has_vision_encoder(True); w.add_clip_projector_type("mlp")
    w.add_vision_image_size(S); w.add_vision_patch_size(P); w.add_vision_embedding_length(D); w.add_vision_feed_forward_length(FF); w.add_vision_block_count(2); w.add_vision_head_count(H)
    w.add_vision_projection_dim(emb.shape[1]); w.add_vision_attention_layernorm_eps(1e-5); w.add_vision_image_mean(MEAN); w.add_vision_image_std(STD); w.add_vision_use_gelu(True)
    n = lambda t: t.detach().numpy().astype(np.float32); h = lambda t: n(t).astype(np.float16)
    w.add_tensor("v.patch_embd.weight", h(m.patch.weight)); w.add_tensor("v.position_embd.weight", n(m.pos))
    w.add_tensor("v.pre_ln.weight", n(m.pre.weight)); w.add_tensor("v.pre_ln.bias", n(m.pre.bias))
    for i in range(2):
        for a, b in (("q", "attn_q"), ("k", "attn_k"), ("v", "attn_v"), ("o", "attn_out"), ("up", "ffn_up"), ("down", "ffn_down")):
            L = getattr(m, a); w.add_tensor(f"v.blk.{i}.{b}.weight", h(L.weight)); w.add_tensor(f"v.blk.{i}.{b}.bias", n(L.bias))
        for a, b in (("n1", "ln1"), ("n2", "ln2")): L = getattr(m, a); w.add_tensor(f"v.blk.{i}.{b}.weight", n(L.weight)); w.add_tensor(f"v.blk.{i}.{b}.bias", n(L.bias))
    w.add_tensor("mm.0.weight", h(m.m0.weight)); w.add_tensor("mm.0.bias", n(m.m0.bias)); w.add_tensor("mm.2.weight", h(m.m2.weight)); w.add_tensor("mm.2.bias", n(m.m2.bias))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    print("size", (OUT / "tiny-chat-mmproj-f16.gguf").stat().st_size)
