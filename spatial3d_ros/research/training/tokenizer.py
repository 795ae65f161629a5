"""Trains the tokenizer of a small network, and extends one with frequent words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from spatial3d_ros.model.tokens import SPECIAL_TOKENS


def train_tokenizer(corpus: Iterable[str], vocab: int) -> Tokenizer:
    """Train a byte-level BPE of at most `vocab` tokens for a small model: any text has an encoding,
    frequent words are one token, every digit is a token. Case is folded.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=5,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def extend_tokenizer(
    tokenizer: Tokenizer, corpus: Iterable[str], vocab: int, min_frequency: int = 3
) -> tuple[Tokenizer, dict[int, list[int]]]:
    """Add merges to a BPE tokenizer, up to `vocab` tokens, so that frequent words of the corpus
    that it splits become single tokens. Existing tokens keep their ids.

    Also returns the ids of the existing tokens that each new token replaces.
    """
    state = json.loads(tokenizer.to_str())
    ids, merges = state["model"]["vocab"], state["model"]["merges"]
    pre_tokenize = tokenizer.pre_tokenizer.pre_tokenize_str
    normalize = tokenizer.normalizer.normalize_str
    words = Counter(word for text in corpus for word, _ in pre_tokenize(normalize(text)))
    split_words: dict[tuple[str, ...], int] = {}
    for word, count in words.items():
        text = tokenizer.decoder.decode([word])
        parts = tuple(tokenizer.encode(text, add_special_tokens=False).tokens)
        if len(parts) > 1 and "".join(parts) == word:
            split_words[parts] = split_words.get(parts, 0) + count
    parts_of: dict[str, list[int]] = {}
    while split_words and len(ids) < vocab:
        pairs: Counter[tuple[str, str]] = Counter()
        for parts, count in split_words.items():
            for pair in pairwise(parts):
                pairs[pair] += count
        (left, right), frequency = min(pairs.items(), key=lambda item: (-item[1], item[0]))
        if frequency < min_frequency:
            break
        token = left + right
        if token not in ids:
            parts_of[token] = [p for x in (left, right) for p in parts_of.get(x, [ids[x]])]
            ids[token] = len(ids)
        merges.append([left, right])
        joined: Counter[tuple[str, ...]] = Counter()
        for parts, count in split_words.items():
            if left in parts and (merged := _merge(parts, left, right)) != parts:
                parts = merged
            if len(parts) > 1:
                joined[parts] += count
        split_words = joined
    return Tokenizer.from_str(json.dumps(state)), {ids[t]: old for t, old in parts_of.items()}


def _merge(parts: tuple[str, ...], left: str, right: str) -> tuple[str, ...]:
    merged, i = [], 0
    while i < len(parts):
        pair = parts[i : i + 2] == (left, right)
        merged.append(left + right if pair else parts[i])
        i += 1 + pair
    return tuple(merged)
