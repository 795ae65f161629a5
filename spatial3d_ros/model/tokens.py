"""Words to token ids and back; the special tokens of the joint model (METHODS 1.6, 2.1)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.geometry.locations import LOCATION_TOKENS
from spatial3d_ros.model.config import ModelConfig

START, END = "<|im_start|>", "<|im_end|>"
GROUND, COORD = "<ground>", "<coord>"
MAX_IDENTIFIERS = 100


def identifier(slot: int) -> str:
    """Name of an object slot in text: `<OBJ007>`."""
    return f"<OBJ{slot:03d}>"


SPECIAL_TOKENS = (START, END, GROUND, COORD, *(identifier(i) for i in range(MAX_IDENTIFIERS)))


def special_tokens(config: ModelConfig) -> tuple[str, ...]:
    """The special tokens that a network needs: without object tokens in the sequence no
    identifiers, so that two words are new to the public tokenizer, as published. Location tokens
    come last.
    """
    ours = (START, END, GROUND, COORD) if config.object_tokens == "none" else SPECIAL_TOKENS
    return (*ours, *(LOCATION_TOKENS if config.io.loc_format == "tokens" else ()))


def with_special_tokens(tokenizer: Tokenizer, tokens: Sequence[str]) -> Tokenizer:
    """The tokenizer with those of the tokens that it lacks, behind all others: no id changes."""
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in tokens])
    return tokenizer


def train_tokenizer(corpus: Iterable[str], vocab: int) -> Tokenizer:
    """A byte-level BPE for a small model: any text has an encoding, common words are one token,
    digits stand alone.

    Case is folded: it carries no meaning in a spoken question.
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
    """The same tokenizer with more merges, up to `vocab` tokens: words that it breaks up and that
    the corpus has often become tokens of their own. Old tokens keep their ids.

    Also returns, for each new token, the old ones that it replaces.
    """
    plain = json.loads(tokenizer.to_str())
    ids, merges = plain["model"]["vocab"], plain["model"]["merges"]
    split = tokenizer.pre_tokenizer.pre_tokenize_str
    normal = tokenizer.normalizer.normalize_str
    words = Counter(word for text in corpus for word, _ in split(normal(text)))
    broken = {}
    for word, times in words.items():
        text = tokenizer.decoder.decode([word])
        parts = tuple(tokenizer.encode(text, add_special_tokens=False).tokens)
        if len(parts) > 1 and "".join(parts) == word:
            broken[parts] = broken.get(parts, 0) + times
    parts_of: dict[str, list[int]] = {}
    while broken and len(ids) < vocab:
        pairs: Counter[tuple[str, str]] = Counter()
        for parts, times in broken.items():
            for pair in pairwise(parts):
                pairs[pair] += times
        (left, right), often = min(pairs.items(), key=lambda item: (-item[1], item[0]))
        if often < min_frequency:
            break
        made = left + right
        if made not in ids:
            parts_of[made] = [p for x in (left, right) for p in parts_of.get(x, [ids[x]])]
            ids[made] = len(ids)
        merges.append([left, right])
        joined: Counter[tuple[str, ...]] = Counter()
        for parts, times in broken.items():
            if left in parts and (merged := _merge(parts, left, right)) != parts:
                parts = merged
            if len(parts) > 1:
                joined[parts] += times
        broken = joined
    return Tokenizer.from_str(json.dumps(plain)), {ids[t]: old for t, old in parts_of.items()}


def _merge(parts: tuple[str, ...], left: str, right: str) -> tuple[str, ...]:
    made, i = [], 0
    while i < len(parts):
        pair = parts[i : i + 2] == (left, right)
        made.append(left + right if pair else parts[i])
        i += 1 + pair
    return tuple(made)


def load_tokenizer(path: str | Path, needed: Sequence[str] = SPECIAL_TOKENS) -> Tokenizer:
    """Read `tokenizer.json`. Raises CheckpointError when missing, unreadable or without the special
    tokens `needed`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; a model folder needs tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare Exception
        raise CheckpointError(f"{path}: not a tokenizer file ({error})") from error
    absent = [token for token in needed if tokenizer.token_to_id(token) is None]
    if absent:
        raise CheckpointError(f"{path}: lacks the special tokens {', '.join(absent[:4])} ...")
    return tokenizer
