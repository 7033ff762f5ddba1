"""How a byte-level BPE tokenizer cuts text into words before it merges, and the name llama.cpp knows that way by.

llama.cpp has its regular expressions compiled in, each under a name; tokenizer.json spells them out. A way that is not
in the table is refused: with any other, the model would read other tokens than those it learnt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from powerd.errors import BadRequest

_DIGITS = r"\p{N}"
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#: Other spellings of the same expression.
_SPELLINGS = {
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])": _CONTRACTIONS,
    "'(?i:[sdmt]|ll|ve|re)": _CONTRACTIONS,
}
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_THREE_DIGITS = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{_TAIL}"
_ONE_DIGIT = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{_TAIL}"
_MARKS = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}{_CASED_TAIL}"
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?|\p{{N}}{{1,3}}{_CASED_TAIL}"
)
_DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: llama.cpp's name by the expressions, in order, and by whether whole words are looked up before merging.
_KNOWN: dict[tuple[tuple[str, ...], bool], str] = {
    ((_THREE_DIGITS,), True): "llama-bpe",
    ((_THREE_DIGITS,), False): "dbrx",
    ((_ONE_DIGIT,), False): "qwen2",
    ((_MARKS,), False): "qwen35",
    ((_TEKKEN,), True): "tekken",
    ((_GPT4O,), False): "gpt-4o",
    ((_GPT2,), False): "gpt-2",
    ((_DIGITS, _GPT2), False): "smollm",
    ((r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", _DEEPSEEK3), False): "deepseek-v3",
    (("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", _DIGITS), False): "deepseek-coder",
}


def name_of(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for the pre-tokenizer of a tokenizer.json. Raises BadRequest for one it does not have."""
    steps = tuple(_steps(tokenizer.get("pre_tokenizer")))
    model = tokenizer.get("model")
    whole = bool(model.get("ignore_merges")) if isinstance(model, dict) else False
    name = _KNOWN.get((steps, whole))
    if name is None:
        raise BadRequest(
            f"tokenizer.json: pre_tokenizer: none of llama.cpp's ways to cut text, as far as powerd knows them, is this"
            f" one: {' then '.join(steps)[:300] or 'nothing'}{' (ignore_merges)' if whole else ''}",
            "files",
        )
    return name


def _steps(found: Any) -> Iterator[str]:
    """The regular expressions, in order."""
    kind = found.get("type") if isinstance(found, dict) else None
    if kind == "Sequence":
        inner = found.get("pretokenizers")
        for each in inner if isinstance(inner, list) else ():
            if isinstance(each, dict) and each.get("type") == "Sequence":
                raise BadRequest("tokenizer.json: pre_tokenizer: a sequence within a sequence", "files")
            yield from _steps(each)
    elif kind == "Split":
        yield _expression(found)
    elif kind == "Digits" and found.get("individual_digits") is True:
        yield _DIGITS
    elif kind == "ByteLevel" and not found.get("add_prefix_space"):
        if found.get("use_regex", True):
            yield _GPT2
    else:
        raise BadRequest(f"tokenizer.json: pre_tokenizer: {str(found)[:120]} is nothing llama.cpp has", "files")


def _expression(split: dict[str, Any]) -> str:
    pattern = split.get("pattern")
    text = pattern.get("Regex") if isinstance(pattern, dict) else None
    way = (split.get("behavior"), bool(split.get("invert")))
    if not isinstance(text, str) or way not in (("Isolated", False), ("Removed", True)):
        raise BadRequest(f"tokenizer.json: pre_tokenizer: {str(split)[:200]} is nothing llama.cpp has", "files")
    for spelling, usual in _SPELLINGS.items():
        text = text.replace(spelling, usual)
    return text
