"""What every script shares: paths, special tokens, model shape, chat template rendering, the "quiet" lock."""
import json, os, time
from pathlib import Path
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"          # tokenizer, token shards, checkpoints (can be deleted)
OUT = HERE / "gguf"           # what ships
QUIET = WORK / "quiet"         # while this file exists the training loops sleep, so that something else can be timed

# Ids 0.. in this order. CONTROL tokens are hidden when llama.cpp renders text, USER_DEFINED ones are shown
# (a server must see <think> and <tool_call> in the text to parse them).
# <|fim_prefix|> is id 0 on purpose: llama-cpp-python 0.3.36 builds create_completion(suffix=...) prompts with
# token id 0 for all three FIM markers (a TODO in its source); part of the FIM data is in that odd form too.
CONTROL = ["<|fim_prefix|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"]
USER = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
SPECIALS = CONTROL + USER
ID = {t: i for i, t in enumerate(SPECIALS)}

VOCAB = 2048
# the regular expression of llama.cpp's pre-tokenizer "qwen2" (digits one by one)
PRE_NAME = "qwen2"
PRE_REGEX = (r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
             r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

CFG = dict(vocab=VOCAB, d=256, layers=4, heads=8, kv_heads=4, head_dim=32, ff=512, ctx=1024, rope_base=10000.0, eps=1e-5)

TEMPLATE = (HERE / "chat_template.jinja").read_text()


def _tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


_env = ImmutableSandboxedEnvironment(loader=jinja2.BaseLoader(), trim_blocks=True, lstrip_blocks=True)
_env.filters["tojson"] = _tojson
_tpl = _env.from_string(TEMPLATE)


def render(messages, tools=None, thinking=False, gen=False):
    return _tpl.render(messages=messages, tools=tools, enable_thinking=thinking, add_generation_prompt=gen)


def wait_quiet():
    """Sleep while the file QUIET exists; returns the seconds slept."""
    t = time.time()
    while QUIET.exists():
        time.sleep(1)
    return time.time() - t
