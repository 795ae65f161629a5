"""Words to token ids and back; the special tokens of the joint model (methods 1.6, 2.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def extend_tokenizer(tokenizer: Tokenizer, tokens: Sequence[str]) -> Tokenizer:
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
