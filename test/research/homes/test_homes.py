"""Homes and what people say about them: truth against a second, plain evaluator and hand-made
rooms, names, splits, and how they become training samples.
"""

import random
import re

import numpy as np
import pytest
import torch
import yaml

from helpers.small_model import small_config, small_tokenizer
from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.tokens import SPECIAL_TOKENS, extend_tokenizer
from spatial3d_ros.research.homes.groups import groups, kinds
from spatial3d_ros.research.homes.object_catalog import COLORS as SHADES
from spatial3d_ros.research.homes.object_catalog import CONFUSED, THINGS
from spatial3d_ros.research.homes.object_names import Naming, made_up_word, misspell, plural
from spatial3d_ros.research.homes.predicates import PredicateSampler
from spatial3d_ros.research.homes.realizer import article
from spatial3d_ros.research.homes.referring_expressions import KINDS, Statements
from spatial3d_ros.research.homes.rooms import FLOOR, WALL, Home, generate_home
from spatial3d_ros.research.homes.spatial_relations import Facts
from spatial3d_ros.research.homes.templates import FRAMES, PLACES
from spatial3d_ros.research.training.config import HomesConfig, TrainConfig
from spatial3d_ros.research.training.home_samples import home_fields, make_home_sample
from spatial3d_ros.research.training.losses import naming_loss
from spatial3d_ros.research.training.presets import load_preset
from spatial3d_ros.research.training.samples import Sample, Samples
from spatial3d_ros.research.training.setup import first_network
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
    said = Statements(home, np.random.default_rng(seed), split)
    return home, said, said.make(count)


@pytest.fixture(scope="module")
def told():
    return [made(seed) for seed in range(24)]


# -- rooms ----------------------------------------------------------------------------------------
def test_tables_name_only_things_that_exist():
    known = groups()
    for name, group in known.items():
        assert group.head in THINGS, name
        for member in group.members:
            assert member.how == "row" or member.thing in THINGS, (name, member)
            assert member.least <= member.most
    assert all(name in known for kind in kinds() for name, _, _ in kind.groups)
    assert all(color in SHADES for thing in THINGS.values() for color in thing.colors)
    assert all(set(CONFUSED[color].split()) <= SHADES.keys() for color in SHADES)
    assert len({noun for thing in THINGS.values() for noun in thing.names}) > 500


def test_one_seed_is_one_room():
    one, same, other = generate_home(3), generate_home(3), generate_home(4)
    assert one.keys == same.keys
    for name in ("boxes", "rgb", "front", "support", "size"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert one.keys != other.keys
    assert len(generate_home(3, 15).keys) < 30 < len(one.keys)


def test_rooms_are_full_and_have_many_of_a_kind(told):
    counts = [len(home.keys) for home, _, _ in told]
    assert min(counts) >= 7 and max(counts) <= 90
    assert np.median(counts) > 20
    most = [max(home.keys.count(k) for k in set(home.keys) - {"wall"}) for home, _, _ in told]
    assert np.mean(most) > 3
    for home, _, _ in told:
        assert np.isfinite(home.boxes).all() and (home.boxes[:, 3:] > 0).all()
        assert ((home.support >= WALL) & (home.support < len(home.keys))).all()
        fronts = home.front[~np.isnan(home.front).any(1)]
        np.testing.assert_allclose(np.linalg.norm(fronts, axis=1), 1)


def test_what_stands_on_a_thing_is_over_it(told):
    for home, _, _ in told:
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


class Plain:
    """One threshold for each clause, somewhere between "surely" and "could be", in plain loops."""

    def __init__(self, home, naming):
        self.home, self.naming, self.boxes = home, naming, home.boxes
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
        # Counter-clockwise of the front is the anchor's own left: on the right for who looks at it.
        wanted = {"front": 0, "facing": 0, "behind": 180, "back to": 180, "right": 90, "left": -90}
        if kind == "across":
            return min(abs(turn), 180 - abs(turn)) < 40 and np.linalg.norm(to) > 0.8
        return abs((turn - wanted[kind] + 180) % 360 - 180) < 50 and np.linalg.norm(to) < 4.5

    def lateral(self, clause, i):
        """How far left a thing is for who faces what is looked at."""
        (seen,) = np.flatnonzero(clause.view.yes)
        ahead = self.boxes[seen, :2] - self.middle[:2]
        ahead = -ahead if clause.entering else ahead
        return cross(ahead, self.boxes[i, :2])

    def fits(self, clause, i):
        kind, anchors = clause.kind, [np.flatnonzero(noun.yes) for noun in clause.anchors]
        if kind == "not":
            return not self.fits(clause.inner, i)
        if kind == "color":
            return self.home.colors[i] == clause.value
        if kind in ("closest", "farthest"):
            reach = {
                k: min(self.off(k, a) for a in anchors[0]) for k in np.flatnonzero(clause.among)
            }
            return (min if kind == "closest" else max)(reach, key=reach.get) == i
        if kind == "between":
            a, b = anchors[0] if clause.value == "two" else (anchors[0][0], anchors[1][0])
            line = self.boxes[b, :2] - self.boxes[a, :2]
            to = self.boxes[i, :2] - self.boxes[a, :2]
            along = to @ line / (line @ line)
            return 0.15 < along < 0.85 and np.linalg.norm(
                to - along * line
            ) < 0.35 * np.linalg.norm(line)
        if kind == "spot":
            return self.spot(clause.value, i)
        if kind == "size":
            b = self.boxes
            values = {"large": b[:, 3] * b[:, 4] * b[:, 5], "tall": b[:, 5], "high": b[:, 2],
                      "long": np.maximum(b[:, 3], b[:, 4])}[clause.value[1:]]  # fmt: skip
            among = np.flatnonzero(clause.among)
            best = np.argmax if clause.value[0] == "+" else np.argmin
            return among[best(values[among])] == i
        if kind == "shape":
            w, d, h = *sorted(self.boxes[i, 3:5])[::-1], self.boxes[i, 5]
            return {"square": w / d < 1.25, "rectangular": w / d > 1.35, "long": w / d > 1.8,
                    "tall": h / w > 1.4}[clause.value]  # fmt: skip
        if kind in ("with", "count"):
            name = clause.value.split()[0]
            number = sum(self.pair(name, a, i) for a in anchors[0])
            return number > 0 if kind == "with" else number == int(clause.value.split()[1])
        if kind == "view order":
            return self.placed(
                clause, i, {k: self.lateral(clause, k) for k in np.flatnonzero(clause.among)}
            )
        if kind == "order":
            return self.in_row(clause, i)
        if kind == "view side":
            origin = np.append(self.middle[:2], 0) if not anchors else self.boxes[anchors[0][0]]
            (seen,) = np.flatnonzero(clause.view.yes)
            ahead = self.boxes[seen, :2] - self.middle[:2]
            ahead = -ahead if clause.entering else ahead
            side = cross(ahead, self.boxes[i, :2] - origin[:2])
            return (side > 0) == (clause.value == "left")
        return any(a != i and self.pair(kind, i, a) for a in self.others(clause))

    def others(self, clause):
        """Whom a relation is to: "the other chair" is another one for each chair."""
        (noun,) = clause.anchors
        again = noun.other and noun.clause is None
        return np.flatnonzero(self.naming.masks(noun.word)[0] if again else noun.yes)

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

    def in_row(self, clause, i):
        """Left to right for who looks at the wall that the things are at, from the room."""
        among = np.flatnonzero(clause.among)
        away = {}
        for axis in (0, 1):
            low = [
                self.boxes[k, axis] - self.boxes[k, 3 + axis] / 2 - self.low[axis] for k in among
            ]
            high = [
                self.high[axis] - self.boxes[k, axis] - self.boxes[k, 3 + axis] / 2 for k in among
            ]
            away[axis, -1], away[axis, 1] = max(low), max(high)
        axis, sign = min(away, key=away.get)
        if clause.value == "middle":  # from any side; a row is longer than it is wide
            axis = (
                1 - int(np.argmax(np.ptp(self.boxes[among, :2], axis=0)))
                if away[axis, sign] > 0.9
                else axis
            )
            return self.placed(clause, i, {k: self.boxes[k, 1 - axis] for k in among})
        ahead = np.eye(2)[axis] * sign
        return self.placed(clause, i, {k: cross(ahead, self.boxes[k, :2]) for k in among})

    @staticmethod
    def placed(clause, i, lateral):
        row = sorted(lateral, key=lambda k: -lateral[k])
        side, _, number = clause.value.partition(" ")
        if side == "middle":
            return row[len(row) // 2] == i
        k = int(number or 1)
        return row[k - 1 if side == "left" else -k] == i


def test_every_statement_is_true_of_one_thing_alone():
    found, seen = 0, set()
    for seed in range(40):
        home, said, statements = made(seed, 10)
        plain = Plain(home, said.naming)
        for one in statements:
            clauses = [*one.clauses, *([one.group] if one.group is not None else [])]
            fitting = [
                int(i) for i in np.flatnonzero(one.candidates)
                if all(plain.fits(c, i) for c in clauses if c.among is None or c.among[i])
                and all(c.among is None or c.among[i] for c in clauses)
            ]  # fmt: skip
            assert fitting == [one.target], (seed, one.text, [home.keys[i] for i in fitting])
            found += 1
            seen |= {clause.kind for clause in clauses}
    assert found > 250
    assert len(seen) >= 18 and seen <= KINDS.keys()


def test_anchors_are_never_the_target(told):
    for _, _, statements in told:
        for one in statements:
            assert one.candidates[one.target]
            assert not one.anchors[one.target]


def by_hand(*things):
    """A room 6 m x 6 m of (key, box, front or None, support), with a door far off at x = -3."""
    things = [*things, ("window", (-2.95, -2.9, 1.5, 0.1, 0.2, 1.0), None, WALL)]
    things = [*things, ("radiator", (2.95, 2.9, 0.3, 0.1, 0.2, 0.6), None, FLOOR)]
    front = [(np.nan, np.nan) if f is None else f for _, _, f, _ in things]
    return Home(
        0, "by hand", np.array([6.0, 6.0, 2.5]), tuple(t[0] for t in things),
        np.array([t[1] for t in things], float), np.full((len(things), 3), 0.5),
        ("gray",) * len(things), np.array(front), np.array([t[3] for t in things]),
    )  # fmt: skip


def test_left_and_right_are_those_of_who_looks_at_the_front():
    bed = ("bed", (0, -2, 0.4, 1.6, 2.0, 0.8), (0.0, 1.0), FLOOR)
    stand = ("nightstand", (1.2, -2.3, 0.3, 0.5, 0.4, 0.6), (0.0, 1.0), FLOOR)
    bench = ("bench", (0, -0.5, 0.2, 1.2, 0.4, 0.4), None, FLOOR)
    pillow = ("pillow", (0.3, -2.8, 0.85, 0.5, 0.3, 0.2), None, 0)
    facts = Facts(by_hand(bed, stand, bench, pillow))
    # Who stands at the foot of the bed and looks towards -y has +x on the left.
    assert facts.pairs["left"][0][1, 0] and not facts.pairs["right"][1][1, 0]
    assert not facts.pairs["left"][0][2, 0] and not facts.pairs["left"][1][3, 0]
    assert facts.pairs["front"][0][2, 0] and not facts.pairs["behind"][1][2, 0]
    assert facts.pairs["on"][0][3, 0] and not facts.pairs["on"][1][2, 0]
    assert facts.pairs["near"][0][1, 0] and not facts.pairs["near"][0][3, 0]


def test_places_in_a_row_are_counted_from_the_room():
    chairs = [("chair", (x, -2.7, 0.4, 0.5, 0.5, 0.8), (0.0, 1.0), FLOOR) for x in (-1.5, 0.0, 1.5)]
    home = by_hand(*chairs)
    naming = Naming(home.keys, random.Random(1))
    teller = PredicateSampler(home, naming, random.Random(0))
    among = np.array([key == "chair" for key in home.keys])
    values = {k: {teller.draw("order", k, among).value for _ in range(30)} for k in range(3)}
    # Looking at the wall y = -3 from the room, +x is on the left.
    assert values[2] == {"left", "left 1", "right 3"}
    assert values[1] == {"left 2", "right 2", "middle"}
    assert values[0] == {"right", "right 1", "left 3"}


def test_what_hangs_on_a_threshold_is_not_said():
    def box(x):
        return ("box", (x, 0, 0.2, 0.3, 0.3, 0.3), None, FLOOR)

    lamp = ("floor lamp", (0, 0, 0.8, 0.3, 0.3, 1.6), None, FLOOR)
    for x, clear in ((-0.85, False), (-2.4, True)):
        home = by_hand(box(0.8), box(x), lamp)
        naming = Naming(home.keys, random.Random(1))
        teller = PredicateSampler(home, naming, random.Random(0))
        among = np.array([key == "box" for key in home.keys])
        to_lamp = [
            c for c in (teller.draw("closest", 0, among) for _ in range(200))
            if c is not None and c.anchors[0].yes[2]
        ]  # fmt: skip
        assert bool(to_lamp) == clear


def test_a_sure_relation_is_always_a_possible_one(told):
    for home, _, _ in told[:8]:
        facts = Facts(home)
        for name, (yes, maybe) in {**facts.pairs, **facts.spots}.items():
            assert not (yes & ~maybe).any(), name


# -- names ----------------------------------------------------------------------------------------
def test_made_up_rooms_bear_words_that_nobody_knows(told):
    known = {noun for thing in THINGS.values() for noun in (*thing.names, *thing.broader)}
    rooms = [said.naming for _, said, _ in told]
    shares = [np.mean([bool(label) and label not in known for label in n.labels]) for n in rooms]
    invented = [share for share, naming in zip(shares, rooms, strict=True) if naming.made_up]
    assert 0 < len(invented) < len(rooms)
    assert min(invented) > 0.4
    assert max(s for s, n in zip(shares, rooms, strict=True) if not n.made_up) < 0.25


def test_a_word_means_the_things_of_its_name_and_could_mean_narrower_ones():
    keys = ("chair", "office chair", "table", "coffee table", "trash can")
    naming = next(n for n in (Naming(keys, random.Random(i)) for i in range(9)) if not n.made_up)
    sure, possible = naming.masks("chair")
    assert sure.tolist() == [True, False, False, False, False]
    assert possible.tolist() == [True, True, False, False, False]
    sure, possible = naming.masks("garbage can")
    assert sure.tolist() == possible.tolist() == [False, False, False, False, True]


def test_small_words():
    assert [plural(n) for n in ("bookshelf", "box", "couch", "books", "glass", "berry")] == [
        "bookshelves", "boxes", "couches", "books", "glasses", "berries"
    ]  # fmt: skip
    assert [article(n) for n in ("oven", "chair by the oven", "books", "boxes on a desk")] == [
        "an oven", "a chair by the oven", "books", "boxes on a desk"
    ]  # fmt: skip
    rng = random.Random(0)
    slips = {misspell("whiteboard", rng) for _ in range(50)}
    assert len(slips) > 10 and all(9 <= len(slip) <= 11 for slip in slips)
    assert len({made_up_word(rng) for _ in range(200)}) > 190


# -- words ----------------------------------------------------------------------------------------
def test_one_seed_is_one_list_of_statements(told):
    _, said, statements = made(5)
    assert said.naming.labels == told[5][1].naming.labels
    assert [one.text for one in statements] == [one.text for one in told[5][2]]


def test_wordings_of_the_splits_are_disjoint():
    for name, frames in FRAMES["train"].items():
        assert not set(frames) & set(FRAMES["test"][name]), name
        assert FRAMES["test"][name]
    marked = [text[1:] for texts in PLACES.values() for text in texts if text.startswith("~")]
    own = {text for texts in PLACES.values() for text in texts if not text.startswith("~")}
    assert not own & set(marked)
    heard = {split: set() for split in FRAMES}
    literal = [re.escape(re.split(r"[{,]", text.lstrip("=+"))[0].strip()) for text in marked]
    pattern = re.compile("|".join(rf"\b{text}\b" for text in literal if len(text) > 9))
    for split in heard:
        for seed in range(12):
            heard[split] |= {
                m for one in made(seed, 8, split)[2] for m in pattern.findall(one.text.lower())
            }
    assert not heard["train"]
    assert len(heard["test"]) > 3


def test_statements_have_no_holes_and_many_forms(told):
    texts = [one.text for _, _, statements in told for one in statements]
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
    assert len(sample.kinds) == len(sample.targets) == sum(len(r.statements) for r in rooms)
    assert (sample.targets.sum(1) == 1).all()
    k = 0
    for b, room in enumerate(rooms):
        for i, label in enumerate(room.labels):
            ids = [t for t in sample.scenes.labels[b, i].tolist() if t >= 0]
            assert ids == (prompt.ids(f" {label}")[:10] if label else [])
        for one in room.statements:
            assert sample.targets[k, one.target]
            assert sample.roles[k, one.target, 0] == 1 and sample.roles[k, one.target, 1] == 0
            k += 1
    np.testing.assert_allclose(
        np.sort(sample.scenes.boxes[0, : len(rooms[0].boxes), 5]),
        np.sort(rooms[0].home.boxes[:, 5]),
        rtol=1e-5,
    )


def test_a_room_without_known_names_costs_nothing():
    logits = torch.randn(2, 3, 5)
    none = torch.full((2, 3), -100)
    assert naming_loss(logits, none) == 0
    some = none.clone()
    some[0, 1] = 2
    expected = torch.nn.functional.cross_entropy(logits[0, 1:2], torch.tensor([2]))
    torch.testing.assert_close(naming_loss(logits, some), expected)


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
    model, new = first_network(config, load_preset("tiny"), tmp_path / "out")
    size, table = tokenizer.get_vocab_size(), model.decoder.embed.weight
    assert size < new.get_vocab_size() <= len(table)
    assert torch.equal(table[:size], old.decoder.embed.weight[:size])
    word = new.decode([size])
    pieces = tokenizer.encode(word, add_special_tokens=False).ids
    assert len(pieces) > 1
    torch.testing.assert_close(table[size], table[pieces].sum(0) / len(pieces) ** 0.5)
    _, same = first_network(config, load_preset("tiny"), tmp_path / "out")
    assert same.to_str() == new.to_str()
