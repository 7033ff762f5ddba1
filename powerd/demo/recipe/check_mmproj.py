"""Pictures through llama-cpp-python's generic MTMDChatHandler (libmtmd): PNG data URLs made here."""
import base64, random, struct, sys, zlib
from llama_cpp import Llama
from llama_cpp.llama_chat_format import MTMDChatHandler
from shape import *

RGB = {"red": (220, 20, 30), "orange": (255, 150, 0), "yellow": (255, 240, 20), "green": (20, 150, 40), "blue": (20, 40, 230), "purple": (130, 10, 140), "pink": (255, 170, 200), "brown": (130, 70, 25), "black": (5, 5, 5), "white": (252, 252, 252), "gray": (125, 125, 125)}


def png(quarters, n=64):
    rows = b"".join(b"\0" + b"".join(bytes(RGB[quarters[(y * 2 // n) * 2 + x * 2 // n]]) for x in range(n)) for y in range(n))
    ch = lambda t, d: struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    return b"\x89PNG\r\n\x1a\n" + ch(b"IHDR", struct.pack(">IIBBBBB", n, n, 8, 2, 0, 0, 0)) + ch(b"IDAT", zlib.compress(rows)) + ch(b"IEND", b"")


h = MTMDChatHandler(clip_model_path=str(OUT / "tiny-chat-mmproj-f16.gguf"), verbose=False, use_gpu=False)
llm = Llama(str(OUT / "tiny-chat-q8_0.gguf"), chat_handler=h, n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False)


def ask(q, quarters, first=True, n=64):
    img = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(png(quarters, n)).decode()}}
    parts = [img, {"type": "text", "text": q}]
    return llm.create_chat_completion(messages=[{"role": "user", "content": parts if first else parts[::-1]}], max_tokens=40, temperature=0, repeat_penalty=1.0)["choices"][0]["message"]["content"].strip()


r = random.Random(1); ok = n = 0
for c in RGB:
    for first in (True, False):
        t = ask("What colour is this picture?", [c] * 4, first, r.choice([16, 64, 200])); n += 1; ok += t == f"The picture is {c}."
        if t != f"The picture is {c}.": print("   miss", c, first, repr(t))
print(f"plain pictures {ok}/{n}")
ok = n = 0
for _ in range(30):
    a, b = r.sample(list(RGB), 2); g = r.choice([[a, b, a, b], [a, a, b, b]]); t = ask("What do you see?", g); n += 1; ok += t == f"The picture is {a} and {b}."
    if t != f"The picture is {a} and {b}.": print("   miss", g, repr(t))
print(f"two colours {ok}/{n}")
ok = n = 0
for _ in range(30):
    g = [r.choice(list(RGB)) for _ in range(4)]; i = r.randrange(4); w = ["top left", "top right", "bottom left", "bottom right"][i]; t = ask(f"What colour is the {w} part?", g); n += 1; ok += t == f"The {w} part is {g[i]}."
    if t != f"The {w} part is {g[i]}.": print("   miss", g, w, repr(t))
print(f"quarters {ok}/{n}")
print(llm.create_chat_completion(messages=[{"role": "user", "content": "What is the capital of Italy?"}], max_tokens=40, temperature=0)["choices"][0]["message"]["content"], "(no picture, same handler)")
llm.close()   # before the interpreter goes down: MTMDChatHandler's clean-up needs stdout
