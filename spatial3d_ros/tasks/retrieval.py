"""The scene of one question, where the memory holds more objects than the network reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from spatial3d_ros.categories import COLORS
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.retrieval import Wanted
from spatial3d_ros.memory.shown import uncovered
from spatial3d_ros.memory.time_words import time_range
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.other_objects import with_objects
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.scene.wall_alignment import rotate_objects
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.scene_state import SceneState
from spatial3d_ros.tasks.vocabulary import Vocabulary, is_anything

ROOM_M = 5.0  # half side of the largest rooms of the training
CONTEXT = 20  # objects that the network reads at least
AROUND_M = 2.0  # around what is asked for, where a question is about what is at it
_AROUND = ("what_on", "anything_on", "what_near", "what_in", "support", "describe", "edit")
_APART = "farthest"  # the predicate of what is not at its anchor

_LARGE, _SMALL = ("largest", "tallest", "longest"), ("smallest", "shortest")


def question_scene(
    scene: SceneState,
    query: ParsedQuery,
    memory: ObjectMemory,
    vocabulary: Vocabulary,
    runner: ModelRunner,
    camera: np.ndarray | None,
    referred: Sequence[int] = (),
) -> SceneState:
    """The scene with the objects that a question may be about in the place of others.

    Unchanged while the memory has no more objects than a scene. camera: its place (3,), world
    frame, metres. referred: ids of objects that "it" may stand for.
    """
    limit = min(memory.settings.max_objects, runner.model.config.objects.max_objects)
    wanted = list(wanted_of(query, vocabulary))
    if memory.index.present <= limit or not wanted:
        return scene
    shown = {known.id: row for row, known in enumerate(scene.objects)}
    with memory.lock:
        eye = np.zeros(3) if camera is None else camera
        region = next((r for r in memory.regions if r.name == query.region), None)
        since = time_range(query.time, memory.newest_ns, memory.ended_ns)[0] if query.time else 0
        found = memory.index.retrieve(wanted, eye, limit, region, since)
        ids = [*(k for k in referred if k in memory.known), *found]
        if query.intent.startswith(_AROUND):
            places = np.array([memory.known[k].box.center for k in ids[:CONTEXT]]).reshape(-1, 3)
            ids += [k for k in memory.index.near(places, AROUND_M) if memory.known[k].present]
        ids = [*dict.fromkeys(ids)][:limit]
        records = [memory.known[k] for k in ids if k not in shown]
    records = uncovered(records, scene.objects)
    if not records:
        return scene
    named = {*ids}
    # The question's objects, and a few others that are seen.
    kept = sorted(scene.objects, key=lambda known: known.id not in named)
    kept = kept[: max(CONTEXT - len(records), len(named & shown.keys()))]
    added = [record.as_scene_object(scene.stamp_ns) for record in records]
    objects = tuple(sorted([*kept, *added], key=lambda known: known.id)[:limit])
    rows = [shown.get(known.id, -1) for known in objects]
    encoded = scene.encoded and _read(runner, scene.encoded, scene, objects, rows)
    return replace(scene, objects=objects, encoded=encoded)


def wanted_of(query: ParsedQuery, vocabulary: Vocabulary) -> Iterator[Wanted]:
    """What the phrases of a query ask for; nothing for a noun that is not known."""
    for target in query.targets:
        yield from _wanted(target, vocabulary)
    views = {query.viewpoint, *(v for t in query.targets for v in (t.viewpoint, t.faced))}
    for view in sorted(views - {""}):
        labels = vocabulary.labels_of(view)
        if labels:
            yield Wanted(frozenset(labels))


def _wanted(description: Description, vocabulary: Vocabulary) -> Iterator[Wanted]:
    at: list[Description] = []
    apart: list[Description] = []
    for relation in description.relations:
        (apart if relation.negated or relation.predicate == _APART else at).extend(relation.anchors)
    labels = vocabulary.labels_of(description.head)
    near = [(vocabulary.labels_of(a.head), _color(a)) for a in at]
    if labels or is_anything(description.head):
        order: Literal["", "largest", "smallest"] = ""
        if description.superlative in _LARGE:
            order = "largest"
        elif description.superlative in _SMALL:
            order = "smallest"
        yield Wanted(
            frozenset(labels) if labels else None,
            _color(description),
            order,
            tuple(Wanted(frozenset(part), color) for part, color in near if part),
        )
    for anchor in (*(a for a in at if a.relations), *apart):
        yield from _wanted(anchor, vocabulary)


def _color(description: Description) -> str:
    return next((word for word in description.modifiers if word in COLORS), "")


def _read(
    runner: ModelRunner,
    encoded: EncodedScene,
    scene: SceneState,
    objects: Sequence[SceneObject],
    rows: Sequence[int],
) -> EncodedScene:
    """The objects behind the cached prefix; no view passes the network again."""
    aligned = rotate_objects(tuple(objects), -scene.heading)
    boxes = np.array([known.box.array() for known in aligned])
    boxes[:, :3] -= encoded.origin
    boxes[:, :2] = _within_a_room(boxes[:, :2])
    labels, shares, _ = runner.known_attributes(aligned, scene.stamp_ns)
    colors = torch.tensor([known.rgb for known in aligned], dtype=torch.float32) / 255
    batch = SceneBatch(
        boxes=torch.from_numpy(boxes).float()[None],
        object_valid=torch.ones(1, len(boxes), dtype=torch.bool),
        labels=labels,
        label_shares=shares,
        colors=colors[None],
    ).to(runner.device)
    with torch.inference_mode(), runner.autocast():
        return with_objects(runner.model, encoded, batch, torch.tensor(rows, device=runner.device))


def _within_a_room(places: np.ndarray) -> np.ndarray:
    """Places (n, 2) as the network knows them, within `ROOM_M` of the origin: farther ones by their
    place in a grid of rooms. What stands next to what is computed from the true boxes.
    """
    far = np.abs(places).max(1, keepdims=True) > ROOM_M
    return np.where(far, (places + ROOM_M) % (2 * ROOM_M) - ROOM_M, places)
