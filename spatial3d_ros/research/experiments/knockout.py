"""What each part of a network is worth in given weights: accuracy on held-out rendered rooms with
one part knocked out after the other.

Three tables. `rows`: the network alone, on the views, true boxes and held-out questions of a room.
`pipeline`: the engine as it ships, on the same views, boxes and questions. `names`: the names of
the objects by the heads of the network, without labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.categories import LOOKS
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.checkpoint import load_model, model_folder
from spatial3d_ros.model.crop_names import shares_by_head
from spatial3d_ros.model.generation import score_questions
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.objects import assign_views, given_colors
from spatial3d_ros.research.evaluation.room_queries import judge
from spatial3d_ros.research.experiments.knockout_parts import (
    IMAGE_ROWS,
    PARTS,
    Foreign,
    other_image,
    remembered_features,
    replaced,
)
from spatial3d_ros.research.language.questions import KINDS, Question
from spatial3d_ros.research.rooms.catalog import catalog_of
from spatial3d_ros.research.rooms.kinds import LOOK_ALIKES
from spatial3d_ros.research.rooms.view_store import RoomViews, render_room
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.label_noise import draw_labels
from spatial3d_ros.research.training.sample import QuestionedRoom
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.tasks import resolution
from spatial3d_ros.tasks.descriptions import plain_phrase
from spatial3d_ros.tasks.prompt import Prompt
from spatial3d_ros.tasks.reply import Reply

COLUMNS = ("all", "appearance", "attribute", "relation", "viewpoint", "partly_seen", "none")
_COLUMN_OF = {"view": "viewpoint"}
NAME_ROWS = (
    "full", *IMAGE_ROWS, "no_object_patches", "no_object_crops", "no_object_points",
    "no_mean_color", "no_names_of_crops",
)  # fmt: skip
LIKELIEST = 8
NAME_COLUMNS = ("class", f"class_of_{LIKELIEST}", "look_alikes", "color", *LOOKS)
"""class_of_8: the right class is among the eight likeliest; look_alikes: the likeliest class is of
the same `kinds.LOOK_ALIKES`, of objects that have such.
"""
ASKED = tuple(kind for kind in KINDS if kind != "distance")
VIEWS, QUESTIONS = 8, 14
FIRST_ROOM = 870_000
"""Seed of the first room: neither trained on nor used for validation."""
_LOOK_ALIKES = {name: kinds for kinds in LOOK_ALIKES.values() for name in kinds}
Table = dict[str, dict[str, float | None]]
NETWORK_TERMS = (
    "network", "network_nothing", "detector_network", "detector_network_nothing",
)  # fmt: skip
PIPELINE_ROWS: dict[str, Callable[[Spatial3D], AbstractContextManager[None]]] = {
    "network_relation_score_off": lambda engine: replaced(resolution, "phrase", plain_phrase),
    "network_score_off": lambda engine: replaced(
        engine, "weights", engine.weights.without(*NETWORK_TERMS)
    ),
}
"""Rows of the pipeline alone: the network scores the noun with its modifiers, and geometry alone
says which relations hold; the network scores no phrase and still names objects.
"""


@dataclass(frozen=True, eq=False)
class AskedRoom:
    """A room with its views, the objects they show, questions about these, the noisy label of each
    by id, the same as one batch of the network, and by head the name of each object (1, N), UNKNOWN
    where it has none.
    """

    stored: RoomViews
    made: QuestionedRoom
    labels: dict[int, str]
    batch: SceneBatch
    names: dict[str, Tensor]

    @property
    def questions(self) -> list[Question]:
        """The questions that have one answer in the room."""
        return self.made.questions


class Tally:
    """Right and asked questions, or names, of each row by column."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        self.right: dict[str, Counter[str]] = {}
        self.asked: Counter[str] = Counter()

    def add(self, row: str, columns: Sequence[Sequence[str]], hits: Sequence[bool]) -> None:
        """Count some answers, each of which belongs to several columns."""
        right = self.right.setdefault(row, Counter())
        for names, hit in zip(columns, hits, strict=True):
            right.update(names if hit else ())
            if row == "full":
                self.asked.update(names)

    def table(self) -> Table:
        """Accuracy by row and column; None in a column without questions."""
        return {
            row: {
                name: round(right[name] / self.asked[name], 4) if self.asked[name] else None
                for name in self.columns
            }
            for row, right in self.right.items()
        }


def knock_out(
    model: str = "tiny",
    *,
    rooms: int = 24,
    seed: int = FIRST_ROOM,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, object]:
    """Accuracy of the network and of the pipeline with each part knocked out, on the rendered rooms
    `seed` to `seed + rooms - 1`.

    Returns {"rooms", "model", "questions": n by column, "rows": {row: {column: accuracy}},
    "pipeline": the same, "objects": n by column of "names", "names": the same}. Raises
    CheckpointError, ConfigError.
    """
    network, tokenizer = load_model(model_folder(model))
    network.eval()
    prompt = Prompt(tokenizer, network.config.s2.category_mode)
    engine = Spatial3D(EngineConfig(model=model))
    engine.load()
    alone, shipped, named = Tally(COLUMNS), Tally(COLUMNS), Tally(NAME_COLUMNS)
    foreign = _images(asked_room(network, prompt, seed + rooms))
    for number in range(seed, seed + rooms):
        room = asked_room(network, prompt, number)
        columns = [_columns(question, room.made) for question in room.questions]
        if columns:
            with remembered_features(network), remembered_features(engine.network):
                for row in (rows := rows_of(network)):
                    alone.add(row, columns, ask_network(network, prompt, room, row, foreign))
                for row in (*rows, *PIPELINE_ROWS):
                    shipped.add(row, columns, ask_engine(engine, room, row, foreign))
                for row in filter(rows.__contains__, NAME_ROWS):
                    hits = name_hits(network, prompt, room, row, foreign)
                    named.add(row, [[column] for column, _ in hits], [hit for _, hit in hits])
        foreign = _images(room)
        say(f"room {number}: {len(columns)} questions")
    return {
        "model": model,
        "rooms": rooms,
        "seed": seed,
        "questions": {name: alone.asked[name] for name in COLUMNS},
        "rows": alone.table(),
        "pipeline": shipped.table(),
        "objects": dict(named.asked),
        "names": named.table(),
    }


def rows_of(model: SpatialModel) -> list[str]:
    """The rows of a table: `full`, foreign images, and the parts that the network has."""
    return ["full", *IMAGE_ROWS, *(name for name, part in PARTS.items() if part.present(model))]


def asked_room(model: SpatialModel, prompt: Prompt, seed: int) -> AskedRoom:
    """A rendered room with true boxes, questions in held-out wordings, and labels with the noise of
    training (docs/INTERFACES.md, section 2). Colors are the mean colors in the boxes. A network of
    the first 29 categories gets rooms of these.
    """
    config, rng = TrainConfig(model="", out=""), np.random.default_rng((seed, 71))
    rendered = config.rendered.model_copy(update={"questions": QUESTIONS})
    config = config.model_copy(update={"rendered": rendered})
    samples = Samples(config, model.config, prompt, None, split="test")
    stored = render_room(seed, views=VIEWS, catalog=catalog_of(model.config.names.classes))
    made = samples.rendered_room(stored, rng, VIEWS)
    owners = [owner for owner in made.owners if owner is not None]
    drawn = dict(zip((o.id for o in owners), draw_labels(owners, rng), strict=True))
    made = replace(made, labels=drawn)
    sample = samples.collate([made])
    batch = replace(sample.scenes, colors=known_colors(model, sample.scenes))
    labels = {key: found[0][0] if found else "" for key, found in drawn.items()}
    return AskedRoom(stored, made, labels, batch, sample.names)


def known_colors(model: SpatialModel, batch: SceneBatch) -> Tensor:
    """The colors that the network knows of each box (`PooledObjects.colors`): those given, and
    elsewhere that of the pixels in it.
    """
    given = given_colors(batch, model.config)
    return torch.where(given.isnan(), assign_views(batch, model.config).colors, given)


@torch.inference_mode()
def ask_network(
    model: SpatialModel, prompt: Prompt, room: AskedRoom, row: str, foreign: Foreign
) -> list[bool]:
    """Whether the network's first object is right, for each question of the room."""
    sentences = [prompt.grounding(question.text) for question in room.questions]
    words = prompt.batch(sentences, [0] * len(sentences))
    with knocked_out(model, row, foreign):
        scene = model.encode_scene(room.batch, prompt.tokens)
        scores = score_questions(model, scene, words, prompt.tokens).scores
    owners = room.made.owners
    return [
        _right(question, None if best == len(owners) else owners[best].id)
        for question, best in zip(room.questions, scores.argmax(-1).tolist(), strict=True)
    ]


@torch.inference_mode()
def name_hits(
    model: SpatialModel, prompt: Prompt, room: AskedRoom, row: str, foreign: Foreign
) -> list[tuple[str, bool]]:
    """For each object and each of NAME_COLUMNS that says something about it, whether the network
    names it right without labels.
    """
    batch = replace(room.batch, labels=None, label_shares=None)
    with knocked_out(model, row, foreign):
        scene = model.encode_scene(batch, prompt.tokens)
        hits = []
        assert scene.name_shares is not None
        shares = shares_by_head(scene.name_shares[0], model.config.names)
        for head, truth in room.names.items():
            known = truth[0] >= 0
            true = truth[0, known]
            best = shares[head][known].topk(min(LIKELIEST, shares[head].shape[-1])).indices
            hits += [(head, bool(right)) for right in best[:, 0] == true]
            if head == "class":
                likely = (best == true[:, None]).any(-1)
                hits += [(f"class_of_{LIKELIEST}", bool(right)) for right in likely]
                names = model.config.names.classes
                for told, right in zip(best[:, 0].tolist(), true.tolist(), strict=True):
                    alike = _LOOK_ALIKES.get(names[right])
                    hits += [("look_alikes", names[told] in alike)] if alike else []
    return hits


def ask_engine(engine: Spatial3D, room: AskedRoom, row: str, foreign: Foreign) -> list[bool]:
    """Whether the pipeline's first object is right, for each question of the room."""
    engine.clear()
    stored = room.stored
    for view, pose in enumerate(stored.pose):
        frame = Frame(view * 10**9, stored.rgb[view], stored.depth[view], stored.camera, pose)
        engine.add_frame(frame)
    proposals = [
        Proposal(
            owner.box,
            np.empty((0, 3), np.float32),
            tuple(map(float, owner.rgb)),
            len(stored.pose),
            1.0,
            label,
            0.5 if label else 0.0,
        )
        for owner in room.made.owners
        for label in ["" if row == "no_labels" else room.labels[owner.id]]
    ]
    hits = []
    change = PIPELINE_ROWS.get(row)
    with change(engine) if change else knocked_out(engine.network, row, foreign):
        engine.refresh(proposals=proposals)
        for question in room.questions:
            try:
                reply = Reply.from_result(engine.answer(question.text), 0.0)
            except Spatial3DError as error:
                reply = Reply(str(error), success=False)
            hits.append(judge(question, stored.room, reply).right)
    return hits


@contextmanager
def knocked_out(model: SpatialModel, row: str, foreign: Foreign) -> Iterator[None]:
    """The network without a part, or with foreign images, in a `with` block."""
    if row == "full":
        yield
        return
    change: AbstractContextManager[None]
    if row in IMAGE_ROWS:
        images = foreign if row == "pixels_of_another_room" else foreign.gray()
        encode, colors = model.encode_scene, partial(known_colors, model)
        seen = partial(other_image, model, images, colors, encode)
        change = replaced(model, "encode_scene", seen)
    else:
        change = PARTS[row].out(model)
    with change:
        yield


def _images(room: AskedRoom) -> Foreign:
    batch = room.batch
    crops = batch.views.pixels.new_zeros(0, 3, 1, 1)
    if batch.crop_pixels is not None and batch.crop_valid is not None:
        crops = batch.crop_pixels[batch.crop_valid]
    return Foreign(batch.views.pixels[0], crops)


def _right(question: Question, found: int | None) -> bool:
    return found in question.targets if question.targets else found is None


def _columns(question: Question, room: QuestionedRoom) -> list[str]:
    kind = _COLUMN_OF.get(question.kind, question.kind)
    partly = [] if room.partly.isdisjoint(question.targets) else ["partly_seen"]
    return ["all", *([kind] if kind in COLUMNS else []), *partly]
