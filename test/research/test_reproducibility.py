"""One seed always gives the same rooms and the same sentences: digests of 20 seeds each.

Published weights and tables name seeds. A change that alters a digest changes training data and
evaluation sets, so it belongs together with new weights.
"""

import hashlib

import numpy as np
import pytest

from spatial3d_ros.research.datasets.boxes_only import BoxObject, BoxRoom
from spatial3d_ros.research.datasets.relation_sentences import relation_sentences
from spatial3d_ros.research.homes.referring_expressions import ExpressionSampler
from spatial3d_ros.research.homes.rooms import generate_home
from spatial3d_ros.research.language.edits import possible_edits
from spatial3d_ros.research.language.layout_instructions import make_layout_questions
from spatial3d_ros.research.language.qa_generator import make_open_questions
from spatial3d_ros.research.language.questions import make_questions
from spatial3d_ros.research.rooms.generator import generate_room

SEEDS = range(20)


def rooms():
    for seed in SEEDS:
        for o in generate_room(seed).objects:
            numbers = np.round((*o.box.center, *o.box.size, o.heading), 4).tolist()
            yield f"{o.id} {o.category} {o.color} {o.rgb} {o.support} {o.variant} {numbers}"


def questions():
    for seed in SEEDS:
        objects = generate_room(seed).objects
        for split in ("train", "test"):
            rng = np.random.default_rng(seed)
            for q in make_questions(objects, rng, 24, split=split):
                yield f"{q.text} {q.targets} {q.second} {q.answer} {q.phrases}"


def answers():
    for seed in SEEDS:
        objects = generate_room(seed).objects
        for split in ("train", "test"):
            rng = np.random.default_rng(seed)
            for q in make_open_questions(objects, rng, 24, split=split):
                yield f"{q.text} {q.answers} {q.about}"


def layouts():
    for seed in SEEDS:
        room = generate_room(seed)
        for split in ("train", "test"):
            rng = np.random.default_rng(seed)
            made = make_layout_questions(room.objects, rng, 4, split=split, sized=True)
            yield from (f"{q.text} {q.relation} {q.targets} {q.anchors} {q.view}" for q in made)
            for edit in possible_edits(room, made):
                yield f"{edit.objects} {[np.round(box.array(), 3).tolist() for box in edit.after]}"


def homes():
    for seed in SEEDS:
        home = generate_home(seed)
        numbers = np.round(np.concatenate([home.boxes, home.front, home.rgb], 1), 4).tolist()
        yield f"{home.kind} {home.keys} {home.colors} {home.support.tolist()} {numbers}"


def expressions():
    for seed in SEEDS:
        for split in ("train", "test"):
            sampler = ExpressionSampler(generate_home(seed), np.random.default_rng(seed), split)
            yield f"{sampler.names.labels}"
            for one in sampler.sample(6):
                facts = one.candidates.nonzero()[0].tolist(), one.anchors.nonzero()[0].tolist()
                yield f"{one.text} {one.target} {one.kind} {facts}"


def box_rooms():
    for seed in range(len(SEEDS)):
        home = generate_home(seed)
        yield BoxRoom(
            scene_id=f"home{seed}",
            objects=tuple(
                BoxObject(
                    id=k, label=key, center=tuple(box[:3]), size=tuple(box[3:]),
                    front_point=None if np.isnan(front).any() else (*(box[:2] + front), box[2]),
                )
                for k, (key, box, front) in enumerate(
                    zip(home.keys, home.boxes.tolist(), home.front, strict=True)
                )
            ),
        )  # fmt: skip


def relations():
    made = list(box_rooms())
    for mix in ("sr3d", "equal"):
        for one in relation_sentences(made, 400, 5, mix):
            yield f"{one.room.scene_id} {one.target_id} {one.relation} {one.text}"


DIGESTS = {
    rooms: "cd7d582d68e1e9b3",
    questions: "12c80355f47fc24f",
    answers: "daa8bee75549ca91",
    layouts: "3a2211e90703a825",
    homes: "687d21956fa8c006",
    expressions: "0ad64dafc183af04",
    relations: "df8184884a614bd5",
}


@pytest.mark.parametrize("generated", DIGESTS, ids=lambda function: function.__name__)
def test_seeds_give_the_same_data(generated):
    assert digest(generated) == DIGESTS[generated]


def digest(generated):
    return hashlib.sha256("\n".join(generated()).encode()).hexdigest()[:16]
