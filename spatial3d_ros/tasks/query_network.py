"""The query network: a sentence to an intent and a tag for each word, in one pass over text alone.

A word enters as the mean of hashed embeddings of itself and its character 3- and 4-grams, so that
nouns nobody trained on, and slips of typing, still look like something. Blocks of a convolution
over neighbouring words, attention over the sentence and a feed-forward layer follow; the intent is
read from pooled states, segments, roles and predicates from each word's. The network is
independent of the one that grounds; every size of that uses the same one.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.resources import resource_path
from spatial3d_ros.tasks.query import INTENTS, PREDICATES, ROLES, SEGMENTS

BUCKETS, WIDTH, HEADS, LAYERS, REACH = 12288, 128, 4, 3, 5
MAX_WORDS, POSITIONS = 128, 48  # words further on share the last position
HEAD_NAMES = {"segment": SEGMENTS, "role": ROLES, "predicate": PREDICATES}
WORD_DROPOUT, SPELLING_ONLY = 0.06, 0.15


@lru_cache(maxsize=65536)
def word_buckets(word: str) -> tuple[int, ...]:
    """Embedding rows of a word: its own, those of its 3- and 4-grams with word marks, and of the
    scripts of letters that are not ASCII; a number counts as its digits' places.
    """
    shape = re.sub(r"\d", "0", word)
    marked = f"<{shape}>"
    grams = [marked[k : k + n] for n in (3, 4) for k in range(len(marked) - n + 1)]
    scripts = {unicodedata.name(c, "?").split()[0] for c in word if not c.isascii()}
    keys = (f"={word}", *grams, *(f"~{script}" for script in sorted(scripts)))
    return tuple(zlib.crc32(key.encode()) % BUCKETS for key in keys)


@dataclass(frozen=True)
class ReaderOutput:
    """Logits: intent (B, I); segment, role and predicate (B, L, classes)."""

    intent: Tensor
    segment: Tensor
    role: Tensor
    predicate: Tensor


class _Block(nn.Module):
    """Convolution, attention and feed-forward layer, each with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.near = nn.Conv1d(WIDTH, WIDTH, REACH, padding=REACH // 2, groups=WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.1)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """(B, L, WIDTH) states and which words are real (B, L)."""
        size, length, _ = states.shape
        here = (self.norms[0](states) * real[..., None]).transpose(1, 2)
        near = self.mix(functional.gelu(self.near(here)).transpose(1, 2))
        states = states + self.dropout(near)
        qkv = self.qkv(self.norms[1](states)).view(size, length, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None])
        states = states + self.dropout(self.out(seen.transpose(1, 2).flatten(2)))
        wide = functional.gelu(self.wide(self.norms[2](states)))
        return states + self.dropout(self.narrow(wide))


class QueryReader(nn.Module):
    """Sentences of words -> `ReaderOutput`. In training, whole words and the embeddings of words
    without their spelling are dropped at random.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, WIDTH, mode="mean")
        self.positions = nn.Embedding(POSITIONS, WIDTH)
        nn.init.normal_(self.positions.weight, std=0.1)
        self.layers = nn.ModuleList(_Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.focus = nn.Linear(WIDTH, 2)
        self.intent = nn.Linear(4 * WIDTH, len(INTENTS))
        self.tags = nn.ModuleDict(
            {name: nn.Linear(WIDTH, len(c)) for name, c in HEAD_NAMES.items()}
        )

    def forward(self, sentences: Sequence[Sequence[str]]) -> ReaderOutput:
        """B sentences of 1 to MAX_WORDS words; padding comes behind the shorter ones."""
        lengths = torch.tensor([len(sentence) for sentence in sentences])
        length = int(lengths.max())
        rows = [word_buckets(word) for sentence in sentences for word in sentence]
        if self.training:
            spelled = (torch.rand(len(rows)) < SPELLING_ONLY).tolist()
            rows = [row[1:] if only else row for row, only in zip(rows, spelled, strict=True)]
        flat = torch.tensor([row for word in rows for row in word])
        sizes = torch.tensor([0, *map(len, rows)])[:-1].cumsum(0)
        embedded = self.words(flat, sizes)
        if self.training:
            embedded = embedded * (torch.rand(len(rows), 1) > WORD_DROPOUT)
        real = torch.arange(length) < lengths[:, None]
        states = embedded.new_zeros(len(sentences), length, WIDTH)
        states[real] = embedded
        states = states + self.positions(torch.arange(length).clamp(max=POSITIONS - 1))
        for layer in self.layers:
            states = layer(states, real)
        states = self.norm(states)
        hidden = ~real[..., None]
        weights = self.focus(states).masked_fill(hidden, -torch.inf).softmax(1)
        focused = (weights.transpose(1, 2) @ states).flatten(1)
        mean = states.masked_fill(hidden, 0).sum(1) / lengths[:, None]
        most = states.masked_fill(hidden, -torch.inf).amax(1)
        tags = {name: head(states) for name, head in self.tags.items()}
        return ReaderOutput(self.intent(torch.cat((mean, most, focused), -1)), **tags)


def save_reader(reader: QueryReader, path: Path) -> None:
    """Write the weights as float16 safetensors."""
    save_file({k: v.detach().half().contiguous() for k, v in reader.state_dict().items()}, path)


def load_reader(path: Path | None = None) -> QueryReader:
    """The reader of a file, without one that which ships; float32, on the CPU.

    Raises CheckpointError.
    """
    path = path or resource_path("weights/reader.safetensors")
    reader = QueryReader()
    try:
        reader.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: no weights of the query reader ({error})") from error
    return reader.eval()
