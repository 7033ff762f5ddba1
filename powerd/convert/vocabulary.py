"""A checkpoint's tokens, as GGUF lists them: byte-level BPE, SentencePiece with byte fallback, WordPiece."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from powerd.convert import sentencepiece
from powerd.convert.checkpoint import Checkpoint
from powerd.convert.config import Config
from powerd.convert.pretokenizers import name_of
from powerd.errors import BadRequest

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
MAX_TOKENS = 4 << 20
MAX_TOKEN = 16 << 10
#: What SentencePiece writes for a space.
SPACE = "\u2581"
_ADDED_SCORE = -1000.0
_UNUSED_SCORE = -10_000.0
#: Added tokens that are control tokens though their tokenizer.json does not call them special.
_CONTROLS = frozenset({"<pad>", "<mask>", "<2mass>", "[@BOS@]"})


@dataclass
class Vocabulary:
    """`model` and `pre` are llama.cpp's names; `scores` belong to SentencePiece, `merges` to byte-level BPE."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    space_prefix: bool = False
    lowercase: bool | None = None
    strip_accents: bool | None = None

    def describe(self, writer: Any) -> None:
        """Write it down."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.scores:
            writer.add_token_scores(self.scores)
        if self.merges:
            writer.add_token_merges(self.merges)
        if self.model != "bert":
            writer.add_add_space_prefix(self.space_prefix)
        if self.lowercase is not None:
            writer.add_bool("tokenizer.ggml.normalizer.lowercase", self.lowercase)
        if self.strip_accents is not None:
            writer.add_bool("tokenizer.ggml.normalizer.strip_accents", self.strip_accents)

    def check(self) -> None:
        """Raise BadRequest for what llama.cpp ends the process for: a text twice, and bytes without a token."""
        numbers: dict[str, int] = {}
        for number, token in enumerate(self.tokens):
            if token and numbers.setdefault(token, number) != number:
                raise BadRequest(
                    f"the tokenizer has {token[:40]!r} twice, as {numbers[token]} and as {number}", "files"
                )
        if self.model == "llama":
            for byte in range(256):
                if f"<0x{byte:02X}>" not in numbers and not (byte < 128 and chr(byte) in numbers):
                    raise BadRequest(f"the tokenizer has no token <0x{byte:02X}>, for texts with such a byte", "files")


def read(checkpoint: Checkpoint, size: int) -> Vocabulary:
    """The tokenizer of a checkpoint whose embeddings have `size` rows. Raises BadRequest.

    tokenizer.json says which kind it is; a tokenizer.model beside it has the scores that SentencePiece learnt.
    """
    if not 0 < size <= MAX_TOKENS:
        raise BadRequest(f"the embeddings have {size} rows, at most {MAX_TOKENS} are read", "files")
    if "tokenizer.json" not in checkpoint:
        if "tokenizer.model" not in checkpoint:
            raise BadRequest("neither tokenizer.json nor tokenizer.model is there, so there are no tokens", "files")
        return _from_model(checkpoint, _listed_elsewhere(checkpoint), size)
    document = checkpoint.document("tokenizer.json")
    model = document.section("model")
    kind = model.text("type", "BPE")
    added = list(_added(document))
    if kind == "WordPiece":
        return _word_piece(document, model, added, size)
    if kind == "BPE" and model.flag("byte_fallback", False):
        if "tokenizer.model" in checkpoint:
            vocabulary = _from_model(checkpoint, added, size)
        else:
            vocabulary = _from_merges(model, added, size)
        vocabulary.space_prefix = _space_prefix(document)
        return vocabulary
    if kind == "BPE":
        return _byte_level(document, model, added, size)
    raise BadRequest(f"tokenizer.json: model: type {kind[:40]} is not converted; BPE and WordPiece are", "files")


# ---------------------------------------------------------------- the kinds


def _byte_level(document: Config, model: Config, added: list[_Added], size: int) -> Vocabulary:
    _check_normalizer(document, (None, "NFC"))
    tokens, types = _list(_ids(model), added, size)
    merges = [_merge(each) for each in model.items("merges")]
    if not merges:
        raise BadRequest("tokenizer.json: model: merges are missing", "files")
    return Vocabulary("gpt2", name_of(dict(document.values)), tokens, types, merges=merges)


def _word_piece(document: Config, model: Config, added: list[_Added], size: int) -> Vocabulary:
    """WordPiece, where llama.cpp marks the beginning of words instead of their continuation."""
    if model.text("continuing_subword_prefix", "##") != "##":
        raise model.wrong("continuing_subword_prefix", "##")
    normalizer = document.section("normalizer")
    require = ("BertNormalizer",)
    _check_normalizer(document, require)
    tokens, types = _list(_ids(model), added, size)
    tokens = [
        token if kind == CONTROL else token[2:] if token.startswith("##") else SPACE + token
        for token, kind in zip(tokens, types, strict=True)
    ]
    lowercase = normalizer.flag("lowercase", True)
    accents = normalizer.flag("strip_accents", lowercase)
    return Vocabulary("bert", "default", tokens, types, lowercase=lowercase, strip_accents=accents)


def _from_merges(model: Config, added: list[_Added], size: int) -> Vocabulary:
    """SentencePiece's BPE as tokenizer.json has it: the earlier a token is merged, the higher its score."""
    ids = _ids(model)
    tokens, types = _list(ids, added, size)
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(model.items("merges")):
        left, right = _pair(pair)
        ranks.setdefault(left + right, rank)
    if not ranks:
        raise BadRequest("tokenizer.json: model: merges are missing", "files")
    scores = [-float(ranks.get(token, len(ranks))) for token in tokens]
    unknown = ids.get(model.text("unk_token"))
    for number, token in enumerate(tokens):
        if types[number] in (CONTROL, USER_DEFINED):
            scores[number] = _ADDED_SCORE
        elif types[number] == UNUSED:
            scores[number] = _UNUSED_SCORE
        elif len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            types[number], scores[number] = BYTE, 0.0
    if unknown is not None and unknown < size:
        types[unknown] = UNKNOWN
    return Vocabulary("llama", "default", tokens, types, scores)


def _from_model(checkpoint: Checkpoint, added: list[_Added], size: int) -> Vocabulary:
    """SentencePiece's own file."""
    model = sentencepiece.parse(checkpoint.data("tokenizer.model"))
    tokens = [f"[PAD{number}]" for number in range(size)]
    types, scores = [UNUSED] * size, [_UNUSED_SCORE] * size
    for number, piece in enumerate(model.pieces[:size]):
        tokens[number], types[number], scores[number] = piece.text, piece.type, piece.score
    for each in added:
        if each.id < size and types[each.id] != UNKNOWN:
            tokens[each.id], types[each.id] = each.shown(), each.type()
            scores[each.id] = _ADDED_SCORE
    return Vocabulary("llama", "default", tokens, types, scores, space_prefix=model.space_prefix)


# ---------------------------------------------------------------- parts of tokenizer.json


@dataclass(frozen=True)
class _Added:
    id: int
    text: str
    special: bool

    def type(self) -> int:
        """CONTROL tokens are never shown and never read from a user's text, USER_DEFINED ones are both."""
        text = self.text
        bars = text.startswith(("<|", "<｜")) and text.endswith(("|>", "｜>"))
        unused = text.startswith("<unused") and text.endswith(">")
        return CONTROL if self.special or bars or unused or text in _CONTROLS else USER_DEFINED

    def shown(self) -> str:
        """Its text; llama.cpp looks for USER_DEFINED ones in text that still has its spaces."""
        return self.text if self.type() == CONTROL else self.text.replace(SPACE, " ")


def _added(document: Config) -> Iterable[_Added]:
    for each in document.items("added_tokens"):
        entry = Config(each if isinstance(each, Mapping) else {}, "tokenizer.json: added_tokens")
        yield _Added(entry.integer("id", least=0), _text(entry.text("content")), entry.flag("special", False))


def _listed_elsewhere(checkpoint: Checkpoint) -> list[_Added]:
    """The added tokens of a checkpoint without tokenizer.json."""
    section = checkpoint.document("tokenizer_config.json", optional=True).section("added_tokens_decoder")
    found = []
    for number in section.values:
        entry = section.section(number)
        if not number.isascii() or not number.isdecimal() or len(number) > 9:
            raise section.wrong(number, "named by a token's number")
        found.append(_Added(int(number), _text(entry.text("content")), entry.flag("special", False)))
    listed = checkpoint.document("added_tokens.json", optional=True)
    known = {each.id for each in found}
    further = [_Added(listed.integer(text, least=0), _text(text), special=False) for text in listed.values]
    return found + [each for each in further if each.id not in known]


def _ids(model: Config) -> dict[str, int]:
    vocabulary = model.values.get("vocab")
    if not isinstance(vocabulary, dict) or not all(type(each) is int for each in vocabulary.values()):
        raise BadRequest("tokenizer.json: model: vocab must be an object of tokens and their numbers", "files")
    return vocabulary


def _list(ids: Mapping[str, int], added: list[_Added], size: int) -> tuple[list[str], list[int]]:
    """Tokens and types by number; rows of the embeddings that no token has are UNUSED."""
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [UNUSED] * size
    listed = {each.id for each in added}
    for text, number in ids.items():
        if number in listed:
            continue
        if not 0 <= number < size:
            raise BadRequest(
                f"tokenizer.json: token {text[:40]} has the number {number}, the embeddings have {size} rows", "files"
            )
        tokens[number], types[number] = _text(text), NORMAL
    for each in added:
        if each.id < size:  # others have no row, so the model has never seen them
            tokens[each.id], types[each.id] = each.shown(), each.type()
    return tokens, types


def _text(text: str) -> str:
    if len(text) > MAX_TOKEN or (not text.isprintable() and re.search("[\0\ud800-\udfff]", text)):
        raise BadRequest(f"tokenizer.json: the token {text[:40]!r} is too long, or no text", "files")
    return text


def _pair(merge: Any) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(each, str) and each for each in parts):
        raise BadRequest(f"tokenizer.json: model: merges: {str(merge)[:60]} is not a pair of tokens", "files")
    return parts[0], parts[1]


def _merge(merge: Any) -> str:
    """The pair as GGUF writes it, where a space stands between the two and within none."""
    left, right = _pair(merge)
    return f"{left.replace(' ', 'Ġ')} {right.replace(' ', 'Ġ')}"


def _check_normalizer(document: Config, allowed: tuple[str | None, ...]) -> None:
    found = document.section("normalizer").values.get("type")
    if found not in allowed:
        raise BadRequest(f"tokenizer.json: normalizer: {str(found)[:40]} is nothing llama.cpp has for it", "files")


def _space_prefix(document: Config) -> bool:
    """Whether a text gets a space before it."""
    normalizer, cutter = document.section("normalizer"), document.section("pre_tokenizer")
    steps = [normalizer.values, *normalizer.items("normalizers")]
    if any(isinstance(step, Mapping) and step.get("type") == "Prepend" for step in steps):
        return True
    if cutter.values.get("type") != "Metaspace":
        return False
    scheme = cutter.text("prepend_scheme", "always" if cutter.flag("add_prefix_space", True) else "never")
    return scheme != "never"
