"""Sentences against references: BLEU, ROUGE-L, CIDEr and an exact-word METEOR (METHODS 5.4, 5.6).

Written here because the kept libraries need Java, a download, or both. BLEU, ROUGE-L and CIDEr
follow the captioning evaluation that the papers report (closest reference length; one-sided best of
the references; CIDEr-D with a length penalty of sigma 6). METEOR's published variant also matches
stems, synonyms and paraphrases from tables that come with its Java program; ours, after Banerjee
and Lavie 2005, matches exact words only, has that name, and gives lower scores.

All take tokenised sentences: `words` of a hypothesis, `references` a list of such for each.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

Tokens = Sequence[str]
References = Sequence[Tokens]
Gram = tuple[str, ...]
Weights = dict[Gram, float]

ORDERS = 4
_ROUGE_BETA = 1.2
_CIDER_SIGMA = 6.0
_CLITIC = re.compile(r"(?<=[a-z])(n't|'(?:s|re|ve|ll|d|m))(?![a-z])")
_TOKEN = re.compile(r"n't(?![a-z])|'(?:s|re|ve|ll|d|m)(?![a-z])|\w+(?:[-.,:/']\w+)*")


def caption_words(text: str) -> list[str]:
    """Lower-case words without punctuation, contractions split ("does n't", "it 's"), compounds
    and numbers whole: the Penn treebank's habits as captions need them.
    """
    return _TOKEN.findall(_CLITIC.sub(r" \1", text.lower().replace("\u2019", "'")))


def text_scores(hypotheses: Sequence[Tokens], references: Sequence[References]) -> dict[str, float]:
    """Every measure over a corpus, times 100 as papers print them."""
    scores = {f"bleu{n}": value for n, value in enumerate(bleu(hypotheses, references), 1)}
    pairs = list(zip(hypotheses, references, strict=True))
    scores["meteor_exact"] = float(np.mean([meteor_exact(*pair) for pair in pairs]))
    scores["rouge_l"] = float(np.mean([rouge_l(*pair) for pair in pairs]))
    scores["cider"] = float(np.mean(cider(hypotheses, references)))
    return {name: 100 * value for name, value in scores.items()}


def bleu(hypotheses: Sequence[Tokens], references: Sequence[References]) -> list[float]:
    """BLEU-1 to BLEU-4 of a corpus (Papineni et al. 2002); the reference length is that closest to
    the hypothesis, the shorter of two equally close. No smoothing.
    """
    right, total = np.zeros(ORDERS), np.zeros(ORDERS)
    length = reference_length = 0
    for words, known in zip(hypotheses, references, strict=True):
        length += len(words)
        reference_length += min((abs(len(r) - len(words)), len(r)) for r in known)[1]
        for n, predicted in enumerate(_all_grams(words)):
            most: Counter[Gram] = Counter()
            for one in known:
                most |= _all_grams(one)[n]
            right[n] += (predicted & most).total()
            total[n] += predicted.total()
    brevity = math.exp(min(0.0, 1 - reference_length / length)) if length else 0.0
    shares = np.divide(right, total, out=np.zeros(ORDERS), where=total > 0)
    return [float(brevity * shares[:n].prod() ** (1 / n)) for n in range(1, ORDERS + 1)]


def rouge_l(words: Tokens, references: References) -> float:
    """ROUGE-L of a sentence: longest common subsequence; best precision and best recall over the
    references, weighted by beta 1.2 (Lin 2004, as captioning uses it).
    """
    common = [_longest_common(words, one) for one in references]
    if not max(common):
        return 0.0
    precision = max(common) / len(words)
    recall = max(c / len(one) for c, one in zip(common, references, strict=True) if len(one))
    beta2 = _ROUGE_BETA**2
    return (1 + beta2) * precision * recall / (recall + beta2 * precision)


def meteor_exact(words: Tokens, references: References) -> float:
    """METEOR of a sentence with exact words alone, best over the references: the harmonic mean
    10PR / (R + 9P), less half the cube of chunks per matched word (Banerjee and Lavie 2005).
    """
    return max(_meteor(list(words), list(one)) for one in references)


def cider(hypotheses: Sequence[Tokens], references: Sequence[References]) -> np.ndarray:
    """CIDEr-D of each sentence (N,), from 0 to 10 (Vedantam et al. 2015).

    n-grams weigh by the logarithm of how few of the corpus's reference sets have them, so figures
    of different corpora do not compare, and a corpus of one sentence scores 0.
    """
    documents: Counter[Gram] = Counter()
    for known in references:
        documents.update({gram for one in known for grams in _all_grams(one) for gram in grams})

    def weigh(words: Tokens) -> list[Weights]:
        return [
            {g: k * math.log(len(references) / max(1, documents[g])) for g, k in grams.items()}
            for grams in _all_grams(words)
        ]

    scores = []
    for words, known in zip(hypotheses, references, strict=True):
        predicted = weigh(words)
        similarity = [
            np.mean([_similarity(a, b) for a, b in zip(predicted, weigh(one), strict=True)])
            * math.exp(-((len(words) - len(one)) ** 2) / (2 * _CIDER_SIGMA**2))
            for one in known
        ]
        scores.append(10 * float(np.mean(similarity)))
    return np.array(scores)


def _similarity(predicted: Weights, known: Weights) -> float:
    """Cosine of two n-gram vectors, predicted counts clipped to the reference counts."""
    norms = math.sqrt(sum(v * v for v in predicted.values()) * sum(v * v for v in known.values()))
    shared = sum(
        min(v, known[gram]) * known[gram] for gram, v in predicted.items() if gram in known
    )
    return shared / norms if norms else 0.0


def _meteor(words: list[str], known: list[str]) -> float:
    matched = (Counter(words) & Counter(known)).total()
    if not matched:
        return 0.0
    precision, recall = matched / len(words), matched / len(known)
    mean = 10 * precision * recall / (recall + 9 * precision)
    return mean * (1 - 0.5 * (_chunks(words, known) / matched) ** 3)


def _chunks(words: list[str], known: list[str]) -> int:
    """Runs of matched words: the longest common run is taken out, again and again."""
    free_a, free_b = [True] * len(words), [True] * len(known)
    count = 0
    while True:
        best = (0, 0, 0)
        table = np.zeros((len(words) + 1, len(known) + 1), dtype=int)
        for i, j in np.ndindex(len(words), len(known)):
            if free_a[i] and free_b[j] and words[i] == known[j]:
                table[i + 1, j + 1] = table[i, j] + 1
                best = max(best, (int(table[i + 1, j + 1]), -i, -j))
        length, i, j = best[0], -best[1], -best[2]
        if not length:
            return count
        free_a[i - length + 1 : i + 1] = [False] * length
        free_b[j - length + 1 : j + 1] = [False] * length
        count += 1


def _longest_common(a: Tokens, b: Tokens) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        above, row = row, [0]
        for j, other in enumerate(b):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[-1]))
    return row[-1]


def _all_grams(words: Tokens) -> list[Counter[Gram]]:
    """How often each n-gram occurs, for n from 1 to ORDERS."""
    return [
        Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        for n in range(1, ORDERS + 1)
    ]
