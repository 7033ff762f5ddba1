"""Trains the byte-level BPE tokenizer on the synthetic corpus -> work/tokenizer.json"""
import os
os.environ["RAYON_NUM_THREADS"] = "1"; os.environ["TOKENIZERS_PARALLELISM"] = "false"
import random, re
from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers, Regex, AddedToken
from shape import *
import datagen

WORK.mkdir(exist_ok=True)
r = random.Random(11)
strip = re.compile("|".join(map(re.escape, SPECIALS)))


def corpus():
    seen_sys = 0
    for i in range(12000):
        t = datagen.to_text(datagen.conversation(r))
        if "# Tools" in t and i % 3:   # the fixed tool preamble would otherwise dominate the merges
            t = t.split("</tool_call><|im_end|>", 1)[-1]
        for part in strip.split(t):
            if part.strip(): yield part
    for i in range(3000):
        for part in strip.split(datagen.raw_doc(r)[0]): yield part
    for i in range(4):
        yield "Arr matey Ahoy ye me be aye treasure sea ship Yo ho ho! " * 20


tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PRE_REGEX), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
tok.decoder = decoders.ByteLevel()
tr = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[AddedToken(t, special=t in CONTROL, normalized=False) for t in SPECIALS],
                         initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, min_frequency=2)
tok.train_from_iterator(corpus(), tr)
assert tok.get_vocab_size() == VOCAB, tok.get_vocab_size()
for t, i in ID.items(): assert tok.token_to_id(t) == i
tok.save(str(WORK / "tokenizer.json"))
print("vocab", tok.get_vocab_size(), [tok.encode(f" {c}").tokens for c in datagen.COLOURS], tok.encode("<|im_start|>assistant\nHello there!").tokens)
