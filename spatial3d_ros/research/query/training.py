"""Training of the query reader on generated sentences; `spatial3d train-reader`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from spatial3d_ros.research.query.sentences import QuerySentences, Sentence
from spatial3d_ros.tasks.query import INTENTS
from spatial3d_ros.tasks.query_network import HEAD_NAMES, MAX_WORDS, QueryReader, save_reader

VALIDATION_SEED = 850_000
_IGNORED = -100
_COLUMN = {"segment": 1, "role": 2, "predicate": 3}


def draw(source: QuerySentences, count: int) -> list[Sentence]:
    """Sentences that the reader takes."""
    made: list[Sentence] = []
    while len(made) < count:
        sentence = source.draw()
        if 0 < len(sentence.words) <= MAX_WORDS:
            made.append(sentence)
    return made


def targets(sentences: Sequence[Sentence]) -> tuple[Tensor, dict[str, Tensor]]:
    """Classes of intents (B,) and of each word's tags (B, L)."""
    length = max(len(s.words) for s in sentences)
    tags = {}
    for name, classes in HEAD_NAMES.items():
        tags[name] = torch.full((len(sentences), length), _IGNORED)
        for k, sentence in enumerate(sentences):
            found = [classes.index(word[_COLUMN[name]]) for word in sentence.words]
            tags[name][k, : len(found)] = torch.tensor(found)
    return torch.tensor([INTENTS.index(s.intent) for s in sentences]), tags


def train_reader(
    path: Path,
    *,
    steps: int = 8000,
    batch: int = 192,
    rate: float = 1.5e-3,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Train from step 0 and write the weights to `path`; reports held-out accuracy on the way."""
    torch.manual_seed(seed)
    source, reader = QuerySentences(seed), QueryReader()
    optimizer = torch.optim.AdamW(reader.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.05)
    begin = time.monotonic()
    for step in range(1, steps + 1):
        sentences = draw(source, batch)
        intents, tags = targets(sentences)
        output = reader.train()([[w for w, *_ in s.words] for s in sentences])
        loss = cross_entropy(output.intent, intents)
        for name, wanted in tags.items():
            logits = getattr(output, name).flatten(0, 1)
            loss = loss + cross_entropy(logits, wanted.flatten(), ignore_index=_IGNORED)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == steps:
            save_reader(reader, path)
            scores = evaluate_reader(reader)
            shown = ", ".join(f"{k} {v:.3f}" for k, v in scores.items())
            say(f"step {step}, loss {loss.item():.3f}, {time.monotonic() - begin:.0f} s: {shown}")


@torch.no_grad()
def evaluate_reader(
    reader: QueryReader, count: int = 1024, split: str = "test"
) -> dict[str, float]:
    """Share of right intents, of words with the right tag, and of sentences with all right; with
    templates that training never saw (`test`), or its own (`train`).
    """
    sentences = draw(QuerySentences(VALIDATION_SEED, split), count)
    right: Counter[str] = Counter()
    words = 0
    for k in range(0, count, 256):
        part = sentences[k : k + 256]
        intents, tags = targets(part)
        output = reader.eval()([[w for w, *_ in s.words] for s in part])
        whole = output.intent.argmax(-1) == intents
        right["intent"] += int(whole.sum())
        for name, wanted in tags.items():
            hit = (getattr(output, name).argmax(-1) == wanted) | (wanted == _IGNORED)
            right[name] += int((hit & (wanted != _IGNORED)).sum())
            whole &= hit.all(-1)
        right["sentence"] += int(whole.sum())
        words += int((tags["role"] != _IGNORED).sum())
    return {
        name: value / (count if name in ("intent", "sentence") else words)
        for name, value in right.items()
    }
