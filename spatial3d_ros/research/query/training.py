"""Training of the query reader on generated sentences; `spatial3d train-reader`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from spatial3d_ros.research.query.sentences import QuerySentences, Sentence
from spatial3d_ros.tasks.query import INTENTS
from spatial3d_ros.tasks.query_network import (
    HEAD_NAMES,
    POSITIONS,
    QueryReader,
    load_reader,
    save_reader,
)

VALIDATION_SEED = 850_000
REPORT_EVERY = 500  # steps
_IGNORED = -100
_AVERAGE = 0.998  # of the weights that are written, for each step
_SMOOTHING = 0.05
_POOL = 16  # batches that are sorted by length at once


def draw(source: QuerySentences, count: int) -> list[Sentence]:
    """Sentences that the reader takes."""
    made: list[Sentence] = []
    while len(made) < count:
        sentence = source.draw()
        if 0 < len(sentence.words) <= POSITIONS:
            made.append(sentence)
    return made


def batches(source: QuerySentences, batch: int) -> Iterator[list[Sentence]]:
    """Batches without end, of sentences about as long as each other."""
    while True:
        sentences = sorted(draw(source, batch * _POOL), key=lambda s: len(s.words))
        parts = [sentences[k : k + batch] for k in range(0, len(sentences), batch)]
        source.rng.shuffle(parts)
        yield from parts


def targets(sentences: Sequence[Sentence]) -> tuple[Tensor, dict[str, Tensor]]:
    """Classes of intents (B,) and of each word's tags (B, L). Nothing is asked of the tags of a
    sentence that is refused.
    """
    length = max(len(s.words) for s in sentences)
    tags = {}
    for name, classes in HEAD_NAMES.items():
        index = {tag: k for k, tag in enumerate(classes)}
        rows = [
            []
            if sentence.intent.startswith("unsupported")
            else [index[getattr(word, name)] for word in sentence.words]
            for sentence in sentences
        ]
        tags[name] = torch.tensor([row + [_IGNORED] * (length - len(row)) for row in rows])
    return torch.tensor([INTENTS.index(s.intent) for s in sentences]), tags


def train_reader(
    path: Path,
    *,
    steps: int = 8000,
    batch: int = 128,
    rate: float = 2e-3,
    seed: int = 0,
    split: str = "train",
    start: Path | None = None,
    favoured: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> None:
    """Train and write the averaged weights to `path`; reports held-out accuracy on the way.

    split: "all" trains on the held-out frames too. start: weights to go on from. favoured: slots
    whose frames make half of the sentences.
    """
    torch.manual_seed(seed)
    source = QuerySentences(seed, split, favoured)
    reader = load_reader(start) if start else QueryReader()
    average = deepcopy(reader)
    optimizer = torch.optim.AdamW(reader.parameters(), rate, weight_decay=0.03, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.05)
    begin = time.monotonic()
    for step, sentences in zip(range(1, steps + 1), batches(source, batch), strict=False):
        intents, tags = targets(sentences)
        output = reader.train()([[item.word for item in s.words] for s in sentences])
        loss = cross_entropy(output.intent, intents, label_smoothing=_SMOOTHING)
        for name, wanted in tags.items():
            logits = getattr(output, name).flatten(0, 1)
            loss = loss + cross_entropy(logits, wanted.flatten(), ignore_index=_IGNORED)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        share = min(_AVERAGE, step / (step + 10))
        with torch.no_grad():
            for mean, now in zip(average.parameters(), reader.parameters(), strict=True):
                mean.lerp_(now, 1 - share)
        if step % REPORT_EVERY == 0 or step == steps:
            save_reader(average, path)
            scores = evaluate_reader(average, split="test")
            shown = ", ".join(f"{k} {v:.3f}" for k, v in scores.items())
            say(f"step {step}, loss {loss.item():.3f}, {time.monotonic() - begin:.0f} s: {shown}")


@torch.no_grad()
def evaluate_reader(
    reader: QueryReader, count: int = 1024, split: str = "test"
) -> dict[str, float]:
    """Share of right intents, of words with the right tag, and of sentences with all right; on
    sentences of a split.
    """
    sentences = draw(QuerySentences(VALIDATION_SEED, split), count)
    right: Counter[str] = Counter()
    words = 0
    for k in range(0, count, 256):
        part = sentences[k : k + 256]
        intents, tags = targets(part)
        output = reader.eval()([[item.word for item in s.words] for s in part])
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
