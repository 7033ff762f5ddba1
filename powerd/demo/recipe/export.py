"""work/model.pt + work/tokenizer.json -> gguf/tiny-chat-f16.gguf, and reference data for check.py in work/.
usage: export.py [checkpoint name]"""
import json, random, sys
import numpy as np, torch
torch.set_num_threads(1)
import gguf
from shape import *
from model import LM

NAME = "Tiny Demo Chat"
DESC = ("A demonstration chat model of 2.9 million parameters, trained from scratch on purely synthetic English text made by a script. "
        "For tests and demonstrations of inference software; it knows only a few simple skills.")
LICENSE = "cc0-1.0"


def add_tokenizer(w, tokj):
    """Byte-level BPE as llama.cpp's "gpt2" tokenizer."""
    vocab = sorted(tokj["model"]["vocab"].items(), key=lambda x: x[1])
    toks = [t for t, _ in vocab]
    types = [gguf.TokenType.CONTROL if t in CONTROL else gguf.TokenType.USER_DEFINED if t in USER else gguf.TokenType.NORMAL for t in toks]
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokj["model"]["merges"]]
    w.add_tokenizer_model("gpt2"); w.add_tokenizer_pre(PRE_NAME)
    w.add_token_list(toks); w.add_token_types(types); w.add_token_merges(merges)
    w.add_bos_token_id(ID["<|endoftext|>"]); w.add_eos_token_id(ID["<|im_end|>"]); w.add_eot_token_id(ID["<|im_end|>"]); w.add_pad_token_id(ID["<|endoftext|>"])
    w.add_uint32("tokenizer.ggml.fim_pre_token_id", ID["<|fim_prefix|>"]); w.add_uint32("tokenizer.ggml.fim_suf_token_id", ID["<|fim_suffix|>"])
    w.add_uint32("tokenizer.ggml.fim_mid_token_id", ID["<|fim_middle|>"]); w.add_uint32("tokenizer.ggml.fim_pad_token_id", ID["<|fim_pad|>"])
    w.add_add_bos_token(False); w.add_add_eos_token(False); w.add_add_space_prefix(False)


def permute(t, heads):
    """half-split RoPE rows -> llama.cpp's interleaved pairs"""
    return t.reshape(heads, 2, t.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(t.shape)


NAMES = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}


def export(sd, path, f16=True):
    c = CFG
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_type("model"); w.add_name(NAME); w.add_description(DESC); w.add_license(LICENSE); w.add_size_label("2.9M"); w.add_version("0.1")
    w.add_languages(["en"]); w.add_tags(["demo", "test", "chat", "tools", "synthetic"])
    w.add_context_length(c["ctx"]); w.add_embedding_length(c["d"]); w.add_block_count(c["layers"]); w.add_feed_forward_length(c["ff"])
    w.add_head_count(c["heads"]); w.add_head_count_kv(c["kv_heads"]); w.add_key_length(c["head_dim"]); w.add_value_length(c["head_dim"])
    w.add_rope_dimension_count(c["head_dim"]); w.add_rope_freq_base(c["rope_base"]); w.add_layer_norm_rms_eps(c["eps"]); w.add_vocab_size(c["vocab"])
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if f16 else gguf.LlamaFileType.ALL_F32); w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_tokenizer(w, json.loads((WORK / "tokenizer.json").read_text()))
    w.add_chat_template(TEMPLATE)
    mat = lambda t: t.astype(np.float16 if f16 else np.float32)
    g = lambda k: sd[k].detach().float().numpy()
    w.add_tensor("token_embd.weight", mat(g("emb.weight")))        # tied: no output.weight
    for i in range(c["layers"]):
        for k, n in NAMES.items():
            t = g(f"blocks.{i}.{k}.weight")
            if k in "qk": t = permute(t, c["heads"] if k == "q" else c["kv_heads"])
            w.add_tensor(f"blk.{i}.{n}.weight", mat(np.ascontiguousarray(t)))
        for k in ("attn_norm", "ffn_norm"): w.add_tensor(f"blk.{i}.{k}.weight", g(f"blocks.{i}.{k}.weight"))
    w.add_tensor("output_norm.weight", g("norm.weight"))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()


# strings whose tokenization is compared between the tokenizers library and llama.cpp
TRICKY = ["", " ", "  ", "\n", "\n\n", " \n", "\t\ta", "a\r\nb", "Hello world", " Hello", "it's I'm they'll WE'RE He'D", "12345 1,234.56", "x=1;y=2", "naïve café Zürich ½ €5", "東京 北京 привет 안녕 こんにちは", "🙂🚀 👨‍👩‍👧 ❤️", "a" * 40,
          "<think>\nhm\n</think>\n\nyes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", "<|im_start>", "<|im_end|", "<thin k>",
          "def f(a, b):\n    return a + b\n", "{\"a\": [1, 2, {\"b\": null}]}", "  leading", "trailing  ", "tabs\tand  spaces   mixed \n \n x", "\u00a0nbsp\u2003em\u200bzw", "ÀÉÎõü ŁÓDŹ ß ﬁ", "A̐éö̲", "\x00\x01\x7f", "'s 'S 'll", "¿Qué? ¡No!", "http://a.b/c?d=e&f=g#h", "...!!!???", "----====", "a\n\n\nb\n", "١٢٣ ²³ ⅷ", "מזל टोव ไทย"]


def references():
    from tokenizers import Tokenizer
    import datagen
    tok = Tokenizer.from_file(str(WORK / "tokenizer.json"))
    r = random.Random(5)
    strs = list(TRICKY)
    for _ in range(1500): strs.append(datagen.to_text(datagen.conversation(r)))
    for _ in range(300): strs.append(datagen.raw_doc(r)[0])
    pool = "abcXYZ 019 \n\t.,;:'\"<>|{}[]()éßñ中文🙂­ſ٣٤َु".replace("\x00", "")
    for _ in range(3000): strs.append("".join(r.choice(pool) for _ in range(r.randrange(1, 40))))
    for _ in range(2000): strs.append("".join(chr(r.choice([r.randrange(32, 0x300), r.randrange(0x300, 0x3000), r.randrange(0x3000, 0xD7FF), r.randrange(0x1F300, 0x1FAFF)])) for _ in range(r.randrange(1, 20))))
    return strs, [tok.encode(s).ids for s in strs], tok


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "model"
    OUT.mkdir(exist_ok=True)
    sd = torch.load(WORK / f"{name}.pt")
    export(sd, OUT / "tiny-chat-f16.gguf")
    strs, ids, tok = references()
    (WORK / "ref_tokens.json").write_text(json.dumps([strs, ids]))
    m = LM(CFG); m.load_state_dict(sd); m.eval()
    import datagen
    r = random.Random(6); prompts, lg = [], []
    with torch.no_grad():
        for k in range(24):
            c = datagen.conversation(r); p = tok.encode(datagen.to_text(c)).ids[:700]
            prompts.append(p); lg.append(m(torch.tensor([p]))[0].numpy().astype(np.float32))
    np.savez(WORK / "ref_logits.npz", n=len(prompts), **{f"p{i}": np.array(p) for i, p in enumerate(prompts)}, **{f"l{i}": l for i, l in enumerate(lg)})
    items = []
    for s in datagen.EVAL_SKILLS:
        r = random.Random(f"check{s}")
        items += [datagen.eval_item(r, s) for _ in range(60)]
    (WORK / "eval.json").write_text(json.dumps(items, ensure_ascii=False))
    print("exported", (OUT / "tiny-chat-f16.gguf").stat().st_size)
