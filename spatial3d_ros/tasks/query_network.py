"""The query reader: a sentence to an intent and a tag for each word, in one pass over text alone.

A word enters as the mean of hashed embeddings of itself and its character 3- and 4-grams, so that
nouns nobody trained on, and slips of typing, still look like something. Two transformer layers
follow; the intent is read from the mean state, segments, roles and predicates from each word's.
The reader is independent of the network that grounds; every size of that uses the same one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.tasks.query import INTENTS, PREDICATES, ROLES, SEGMENTS

BUCKETS, WIDTH, HEADS, LAYERS, MAX_WORDS = 8192, 128, 4, 2, 64
HEAD_NAMES = {"segment": SEGMENTS, "role": ROLES, "predicate": PREDICATES}


@lru_cache(maxsize=65536)
def word_buckets(word: str) -> tuple[int, ...]:
    """Embedding rows of a word: its own, and those of its 3- and 4-grams with word marks."""
    marked = f"<{word}>"
    grams = [marked[k : k + n] for n in (3, 4) for k in range(len(marked) - n + 1)]
    return tuple(zlib.crc32(gram.encode()) % BUCKETS for gram in (f"={word}", *grams))


@dataclass(frozen=True)
class ReaderOutput:
    """Logits: intent (B, I); segment, role and predicate (B, L, classes)."""

    intent: Tensor
    segment: Tensor
    role: Tensor
    predicate: Tensor


class QueryReader(nn.Module):
    """Sentences of words -> `ReaderOutput`."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, WIDTH, mode="mean")
        self.positions = nn.Embedding(MAX_WORDS, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 3 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.intent = nn.Linear(2 * WIDTH, len(INTENTS))
        self.tags = nn.ModuleDict(
            {name: nn.Linear(WIDTH, len(c)) for name, c in HEAD_NAMES.items()}
        )

    def forward(self, sentences: Sequence[Sequence[str]]) -> ReaderOutput:
        """B sentences of 1 to MAX_WORDS words; padding comes behind the shorter ones."""
        length = max(map(len, sentences))
        device = self.positions.weight.device
        rows = [word_buckets(word) for sentence in sentences for word in sentence]
        flat = torch.tensor([row for word in rows for row in word], device=device)
        sizes = torch.tensor([0, *map(len, rows)], device=device)[:-1].cumsum(0)
        embedded = self.words(flat, sizes)
        real = torch.zeros(len(sentences), length, dtype=torch.bool, device=device)
        for k, sentence in enumerate(sentences):
            real[k, : len(sentence)] = True
        states = embedded.new_zeros(len(sentences), length, WIDTH)
        states[real] = embedded
        states = states + self.positions.weight[:length]
        states = self.norm(self.layers(states, src_key_padding_mask=~real))
        kept = states * real[..., None]
        mean = kept.sum(1) / real.sum(1, keepdim=True)
        most = states.masked_fill(~real[..., None], -torch.inf).amax(1)
        tags = {name: head(states) for name, head in self.tags.items()}
        return ReaderOutput(self.intent(torch.cat((mean, most), -1)), **tags)


def save_reader(reader: QueryReader, path: Path) -> None:
    """Write the weights as bfloat16 safetensors."""
    save_file({k: v.detach().bfloat16().contiguous() for k, v in reader.state_dict().items()}, path)


def load_reader(path: Path) -> QueryReader:
    """The reader of a file; float32, on the CPU. Raises CheckpointError."""
    reader = QueryReader()
    try:
        reader.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: no weights of the query reader ({error})") from error
    return reader.eval()
