"""llama-server's flags: their names, and which are switches. Pure.

A flag is known by its longest name without dashes; INI presets and LLAMA_ARG_* variables use the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Other spellings, by the name used here (llama.cpp's tools/server/README.md).
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "model": ("m",),
    "model-url": ("mu",),
    "hf-repo": ("hf", "hfr"),
    "hf-file": ("hff",),
    "docker-repo": ("dr",),
    "alias": ("a",),
    "ctx-size": ("c",),
    "parallel": ("np", "n-parallel"),
    "kv-unified": ("kvu",),
    "no-kv-unified": ("no-kvu",),
    "gpu-layers": ("ngl", "n-gpu-layers"),
    "threads": ("t",),
    "threads-batch": ("tb",),
    "batch-size": ("b", "batch"),
    "ubatch-size": ("ub", "ubatch"),
    "flash-attn": ("fa",),
    "cache-type-k": ("ctk",),
    "cache-type-v": ("ctv",),
    "load-mode": ("lm",),
    "device": ("dev",),
    "split-mode": ("sm",),
    "tensor-split": ("ts",),
    "main-gpu": ("mg",),
    "mmproj": ("mm",),
    "model-draft": ("md", "spec-draft-model"),
    "hf-repo-draft": ("hfd", "hfrd"),
    "predict": ("n", "n-predict"),
    "seed": ("s",),
    "temp": ("temperature",),
    "typical": ("typical-p",),
    "reverse-prompt": ("r",),
    "reasoning": ("rea",),
    "reasoning-budget": ("think-budget",),
    "embeddings": ("embedding",),
    "reranking": ("rerank",),
    "verbose": ("v", "log-verbose"),
    "n-cpu-moe": ("ncmoe",),
    "cpu-moe": ("cmoe",),
    "override-tensor": ("ot",),
    "cont-batching": ("cb",),
    "hf-token": ("hft",),
}
_NAMES = {other: name for name, others in _SPELLINGS.items() for other in others}
#: Flags that take no value; `flash-attn` may take one.
SWITCHES = frozenset(
    {
        *("mlock", "mmap", "no-mmap", "kv-unified", "no-kv-unified", "jinja", "no-jinja", "embeddings", "reranking"),
        *("context-shift", "no-context-shift", "cont-batching", "no-cont-batching", "metrics", "slots", "no-slots"),
        *("props", "no-webui", "webui", "verbose", "cpu-moe", "no-kv-offload", "swa-full", "offline", "warmup"),
        *("no-warmup", "special", "log-disable", "no-mmproj", "cache-prompt", "no-cache-prompt", "ignore-eos"),
    }
)
_NUMBER = re.compile(r"-[0-9.]")
_ON = {"on", "true", "1", "yes", "enabled"}
_OFF = {"off", "false", "0", "no", "disabled"}


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag as it is known, its value (empty: none), and how it was written."""

    name: str
    value: str
    written: str

    def __str__(self) -> str:
        return f"{self.written}{'' if self.written.endswith('=') else ' '}{self.value}".strip()


def name_of(spelling: str) -> str:
    """A flag's name, however it is spelled: `-c`, `--ctx-size`, `ctx-size`, `LLAMA_ARG_CTX_SIZE`."""
    bare = spelling.lstrip("-")
    if bare.startswith("LLAMA_ARG_"):
        bare = bare.removeprefix("LLAMA_ARG_").lower()
    bare = bare.replace("_", "-")
    return _NAMES.get(bare, bare)


def flags(words: Sequence[str]) -> Iterator[Flag]:
    """The flags of a command line behind the program's name."""
    index = 0
    while index < len(words):
        word, _, attached = words[index].partition("=") if words[index].startswith("--") else (words[index], "", "")
        index += 1
        if not word.startswith("-"):
            yield Flag("", word, "")
            continue
        name, value = name_of(word), attached
        if not attached and name not in SWITCHES and index < len(words) and _is_value(words[index]):
            value = words[index]
            index += 1
        yield Flag(name, value, word)


def _is_value(word: str) -> bool:
    return not word.startswith("-") or bool(_NUMBER.match(word)) or word == "-"


def switched(flag: Flag) -> bool | None:
    """Whether a switch is on; None for a value that says neither."""
    said = flag.value.lower()
    if said in _OFF:
        return False
    return True if said in _ON or not said else None
