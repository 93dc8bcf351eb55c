"""
tokenizers: tokenizers of each kind, trained and pickled (as a file `tokenizer.json` would hold them), and used.

Python 3.8 and newer.
"""

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "Tokenizers split text; a model counts what they split.",
    "Ünïcödé text, naïve café, Straße, 東京 and русский текст.",
    "Numbers like 3.14159, 1,000,000 and 2026-11-20 are split as well.",
    "don't can't won't it's they're we've I'm you'll",
    "def tokenize(text): return text.split()  # code\n\tindented = True",
] * 20
ASKED = [
    "The lazy fox doesn't jump.", "  leading and trailing  ", "Straße café 東京 😀 русский", "a\tb\nc  d", "",
    "1,000,000 at 3.14 on 2026-11-20", "UPPER lower MiXeD", "e\u0301 and \u00e9, \ufb01ne", "[CLS] the dog [SEP]",
    "<s> hello </s> hello</s>", "ＦＵＬＬ width", "zero\u200bwidth \u00ad soft", "...!!!???", "x" * 120,
]  # fmt: skip

CASES = {}


def told(value):
    return [str(item) for item in value]


def asked(**more):
    uses = {
        "ids": lambda t: told(t.encode(text).ids for text in ASKED),
        "tokens": lambda t: told(t.encode(text).tokens for text in ASKED),
        "offsets": lambda t: told(t.encode(text).offsets for text in ASKED),
        "pairs": lambda t: told(t.encode(text, "the dog").type_ids for text in ASKED),
        "decoded": lambda t: told(repr(t.decode(t.encode(text).ids)) for text in ASKED),
        "special": lambda t: told(t.encode(text, add_special_tokens=False).ids for text in ASKED),
        "vocabulary": lambda t: told(sorted(t.get_vocab().items())),
    }
    uses.update(more)
    return uses


def trained(model, trainer, normalizer=None, before=None, after=None, decoder=None):
    made = Tokenizer(model)
    if normalizer is not None:
        made.normalizer = normalizer
    if before is not None:
        made.pre_tokenizer = before
    made.train_from_iterator(TEXT, trainer)
    if after is not None:
        made.post_processor = after(made)
    if decoder is not None:
        made.decoder = decoder
    return made


SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]


def bert(clean=True):
    return trained(
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False),
        normalizers.BertNormalizer(lowercase=clean),
        pre_tokenizers.BertPreTokenizer(),
        lambda t: processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]"))),
        decoders.WordPiece(),
    )


def gpt2():
    return trained(
        models.BPE(),
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<s>", "</s>"],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
        None,
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        lambda t: processors.ByteLevel(trim_offsets=True),
        decoders.ByteLevel(),
    )


def llama(prefix=True):
    import re

    # The parameter has another name from 0.19 on.
    numbers = tuple(int(part) for part in re.findall(r"\d+", tokenizers.__version__)[:2])
    options = {"add_prefix_space": prefix} if numbers < (0, 19) else {"prepend_scheme": "always" if prefix else "never"}
    return trained(
        models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
        trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False),
        None,
        pre_tokenizers.Metaspace(replacement="▁", **options),
        lambda t: processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]),
        decoders.Metaspace(replacement="▁", **options),
    )


def llama_normalizer():
    made = trained(
        models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
        trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False),
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        None,
    )
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return made


def unigram():
    return trained(
        models.Unigram(),
        trainers.UnigramTrainer(
            vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
        ),
        normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
        pre_tokenizers.Metaspace(),
        None,
        decoders.Metaspace(),
    )


def words():
    return trained(
        models.WordLevel(unk_token="[UNK]"),
        trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False),
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]),
        pre_tokenizers.Whitespace(),
    )


def added():
    made = bert()
    made.add_tokens(
        [
            "foxjump",
            tokenizers.AddedToken("lazy fox", single_word=True),
            tokenizers.AddedToken("jump", lstrip=True, rstrip=True),
        ]
    )
    made.add_special_tokens(["<extra>"])
    return made


def truncated():
    made = bert()
    made.enable_truncation(8, stride=2)
    made.enable_padding(length=10, pad_id=3, pad_token="[PAD]")
    return made


CASES["Tokenizer-wordpiece"] = (bert, asked())
CASES["Tokenizer-wordpiece-cased"] = (lambda: bert(False), asked())
CASES["Tokenizer-bpe-bytes"] = (gpt2, asked())
CASES["Tokenizer-bpe-metaspace"] = (llama, asked())
CASES["Tokenizer-bpe-metaspace-no-prefix"] = (lambda: llama(False), asked())
CASES["Tokenizer-bpe-byte-fallback"] = (llama_normalizer, asked())
CASES["Tokenizer-unigram"] = (unigram, asked())
CASES["Tokenizer-words"] = (words, asked())
CASES["Tokenizer-added-tokens"] = (added, asked())
CASES["Tokenizer-truncated-padded"] = (
    truncated,
    asked(overflow=lambda t: told(len(t.encode(text).overflowing) for text in ASKED)),
)
CASES["Tokenizer-skip-special"] = (
    bert,
    {"kept": lambda t: told(t.decode(t.encode(text).ids, skip_special_tokens=False) for text in ASKED)},
)


def file_of(make):
    return lambda: make().to_str()


for _name, _make in (
    ("wordpiece", bert),
    ("bpe-bytes", gpt2),
    ("bpe-metaspace", llama),
    ("unigram", unigram),
    ("added-tokens", added),
):
    CASES["json-" + _name] = (
        file_of(_make),
        {name: (lambda use: lambda text: use(Tokenizer.from_str(text)))(use) for name, use in asked().items()},
    )


def compute(name, **uses):
    CASES[name] = (None, {key: (lambda use: lambda _: use())(use) for key, use in uses.items()})


# Word pieces and unigrams are not trained alike twice by one release.
for _name, _make in (("bpe-bytes", gpt2), ("bpe-metaspace", llama), ("words", words)):
    compute("train-" + _name, vocabulary=(lambda make: lambda: told(sorted(make().get_vocab().items())))(_make))
for _name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Nmt", "BertNormalizer"):
    compute(
        "normalizer-" + _name,
        values=(lambda n: lambda: told(repr(getattr(normalizers, n)().normalize_str(text)) for text in ASKED))(_name),
    )
for _name in (
    "Whitespace",
    "WhitespaceSplit",
    "BertPreTokenizer",
    "ByteLevel",
    "Metaspace",
    "Punctuation",
    "Digits",
    "UnicodeScripts",
):
    compute(
        "pre-tokenizer-" + _name,
        values=(lambda n: lambda: told(getattr(pre_tokenizers, n)().pre_tokenize_str(text) for text in ASKED))(_name),
    )
compute(
    "pre-tokenizer-Split",
    values=lambda: told(
        pre_tokenizers.Split(tokenizers.Regex(r"\w+|\S"), "isolated").pre_tokenize_str(text) for text in ASKED
    ),
)
