"""The tokenizer file and the special tokens of the joint model (METHODS 1.6, 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.model.config import ModelConfig

START, END = "<|im_start|>", "<|im_end|>"
GROUND, COORD = "<ground>", "<coord>"
MAX_IDENTIFIERS = 100
LOCATION_BINS = 1000
LOCATION_MARKS = ("<box>", "</box>", "<pt>", "</pt>")
LOCATION_TOKENS = (*LOCATION_MARKS, *(f"<LOC{i:03d}>" for i in range(LOCATION_BINS)))


def identifier(slot: int) -> str:
    """Identifier of an object slot in text: `<OBJ007>`."""
    return f"<OBJ{slot:03d}>"


SPECIAL_TOKENS = (START, END, GROUND, COORD, *(identifier(i) for i in range(MAX_IDENTIFIERS)))


def special_tokens(config: ModelConfig) -> tuple[str, ...]:
    """The special tokens of a network. Without object tokens in the sequence there are no
    identifiers, so that only `<ground>` and `<coord>` are new to the public tokenizer, as
    published. Location tokens come last.
    """
    tokens = (START, END, GROUND, COORD) if config.object_tokens == "none" else SPECIAL_TOKENS
    return (*tokens, *(LOCATION_TOKENS if config.io.loc_format == "tokens" else ()))


def with_special_tokens(tokenizer: Tokenizer, tokens: Sequence[str]) -> Tokenizer:
    """Append the missing ones of these tokens to the tokenizer; no existing id changes."""
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in tokens])
    return tokenizer


def load_tokenizer(path: str | Path, needed: Sequence[str] = SPECIAL_TOKENS) -> Tokenizer:
    """Read `tokenizer.json`. Raises CheckpointError if it is missing, unreadable or lacks special
    tokens of `needed`.
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
