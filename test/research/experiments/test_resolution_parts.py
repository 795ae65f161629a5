"""What ships: network, label, color and geometry each decide questions, and confidences hold."""

import numpy as np
import pytest

from spatial3d_ros.errors import QueryError
from spatial3d_ros.research.datasets.boxes_only import BoxObject, BoxRoom
from spatial3d_ros.research.evaluation.public.boxes_chain import scene_objects
from spatial3d_ros.research.evaluation.public.boxes_runner import BoxesRunner
from spatial3d_ros.research.evaluation.room_queries import draw_questions
from spatial3d_ros.research.experiments.resolution import ResolutionReport, is_read
from spatial3d_ros.research.experiments.resolution_weights import Asked
from spatial3d_ros.research.language.layout_instructions import make_layout_questions
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.tasks.edit_query import instruction_of
from spatial3d_ros.tasks.query_network import load_reader
from spatial3d_ros.tasks.query_reader import parse_query
from spatial3d_ros.tasks.resolution import Resolver
from spatial3d_ros.tasks.resolution_weights import shipped_weights
from spatial3d_ros.tasks.selection import Selection
from spatial3d_ros.tasks.vocabulary import Vocabulary

ROOMS = (850100, 850101, 850102, 850103)
KINDS = (*("attribute",) * 4, *("size",) * 3, *("relation",) * 5, *("view",) * 3, *("none",) * 4)


@pytest.fixture(scope="module")
def report():
    """Questions about four maps of true boxes in which every sixth label is another object's."""
    runner, reader, made = BoxesRunner.load("tiny"), load_reader(), ResolutionReport()
    for seed in ROOMS:
        objects = generate_room(seed).objects
        labels = [item.category for item in objects]
        labels[::6] = labels[1::6] + labels[:1] * (len(labels[::6]) - len(labels[1::6]))
        boxes = [
            BoxObject(id=o.id, label=n, center=o.box.center, size=o.box.size, avg_rgb=o.rgb)
            for o, n in zip(objects, labels, strict=True)
        ]
        room = BoxRoom(scene_id=str(seed), objects=tuple(boxes))
        camera = room.boxes[:, :2].min(0)
        known, words = scene_objects(room, label_score=0.0), Vocabulary(labels)

        def score(phrases, room=room):
            return runner.scores(room, phrases).numpy().astype(float)

        questions = []
        for question in draw_questions(objects, seed, KINDS):
            targets = parse_query(question.text, reader).targets
            if len(targets) == 1 and words.labels_of(targets[0].head) is not None:
                resolver = Resolver(known, room.boxes, camera, score, words)
                right = np.isin(np.arange(len(known)), question.targets)
                asked = Asked(
                    question, targets[0], Selection(resolver), np.append(right, not right.any())
                )
                pronouns = [a for r in targets[0].relations for a in r.anchors if a.pronoun]
                questions += [] if pronouns else [asked]
        made.add(questions, shipped_weights())
    return made


def test_each_part_decides_questions(report):
    rows = report.json()["rows"]
    full = rows["all terms"]
    assert full["all"] > 0.85
    # On maps of boxes with labels geometry decides most of what the network does.
    assert rows["without network"]["all"] < full["all"] - 0.02
    assert rows["without color"]["none"] < full["none"] - 0.2
    # The term alone: that boxes rule an object out (`Selection`) is no term, and stays.
    assert rows["without geometry"]["view"] < full["view"]
    # The network is given the same labels: the term adds nothing here. On maps of the built-in
    # proposals it tells what is not there (docs/RESULTS.md).
    assert abs(rows["without label"]["all"] - full["all"]) < 0.05


def test_confidences_rise_with_accuracy(report):
    bins = report.json()["confidence"]["bins"]
    low = [(share * n, n) for mean, share, n in bins if mean < 0.7]
    high = [(share * n, n) for mean, share, n in bins if mean >= 0.9]
    shares = [np.divide(*np.sum(part, 0)) for part in (low, high)]
    assert shares[0] < shares[1]


def test_the_reader_understands_layout_instructions():
    """Action, relation and amount, in held-out wordings."""
    reader, read, other = load_reader(), [], []
    for seed in ROOMS[:2]:
        objects = generate_room(seed).objects
        made = make_layout_questions(objects, np.random.default_rng(seed), 40, split="test")
        found = [instruction_or_none(question.text, reader) for question in made]
        read += [f is not None and is_read(f, w) for f, w in zip(found, made, strict=True)]
        shuffled = zip(found, made[1:] + made[:1], strict=True)
        other += [f is not None and is_read(f, w) for f, w in shuffled]
    assert np.mean(read) > 0.9 and np.mean(other) < 0.3


def instruction_or_none(text, reader):
    try:
        return instruction_of(parse_query(text, reader))
    except QueryError:
        return None
