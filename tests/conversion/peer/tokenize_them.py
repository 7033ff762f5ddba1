"""Small tokenizers of each kind, trained on a little text, in the files that transformers expects (see make.py)."""

from __future__ import annotations

import io
import json
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SIZE = 600
SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "The quick brown fox jumps over the lazy dog, and it's 12345 times that we'll see them: 3.14, 2,718 and 1 000 000.",
    "Größe, café, naïve, Straße; Привет, как дела? 東京は日本の首都です。 안녕하세요 🙂🚀",
    "def convert(files):\n    return {name: path for name, path in files.items()}\n\n\t# don't  panic\r\n",
    "Seven wise elephants wandered slowly westward while the evening wind whispered over the water.",
] * 20

#: What is tokenized by all, to be compared.
SAMPLES = [
    "The quick brown fox's 1234 tests don't fail.\n\n  It's 3.14!",
    "Größe café Привет 東京は 🙂 \t x",
    "<|im_start|>user\nHi <think>hm</think><|im_end|>\n",
    " leading and trailing  ",
    "wasn't WE'LL x=1;y=22 HelloWorld   ...",
]
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UP, _LOW = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SLASH = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
EXPRESSIONS = {
    "llama-bpe": _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL,
    "dbrx": _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL,
    "qwen2": _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL,
    "tekken": rf"[^\r\n\p{{L}}\p{{N}}]?{_UP}*{_LOW}+|[^\r\n\p{{L}}\p{{N}}]?{_UP}+{_LOW}*|\p{{N}}{_SLASH}",
    "gpt-4o": rf"[^\r\n\p{{L}}\p{{N}}]?{_UP}*{_LOW}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UP}+{_LOW}*{_CONTRACTIONS}?|\p{{N}}{{1,3}}{_SLASH}",
}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def byte_level(folder: Path, name: str) -> int:
    """Byte-level BPE which cuts text as llama.cpp's `name` does; returns the number of tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=name in ("llama-bpe", "tekken")))
    steps: list[pre_tokenizers.PreTokenizer] = []
    if name in EXPRESSIONS:
        steps.append(pre_tokenizers.Split(Regex(EXPRESSIONS[name]), "isolated"))
    elif name == "smollm":
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name not in EXPRESSIONS))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    if name == "llama-bpe":
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return _settings(folder, tokenizer.get_vocab_size())


def sentence_piece(folder: Path, name: str) -> int:
    """SentencePiece's BPE with byte fallback; `gemma` has no space before a text, `spm-json` no tokenizer.model."""
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in TEXTS for line in text.split("\n")),
        model_writer=file,
        vocab_size=SIZE,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=name != "gemma",
        user_defined_symbols=["<|im_start|>", "<|im_end|>"],
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())
    if name != "spm-json":
        (folder / "tokenizer.model").write_bytes(file.getvalue())
    tokenizer = _as_json(model, name != "gemma")
    tokenizer.save(str(folder / "tokenizer.json"))
    return _settings(folder, tokenizer.get_vocab_size())


def _as_json(model: sentencepiece.SentencePieceProcessor, prefix: bool) -> Tokenizer:
    """The same tokenizer in the tokenizers library: every pair that makes a token is a merge, best scores first."""
    pieces = {model.id_to_piece(number): number for number in range(model.get_piece_size())}
    pairs = [
        (-model.get_score(number), pieces[piece[:cut]], pieces[piece[cut:]], piece[:cut], piece[cut:])
        for piece, number in pieces.items()
        for cut in range(1, len(piece))
        if piece[:cut] in pieces and piece[cut:] in pieces and piece not in SPECIALS
    ]
    merges = [(left, right) for *_, left, right in sorted(pairs)]
    tokenizer = Tokenizer(models.BPE(pieces, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Prepend("▁")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def word_piece(folder: Path, _name: str) -> int:
    """BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {f"{token[1:-1].lower()}_token": token for token in specials}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **settings}))
    return int(tokenizer.get_vocab_size())


def _settings(folder: Path, size: int) -> int:
    document = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(document))
    return size
