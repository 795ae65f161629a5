"""The kinds of the network's choices by relation or split: which part of a sentence it misses.

opposite      the target of the opposite relation: farthest for closest (generated sentences)
same class    another object of the target's class
anchor        an object of another class that the sentence names
unnamed       an object of a class that the sentence does not name
nothing       no answer, or no boxes to choose from
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from spatial3d_ros.research.evaluation.public.boxes_cases import Case
from spatial3d_ros.research.evaluation.public.referit_heuristic import named_labels
from spatial3d_ros.research.evaluation.public.relation_rules import OPPOSITES, choose_by_rule

KINDS = ("right", "opposite", "same class", "anchor", "unnamed", "nothing")
Confusion = dict[str, dict[str, float | int]]


def confusion(cases: Sequence[Case], chosen: Sequence[int | None]) -> Confusion:
    """By split, the share of each of KINDS and the number n of sentences."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for case, slot in zip(cases, chosen, strict=True):
        kind = _kind(case, slot)
        for split in ("overall", *case.splits):
            groups[split][kind] += 1
    return {
        split: {"n": counts.total(), **{k: counts[k] / counts.total() for k in KINDS}}
        for split, counts in groups.items()
    }


def _kind(case: Case, slot: int | None) -> str:
    if slot is None:
        return "nothing"
    if any(right[slot] for right in case.hits().values()):
        return "right"
    label = case.choices.labels[slot]
    if label == case.label:
        relation = OPPOSITES.get(case.splits[-1])
        if relation and choose_by_rule(case.choices, case.text, relation) == slot:
            return "opposite"
        return "same class"
    return "anchor" if label in named_labels(case.text, case.choices.labels) else "unnamed"
