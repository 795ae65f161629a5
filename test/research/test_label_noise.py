"""Noisy labels of generated objects."""

from collections import Counter

import numpy as np

from spatial3d_ros.categories import CLASSES, nouns
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.training.label_noise import draw_labels, look_alikes


def test_distributions_and_shares():
    rng = np.random.default_rng(0)
    rooms = [generate_room(s, catalog="full") for s in range(800_200, 800_240)]
    objects = [item for room in rooms for item in room.objects]
    drawn = draw_labels(objects, rng)
    found = Counter()
    for item, labels in zip(objects, drawn, strict=True):
        shares = [share for _, share in labels]
        assert len(labels) <= 4 and sum(shares) <= 1 + 1e-6
        assert shares == sorted(shares, reverse=True) and len({t for t, _ in labels}) == len(labels)
        right = bool(labels) and labels[0][0] in nouns(item.category)
        found["missing" if not labels else "right" if right else "other"] += 1
    share = {name: count / len(objects) for name, count in found.items()}
    assert abs(share["missing"] - 0.28) < 0.05
    assert abs(share["right"] - 0.46) < 0.08  # exact, some synonyms, two thirds of the confused


def test_look_alikes_are_other_kinds_of_the_group_or_of_that_size():
    for category in CLASSES:
        assert category not in look_alikes(category) and look_alikes(category)
    assert "whiteboard" in look_alikes("picture") and "sofa" not in look_alikes("mug")
