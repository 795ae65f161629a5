"""Homes and their referring expressions: truth against an independent evaluator and hand-made
rooms, names, splits, and training samples of them.
"""

import random
import re

import numpy as np
import pytest
import torch
import yaml

from helpers.small_model import small_config, small_tokenizer
from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.english import plural, with_article
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.tokens import SPECIAL_TOKENS
from spatial3d_ros.object_catalog import COLORS as SHADES
from spatial3d_ros.object_catalog import OBJECT_KINDS, SIMILAR_COLORS
from spatial3d_ros.research.homes.groups import groups, room_types
from spatial3d_ros.research.homes.object_names import ObjectNames, invented_word, misspell
from spatial3d_ros.research.homes.predicates import PredicateSampler
from spatial3d_ros.research.homes.referring_expressions import KINDS, ExpressionSampler
from spatial3d_ros.research.homes.rooms import FLOOR, WALL, Home, generate_home
from spatial3d_ros.research.homes.spatial_relations import SpatialRelations
from spatial3d_ros.research.homes.templates import RELATION_TEMPLATES, SENTENCE_TEMPLATES
from spatial3d_ros.research.training.config import HomesConfig, TrainConfig
from spatial3d_ros.research.training.home_samples import home_fields, make_home_sample
from spatial3d_ros.research.training.losses import naming_loss
from spatial3d_ros.research.training.presets import load_preset
from spatial3d_ros.research.training.sample import Sample
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.research.training.setup import initial_network
from spatial3d_ros.research.training.tokenizer import extend_tokenizer
from spatial3d_ros.tasks.prompt import Prompt

FOUR = HomesConfig(questions=4)
NAMES = small_config(names={"classes": list(CATEGORIES), "colors": list(COLORS)}).names


def settings(tmp_path, **changes):
    """A run on homes alone."""
    path = tmp_path / "model.yaml"
    path.write_text(yaml.safe_dump(small_config(names=NAMES.model_dump()).model_dump(mode="json")))
    homes = {"batch": 2, "questions": 3, "sentences": 60, "objects": 15}
    values = {"rendered": {"batch": 0}, "boxes": {"batch": 0}, "homes": homes, "steps": 3}
    return TrainConfig(model=str(path), out=str(tmp_path / "out"), warmup=1, **values | changes)


def made(seed, count=8, split="train"):
    home = generate_home(seed)
    sampler = ExpressionSampler(home, np.random.default_rng(seed), split)
    return home, sampler, sampler.sample(count)


@pytest.fixture(scope="module")
def drawn():
    return [made(seed) for seed in range(24)]


# -- rooms ----------------------------------------------------------------------------------------
def test_tables_refer_to_known_kinds():
    known = groups()
    for name, group in known.items():
        assert group.head in OBJECT_KINDS, name
        for member in group.members:
            assert member.relation == "row" or member.kind in OBJECT_KINDS, (name, member)
            assert member.least <= member.most
    assert all(name in known for kind in room_types() for name, _, _ in kind.groups)
    assert all(color in SHADES for kind in OBJECT_KINDS.values() for color in kind.colors)
    assert all(set(SIMILAR_COLORS[color].split()) <= SHADES.keys() for color in SHADES)
    assert len({noun for kind in OBJECT_KINDS.values() for noun in kind.nouns}) > 500


def test_one_seed_is_one_room():
    one, same, other = generate_home(3), generate_home(3), generate_home(4)
    assert one.keys == same.keys
    for name in ("boxes", "rgb", "front", "support", "size"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert one.keys != other.keys
    assert len(generate_home(3, 15).keys) < 30 < len(one.keys)


def test_rooms_are_full_and_have_many_of_a_kind(drawn):
    counts = [len(home.keys) for home, _, _ in drawn]
    assert min(counts) >= 7 and max(counts) <= 90
    assert np.median(counts) > 20
    most = [max(home.keys.count(k) for k in set(home.keys) - {"wall"}) for home, _, _ in drawn]
    assert np.mean(most) > 3
    for home, _, _ in drawn:
        assert np.isfinite(home.boxes).all() and (home.boxes[:, 3:] > 0).all()
        assert ((home.support >= WALL) & (home.support < len(home.keys))).all()
        fronts = home.front[~np.isnan(home.front).any(1)]
        np.testing.assert_allclose(np.linalg.norm(fronts, axis=1), 1)


def test_supported_objects_are_over_their_support(drawn):
    for home, _, _ in drawn:
        low, high = (
            home.boxes[:, :2] - home.boxes[:, 3:5] / 2,
            home.boxes[:, :2] + home.boxes[:, 3:5] / 2,
        )
        for i, support in enumerate(home.support):
            if support < 0:
                continue
            shared = np.minimum(high[i], high[support]) - np.maximum(low[i], low[support])
            assert (shared > -0.25).all(), (home.keys[i], home.keys[support])
            assert home.boxes[i, 2] > home.boxes[support, 2] - home.boxes[support, 5] / 2


# -- truth ----------------------------------------------------------------------------------------
def cross(a, b):
    """Positive where b points to the left of a, both (2,) seen from above."""
    return float(a[0] * b[1] - a[1] * b[0])


class ReferenceEvaluator:
    """One threshold for each predicate, between its strict and its loose one, in plain loops."""

    def __init__(self, home, names):
        self.home, self.names, self.boxes = home, names, home.boxes
        inner = [
            b
            for b, k in zip(home.boxes, home.keys, strict=True)
            if k not in ("wall", "floor", "ceiling")
        ]
        self.low = np.min([b[:3] - b[3:] / 2 for b in inner], axis=0)
        self.high = np.max([b[:3] + b[3:] / 2 for b in inner], axis=0)
        self.middle = (self.low + self.high) / 2

    def gap(self, i, j):
        a, b = self.boxes[i], self.boxes[j]
        away = [max(0.0, abs(a[k] - b[k]) - (a[3 + k] + b[3 + k]) / 2) for k in range(3)]
        return float(np.hypot(np.hypot(*away[:2]), away[2]))

    def off(self, i, j):
        return float(np.linalg.norm(self.boxes[i, :3] - self.boxes[j, :3]))

    def bottom(self, i):
        return self.boxes[i, 2] - self.boxes[i, 5] / 2

    def top(self, i):
        return self.boxes[i, 2] + self.boxes[i, 5] / 2

    def outside(self, i, j):
        """How far the centre of i is outside the outline of j."""
        off = np.abs(self.boxes[i, :2] - self.boxes[j, :2]) - self.boxes[j, 3:5] / 2
        return float(off.max())

    def on(self, i, j):
        return self.home.support[i] == j or (
            abs(self.bottom(i) - self.top(j)) < 0.1 and self.outside(i, j) < 0.02
        )

    def above(self, i, j):
        return (
            self.bottom(i) > self.top(j) and self.outside(i, j) < 0.15 and self.home.support[i] != j
        )

    def pair(self, kind, i, j):
        if kind == "near":
            return self.gap(i, j) < 0.6
        if kind in ("on", "above"):
            return getattr(self, kind)(i, j)
        if kind == "below":
            tucked = self.top(i) < self.top(j) - 0.05 and self.outside(i, j) < 0.02
            return self.above(j, i) or (tucked and self.bottom(i) < self.bottom(j) + 0.2)
        if kind in ("end", "middle"):
            long = int(self.boxes[j, 4] > self.boxes[j, 3])
            share = abs(self.boxes[i, long] - self.boxes[j, long]) / self.boxes[j, 3 + long]
            return self.gap(i, j) < 0.8 and (share > 0.4 if kind == "end" else share < 0.2)
        if kind in ("facing", "back to"):
            i, j = j, i
        front = self.home.front[j]
        to = self.boxes[i, :2] - self.boxes[j, :2]
        turn = np.degrees(np.arctan2(front[0] * to[1] - front[1] * to[0], front @ to))
        # Counter-clockwise of the front is the anchor's own left: the right of a viewer.
        wanted = {"front": 0, "facing": 0, "behind": 180, "back to": 180, "right": 90, "left": -90}
        if kind == "across":
            return min(abs(turn), 180 - abs(turn)) < 40 and np.linalg.norm(to) > 0.8
        return abs((turn - wanted[kind] + 180) % 360 - 180) < 50 and np.linalg.norm(to) < 4.5

    def lateral(self, predicate, i):
        """How far left an object is for a viewer who faces `predicate.view`."""
        (seen,) = np.flatnonzero(predicate.view.strict)
        ahead = self.boxes[seen, :2] - self.middle[:2]
        ahead = -ahead if predicate.entering else ahead
        return cross(ahead, self.boxes[i, :2])

    def fits(self, predicate, i):
        kind, anchors = predicate.kind, [np.flatnonzero(noun.strict) for noun in predicate.anchors]
        if kind == "not":
            return not self.fits(predicate.negated, i)
        if kind == "color":
            return self.home.colors[i] == predicate.value
        if kind in ("closest", "farthest"):
            reach = {
                k: min(self.off(k, a) for a in anchors[0])
                for k in np.flatnonzero(predicate.candidates)
            }
            return (min if kind == "closest" else max)(reach, key=reach.get) == i
        if kind == "between":
            a, b = anchors[0] if predicate.value == "two" else (anchors[0][0], anchors[1][0])
            line = self.boxes[b, :2] - self.boxes[a, :2]
            to = self.boxes[i, :2] - self.boxes[a, :2]
            along = to @ line / (line @ line)
            return 0.15 < along < 0.85 and np.linalg.norm(
                to - along * line
            ) < 0.35 * np.linalg.norm(line)
        if kind == "spot":
            return self.spot(predicate.value, i)
        if kind == "size":
            b = self.boxes
            values = {"large": b[:, 3] * b[:, 4] * b[:, 5], "tall": b[:, 5], "high": b[:, 2],
                      "long": np.maximum(b[:, 3], b[:, 4])}[predicate.value[1:]]  # fmt: skip
            candidates = np.flatnonzero(predicate.candidates)
            best = np.argmax if predicate.value[0] == "+" else np.argmin
            return candidates[best(values[candidates])] == i
        if kind == "shape":
            w, d, h = *sorted(self.boxes[i, 3:5])[::-1], self.boxes[i, 5]
            return {"square": w / d < 1.25, "rectangular": w / d > 1.35, "long": w / d > 1.8,
                    "tall": h / w > 1.4}[predicate.value]  # fmt: skip
        if kind in ("with", "count"):
            name = predicate.value.split()[0]
            number = sum(self.pair(name, a, i) for a in anchors[0])
            return number > 0 if kind == "with" else number == int(predicate.value.split()[1])
        if kind == "view order":
            return self.has_rank(
                predicate,
                i,
                {k: self.lateral(predicate, k) for k in np.flatnonzero(predicate.candidates)},
            )
        if kind == "order":
            return self.in_row(predicate, i)
        if kind == "view side":
            origin = np.append(self.middle[:2], 0) if not anchors else self.boxes[anchors[0][0]]
            (seen,) = np.flatnonzero(predicate.view.strict)
            ahead = self.boxes[seen, :2] - self.middle[:2]
            ahead = -ahead if predicate.entering else ahead
            side = cross(ahead, self.boxes[i, :2] - origin[:2])
            return (side > 0) == (predicate.value == "left")
        return any(a != i and self.pair(kind, i, a) for a in self.others(predicate))

    def others(self, predicate):
        """Whom a relation is to: "the other chair" is another one for each chair."""
        (noun,) = predicate.anchors
        again = noun.shared and noun.predicate is None
        return np.flatnonzero(self.names.masks(noun.noun)[0] if again else noun.strict)

    def spot(self, name, i):
        b = self.boxes[i]
        sides = [
            min(b[k] - b[3 + k] / 2 - self.low[k], self.high[k] - b[k] - b[3 + k] / 2)
            for k in (0, 1)
        ]
        if name == "centre":
            return all(abs(b[k] - self.middle[k]) < 0.2 * (self.high - self.low)[k] for k in (0, 1))
        return {
            "corner": max(sides) < 0.6,
            "wall": min(sides) < 0.2,
            "floor": self.bottom(i) < 0.15,
        }[name]

    def in_row(self, predicate, i):
        """Left to right for a viewer in the room who looks at the wall of the row."""
        candidates = np.flatnonzero(predicate.candidates)
        away = {}
        for axis in (0, 1):
            low = [
                self.boxes[k, axis] - self.boxes[k, 3 + axis] / 2 - self.low[axis]
                for k in candidates
            ]
            high = [
                self.high[axis] - self.boxes[k, axis] - self.boxes[k, 3 + axis] / 2
                for k in candidates
            ]
            away[axis, -1], away[axis, 1] = max(low), max(high)
        axis, sign = min(away, key=away.get)
        if predicate.value == "middle":  # from any side; a row is longer than it is wide
            axis = (
                1 - int(np.argmax(np.ptp(self.boxes[candidates, :2], axis=0)))
                if away[axis, sign] > 0.9
                else axis
            )
            return self.has_rank(predicate, i, {k: self.boxes[k, 1 - axis] for k in candidates})
        ahead = np.eye(2)[axis] * sign
        return self.has_rank(predicate, i, {k: cross(ahead, self.boxes[k, :2]) for k in candidates})

    @staticmethod
    def has_rank(predicate, i, lateral):
        row = sorted(lateral, key=lambda k: -lateral[k])
        side, _, number = predicate.value.partition(" ")
        if side == "middle":
            return row[len(row) // 2] == i
        k = int(number or 1)
        return row[k - 1 if side == "left" else -k] == i


def test_every_expression_is_true_of_one_object_only():
    found, seen = 0, set()
    for seed in range(40):
        home, sampler, expressions = made(seed, 10)
        reference = ReferenceEvaluator(home, sampler.names)
        for one in expressions:
            predicates = [*one.predicates, *([one.group] if one.group is not None else [])]
            fitting = [
                int(i) for i in np.flatnonzero(one.candidates)
                if all(c.candidates is None or c.candidates[i] for c in predicates)
                and all(reference.fits(c, i) for c in predicates)
            ]  # fmt: skip
            assert fitting == [one.target], (seed, one.text, [home.keys[i] for i in fitting])
            found += 1
            seen |= {predicate.kind for predicate in predicates}
    assert found > 250
    assert len(seen) >= 18 and seen <= KINDS.keys()


def test_anchors_are_never_the_target(drawn):
    for _, _, expressions in drawn:
        for one in expressions:
            assert one.candidates[one.target]
            assert not one.anchors[one.target]


def by_hand(*objects):
    """A room 6 m x 6 m of (key, box, front or None, support), with a door far off at x = -3."""
    objects = [*objects, ("window", (-2.95, -2.9, 1.5, 0.1, 0.2, 1.0), None, WALL)]
    objects = [*objects, ("radiator", (2.95, 2.9, 0.3, 0.1, 0.2, 0.6), None, FLOOR)]
    front = [(np.nan, np.nan) if f is None else f for _, _, f, _ in objects]
    return Home(
        0, "by hand", np.array([6.0, 6.0, 2.5]), tuple(t[0] for t in objects),
        np.array([t[1] for t in objects], float), np.full((len(objects), 3), 0.5),
        ("gray",) * len(objects), np.array(front), np.array([t[3] for t in objects]),
    )  # fmt: skip


def test_left_and_right_are_those_of_a_viewer_who_looks_at_the_front():
    bed = ("bed", (0, -2, 0.4, 1.6, 2.0, 0.8), (0.0, 1.0), FLOOR)
    stand = ("nightstand", (1.2, -2.3, 0.3, 0.5, 0.4, 0.6), (0.0, 1.0), FLOOR)
    bench = ("bench", (0, -0.5, 0.2, 1.2, 0.4, 0.4), None, FLOOR)
    pillow = ("pillow", (0.3, -2.8, 0.85, 0.5, 0.3, 0.2), None, 0)
    relations = SpatialRelations(by_hand(bed, stand, bench, pillow))
    # A viewer at the foot of the bed who looks towards -y has +x on the left.
    assert relations.pairs["left"][0][1, 0] and not relations.pairs["right"][1][1, 0]
    assert not relations.pairs["left"][0][2, 0] and not relations.pairs["left"][1][3, 0]
    assert relations.pairs["front"][0][2, 0] and not relations.pairs["behind"][1][2, 0]
    assert relations.pairs["on"][0][3, 0] and not relations.pairs["on"][1][2, 0]
    assert relations.pairs["near"][0][1, 0] and not relations.pairs["near"][0][3, 0]


def test_ranks_in_a_row_are_counted_from_the_room():
    chairs = [("chair", (x, -2.7, 0.4, 0.5, 0.5, 0.8), (0.0, 1.0), FLOOR) for x in (-1.5, 0.0, 1.5)]
    home = by_hand(*chairs)
    names = ObjectNames(home.keys, random.Random(1))
    sampler = PredicateSampler(home, names, random.Random(0))
    candidates = np.array([key == "chair" for key in home.keys])
    values = {k: {sampler.draw("order", k, candidates).value for _ in range(30)} for k in range(3)}
    # Looking at the wall y = -3 from the room, +x is on the left.
    assert values[2] == {"left", "left 1", "right 3"}
    assert values[1] == {"left 2", "right 2", "middle"}
    assert values[0] == {"right", "right 1", "left 3"}


def test_no_predicate_depends_on_a_threshold():
    def box(x):
        return ("box", (x, 0, 0.2, 0.3, 0.3, 0.3), None, FLOOR)

    lamp = ("floor lamp", (0, 0, 0.8, 0.3, 0.3, 1.6), None, FLOOR)
    for x, clear in ((-0.85, False), (-2.4, True)):
        home = by_hand(box(0.8), box(x), lamp)
        names = ObjectNames(home.keys, random.Random(1))
        sampler = PredicateSampler(home, names, random.Random(0))
        candidates = np.array([key == "box" for key in home.keys])
        to_lamp = [
            c for c in (sampler.draw("closest", 0, candidates) for _ in range(200))
            if c is not None and c.anchors[0].strict[2]
        ]  # fmt: skip
        assert bool(to_lamp) == clear


def test_strict_relations_are_part_of_loose_ones(drawn):
    for home, _, _ in drawn[:8]:
        relations = SpatialRelations(home)
        for name, (strict, loose) in {**relations.pairs, **relations.room_positions}.items():
            assert not (strict & ~loose).any(), name


# -- names ----------------------------------------------------------------------------------------
def test_rooms_with_invented_nouns(drawn):
    known = {noun for kind in OBJECT_KINDS.values() for noun in (*kind.nouns, *kind.broader)}
    rooms = [sampler.names for _, sampler, _ in drawn]
    shares = [np.mean([bool(label) and label not in known for label in n.labels]) for n in rooms]
    invented = [share for share, names in zip(shares, rooms, strict=True) if names.invented]
    assert 0 < len(invented) < len(rooms)
    assert min(invented) > 0.4
    assert max(s for s, n in zip(shares, rooms, strict=True) if not n.invented) < 0.25


def test_a_noun_means_its_kind_strictly_and_narrower_kinds_loosely():
    keys = ("chair", "office chair", "table", "coffee table", "bin")
    names = next(
        n for n in (ObjectNames(keys, random.Random(i)) for i in range(9)) if not n.invented
    )
    strict, loose = names.masks("chair")
    assert strict.tolist() == [True, False, False, False, False]
    assert loose.tolist() == [True, True, False, False, False]
    strict, loose = names.masks("garbage can")
    assert strict.tolist() == loose.tolist() == [False, False, False, False, True]


def test_plurals_articles_and_misspellings():
    assert [plural(n) for n in ("bookshelf", "box", "couch", "books", "glass", "berry")] == [
        "bookshelves", "boxes", "couches", "books", "glasses", "berries"
    ]  # fmt: skip
    assert [with_article(n) for n in ("oven", "chair by the oven", "books", "boxes on a desk")] == [
        "an oven", "a chair by the oven", "books", "boxes on a desk"
    ]  # fmt: skip
    rng = random.Random(0)
    slips = {misspell("whiteboard", rng) for _ in range(50)}
    assert len(slips) > 10 and all(9 <= len(slip) <= 11 for slip in slips)
    assert len({invented_word(rng) for _ in range(200)}) > 190


# -- words ----------------------------------------------------------------------------------------
def test_one_seed_is_one_list_of_statements(drawn):
    _, sampler, expressions = made(5)
    assert sampler.names.labels == drawn[5][1].names.labels
    assert [one.text for one in expressions] == [one.text for one in drawn[5][2]]


def test_templates_of_the_splits_are_disjoint():
    for name, frames in SENTENCE_TEMPLATES["train"].items():
        assert not set(frames) & set(SENTENCE_TEMPLATES["test"][name]), name
        assert SENTENCE_TEMPLATES["test"][name]
    marked = [
        text[1:] for texts in RELATION_TEMPLATES.values() for text in texts if text.startswith("~")
    ]
    own = {
        text for texts in RELATION_TEMPLATES.values() for text in texts if not text.startswith("~")
    }
    assert not own & set(marked)
    found = {split: set() for split in SENTENCE_TEMPLATES}
    literal = [re.escape(re.split(r"[{,]", text.lstrip("=+"))[0].strip()) for text in marked]
    pattern = re.compile("|".join(rf"\b{text}\b" for text in literal if len(text) > 9))
    for split in found:
        for seed in range(12):
            found[split] |= {
                m for one in made(seed, 8, split)[2] for m in pattern.findall(one.text.lower())
            }
    assert not found["train"]
    assert len(found["test"]) > 3


def test_statements_have_no_holes_and_many_forms(drawn):
    texts = [one.text for _, _, expressions in drawn for one in expressions]
    for text in texts:
        assert not re.search(r"[{}=+~]|  |\bNone\b", text), text
        assert 1 <= len(text.split()) <= 60
    openings = {" ".join(text.lower().split()[:2]) for text in texts}
    assert len(openings) > 60
    assert any(text.count(".") > 1 for text in texts)


# -- training -------------------------------------------------------------------------------------
def test_homes_become_a_sample():
    prompt = Prompt(small_tokenizer())
    rooms = [make_home_sample(seed, np.random.default_rng(seed), FOUR) for seed in (1, 2)]
    sample = Sample(**home_fields(rooms, prompt, NAMES))
    again = Sample(
        **home_fields(
            [make_home_sample(s, np.random.default_rng(s), FOUR) for s in (1, 2)], prompt, NAMES
        )
    )
    assert torch.equal(sample.words.ids, again.words.ids)
    assert torch.equal(sample.scenes.boxes, again.scenes.boxes)
    assert sample.origin == "homes" and sample.to("cpu").origin == "homes"
    assert len(sample.kinds) == len(sample.targets) == sum(len(r.expressions) for r in rooms)
    assert (sample.targets.sum(1) == 1).all()
    k = 0
    for b, room in enumerate(rooms):
        for i, label in enumerate(room.labels):
            ids = [t for t in sample.scenes.labels[b, i, 0].tolist() if t >= 0]
            assert ids == (prompt.ids(f" {label}")[:10] if label else [])
        for one in room.expressions:
            assert sample.targets[k, one.target]
            assert sample.roles[k, one.target, 0] == 1 and sample.roles[k, one.target, 1] == 0
            k += 1
    np.testing.assert_allclose(
        np.sort(sample.scenes.boxes[0, : len(rooms[0].boxes), 5]),
        np.sort(rooms[0].home.boxes[:, 5]),
        rtol=1e-5,
    )


def test_a_room_without_known_names_has_no_naming_loss():
    logits = torch.randn(2, 3, 5)
    none = torch.full((2, 3), -100)
    shares = logits.softmax(-1)
    assert naming_loss(shares, none) == 0
    some = none.clone()
    some[0, 1] = 2
    expected = torch.nn.functional.cross_entropy(logits[0, 1:2], torch.tensor([2]))
    torch.testing.assert_close(naming_loss(shares, some), expected)


def test_a_tokenizer_learns_words_and_keeps_its_own():
    old = small_tokenizer()
    size = old.get_vocab_size()
    corpus = ["the whiteboard by the radiator"] * 5 + ["a chair near the whiteboard"] * 5
    new, parts = extend_tokenizer(old, corpus, size + 12)
    assert size < new.get_vocab_size() <= size + 12
    for token, i in old.get_vocab().items():
        assert new.token_to_id(token) == i
    text = " whiteboard"
    assert len(new.encode(text).ids) < len(old.encode(text).ids)
    assert new.decode(new.encode(text).ids) == old.decode(old.encode(text).ids)
    assert set(parts) == set(range(size, new.get_vocab_size()))
    for token, pieces in parts.items():
        assert all(piece < size for piece in pieces)
        assert old.decode(pieces) == new.decode([token])
    assert all(new.token_to_id(token) is not None for token in SPECIAL_TOKENS)


def test_any_number_of_processes_reads_the_same_homes(tmp_path):
    config = settings(tmp_path)
    shape = small_config(names=NAMES.model_dump())
    prompt = Prompt(small_tokenizer())
    (whole,) = Samples(config, shape, prompt, None)[1][0]
    (resumed,) = Samples(config, shape, prompt, None, start=1)[0][0]
    assert torch.equal(whole.words.ids, resumed.words.ids)
    shares = [Samples(config, shape, prompt, None, share=(k, 2))[1][0][0] for k in range(2)]
    boxes = sorted(whole.scenes.boxes[whole.scenes.object_valid].tolist())
    apart = [s.scenes.boxes[s.scenes.object_valid] for s in shares]
    assert sorted(torch.cat(apart).tolist()) == boxes


def test_a_run_from_older_weights_learns_the_words_of_homes(tmp_path):
    old, tokenizer = SpatialModel(small_config(names=NAMES.model_dump())), small_tokenizer()
    save_model(tmp_path / "old", old, tokenizer, torch.float32)
    config = settings(tmp_path, init=str(tmp_path / "old"))
    (tmp_path / "out").mkdir()
    model, new = initial_network(config, load_preset("tiny"), tmp_path / "out")
    size, table = tokenizer.get_vocab_size(), model.decoder.embed.weight
    assert size < new.get_vocab_size() <= len(table)
    assert torch.equal(table[:size], old.decoder.embed.weight[:size])
    word = new.decode([size])
    pieces = tokenizer.encode(word, add_special_tokens=False).ids
    assert len(pieces) > 1
    torch.testing.assert_close(table[size], table[pieces].sum(0) / len(pieces) ** 0.5)
    _, same = initial_network(config, load_preset("tiny"), tmp_path / "out")
    assert same.to_str() == new.to_str()
