"""Fits the weights of `tasks/resolution.py` on questions about generated rooms.

An example is a question of the held-out wordings, as the shipped reader reads it, about an object
map of the built-in proposals. Its terms are those of the engine; which objects are right comes from
the overlap with the true boxes, and "nothing" is right where the map lacks the object. The
likelihood of the right objects is maximised (a softmax regression), with a ridge that holds the
weights of rare predicates near that of all relations. Anchors are chosen by the weights too, so the
terms are computed again with the fitted ones. Then one temperature is fitted to confidences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from spatial3d_ros.bags.reader import read_bag
from spatial3d_ros.engine import Spatial3D
from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import iou_matrix
from spatial3d_ros.research.evaluation.room_queries import MIN_IOU, draw_questions
from spatial3d_ros.research.language.questions import Question
from spatial3d_ros.research.rooms.recorded_rooms import RecordedRoom
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.query import Description
from spatial3d_ros.tasks.resolution import Resolution
from spatial3d_ros.tasks.resolution_weights import TERMS, Weights
from spatial3d_ros.tasks.selection import Choice, Selection

QUESTIONS = (
    *("attribute",) * 10, *("size",) * 8, *("relation",) * 20, *("view",) * 8, *("hop",) * 3,
    *("none",) * 6, *("appearance",) * 6,
)  # fmt: skip
ROUNDS = 2
RIDGE = 0.05  # of the summed loss, to the start
RELATION_RIDGE = 6.0  # of a predicate, to the weight of all relations


@dataclass(frozen=True, eq=False)
class Asked:
    """A question about an object, read, and which objects of the map are `right` (N + 1) bool,
    "nothing" last.
    """

    question: Question
    description: Description
    selection: Selection
    right: np.ndarray

    def answered(self, weights: Weights) -> Answered:
        """Scores and choice."""
        self.selection.resolver.weights = weights
        resolution = self.selection.resolver.resolve([self.description])[0]
        return Answered(self, resolution, self.selection.chosen(resolution))


@dataclass(frozen=True, eq=False)
class Answered:
    """The scores of a question's objects, and what was chosen."""

    asked: Asked
    resolution: Resolution
    choice: Choice

    @property
    def hit(self) -> bool:
        """Whether the first object is right."""
        return bool(self.choice.objects and self.asked.right[self.choice.objects[0]])

    @property
    def good(self) -> bool:
        """Whether the right object was chosen, or rightly none."""
        return self.hit if self.choice.objects else bool(self.asked.right[-1])

    def shares(self, temperature: float) -> np.ndarray:
        """(N + 1) probabilities, "nothing" last."""
        scores = self.resolution.scores / temperature
        return np.asarray(np.exp(scores - np.logaddexp.reduce(scores)))


def observe(engine: Spatial3D, recorded: RecordedRoom) -> None:
    """Clear the engine and show it a recording."""
    engine.clear()
    for frame in read_bag(recorded.bag):
        engine.add_frame(frame)
    engine.refresh()


def ask(
    engine: Spatial3D, recorded: RecordedRoom, kinds: Sequence[str] = QUESTIONS
) -> Iterator[Asked]:
    """Questions about the map of the engine; one that is not read as a question about one object is
    left out.
    """
    objects = engine.scene().objects
    for question in draw_questions(recorded.seen(), recorded.room.seed, kinds):
        try:
            turn = engine.understood(question.text)
            turn.selection.choose(turn.query.targets)
        except QueryError:
            continue
        if len(turn.query.targets) == 1 and objects:
            right = right_objects(objects, recorded, question)
            yield Asked(question, turn.query.targets[0], turn.selection, right)


def right_objects(
    objects: Sequence[SceneObject], recorded: RecordedRoom, question: Question
) -> np.ndarray:
    """(N + 1) which objects of a map are the true one, "nothing" last where none is."""
    boxes = np.array([known.box.array() for known in objects])
    right = np.zeros(len(objects), bool)
    for target in question.targets:
        right |= iou_matrix(boxes, recorded.room.objects[target].box.array())[:, 0] >= MIN_IOU
    return np.append(right, not right.any())


def fit_weights(
    questions: Sequence[Asked], start: Weights, say: Callable[[str], None] = lambda text: None
) -> Weights:
    """The weights that make the right objects likeliest."""
    weights = start
    for step in range(ROUNDS):
        found = [asked.answered(weights) for asked in questions]
        weights = Weights(_maximum_likelihood(found, start))
        say(f"round {step + 1}, {len(found)} questions: {weights.terms}")
    found = [asked.answered(weights) for asked in questions]
    return Weights(weights.terms, fit_temperature(found))


def _maximum_likelihood(found: Sequence[Answered], start: Weights) -> dict[str, float]:
    names = [*TERMS, *sorted({n for a in found for n in a.resolution.terms} - set(TERMS))]
    relation = names.index("relation")
    special = np.array([name.startswith("relation.") for name in names])
    stacks = [
        np.stack([a.resolution.terms.get(n, np.zeros(len(a.asked.right))) for n in names], 1)
        for a in found
    ]
    rights = [a.asked.right for a in found]
    first = np.array([start.of(name) for name in names])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = 0.0, np.zeros(len(names))
        for stack, right in zip(stacks, rights, strict=True):
            scores = stack @ flat
            every = np.exp(scores - np.logaddexp.reduce(scores))
            good = np.where(right, scores, -np.inf)
            good = np.exp(good - np.logaddexp.reduce(good))
            value -= np.log(max(every[right].sum(), 1e-12))
            gradient += stack.T @ (every - good)
        away, apart = flat - first, np.where(special, flat - flat[relation], 0.0)
        value += RIDGE * away @ away + RELATION_RIDGE * apart @ apart
        gradient += 2 * RIDGE * away + 2 * RELATION_RIDGE * apart
        gradient[relation] -= 2 * RELATION_RIDGE * apart.sum()
        return value, gradient

    bounds = [(None if name == "network_nothing" else 0.0, None) for name in names]
    best = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds).x
    return {name: round(float(value), 3) for name, value in zip(names, best, strict=True)}


def fit_temperature(found: Sequence[Answered]) -> float:
    """The temperature that makes the confidences of the first objects likeliest."""
    pointed = [a for a in found if a.choice.objects]
    hits = np.array([a.hit for a in pointed])

    def loss(temperature: float) -> float:
        shares = [a.shares(temperature)[list(a.choice.same)].sum() for a in pointed]
        shares = np.clip(shares, 1e-4, 1 - 1e-4)
        return -float(np.log(np.where(hits, shares, 1 - shares)).sum())

    return round(float(minimize_scalar(loss, bounds=(0.3, 4.0), method="bounded").x), 2)


def write_weights(path: Path, weights: Weights) -> None:
    """Write the file that `tasks.resolution_weights.read_weights` reads."""
    lines = [f"  {name}: {value:g}" for name, value in weights.terms.items()]
    path.write_text(
        "# Written by `spatial3d fit-resolution`; read by tasks/resolution_weights.py.\nterms:\n"
        + "\n".join(lines)
        + f"\ntemperature: {weights.temperature:g}\n"
    )
