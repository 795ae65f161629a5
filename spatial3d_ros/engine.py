"""The whole algorithm on one screen: frames in, a memory of views and objects, answers out.

    add_frame   at sensor rate, cheap: is the frame worth keeping?
    add_detections   what detectors from outside say, where there are any
    refresh     when the memory changed: objects from depth, features of new views, scene prefix
    ground ...  for each question: objects and words behind the cached prefix

The node, the command line and the evaluation drive this same object, so they cannot disagree.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.engine_config import EngineConfig
from spatial3d_ros.errors import FrameError, NoSceneError, NotAvailableError
from spatial3d_ros.scene.buffer import Snapshot, ViewBuffer
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.keyframes import KeyframeSelector
from spatial3d_ros.scene.object_map import ObjectMap
from spatial3d_ros.scene.objects import NO_ID
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.wall_alignment import rotate_objects
from spatial3d_ros.tasks import layout
from spatial3d_ros.tasks.distance import distance_answer, fixed_end, read_distance
from spatial3d_ros.tasks.distance_parser import parse_distance
from spatial3d_ros.tasks.grounding import NO_OBJECTS, find, grounding_answer
from spatial3d_ros.tasks.label_prior import apply_label_prior, mentions_detector_label
from spatial3d_ros.tasks.layout_parser import parse_layout, read_layout
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.prompt import clean_query
from spatial3d_ros.tasks.proposal_sources import check_source, find_objects
from spatial3d_ros.tasks.question_answering import FreeFormAnswer, answer_question, describe_known
from spatial3d_ros.tasks.question_router import is_open
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit
from spatial3d_ros.tasks.scene_state import SceneObjects, SceneState
from spatial3d_ros.tasks.timing import Monitor, timed

__all__ = ["AddedFrame", "EngineConfig", "Spatial3D"]


@dataclass(frozen=True)
class AddedFrame:
    """Whether a frame was kept, the memory's version after it, and why."""

    keyframe: bool
    version: int
    reason: str


class Spatial3D:
    """Spatial memory and its answers. Every method may be called from any thread."""

    def __init__(self, config: EngineConfig = EngineConfig()) -> None:
        self.config = config
        self._reader: ModelRunner | None = None
        self._buffer = ViewBuffer(config.max_views, config.max_seconds, config.max_bytes)
        self._keyframes = KeyframeSelector()
        self._map = ObjectMap(config.detection_min_hits)
        self._known: SceneState | None = None
        self._robot: np.ndarray | None = None
        self._sensor, self._refreshing, self._asking = (threading.Lock() for _ in range(3))

    def load(self) -> None:
        """Load the weights and warm up. Raises CheckpointError or ConfigError."""
        config = self.config
        reader = ModelRunner.load(
            config.model, config.device, config.dtype, config.weights, config.max_views
        )
        check_source(config.proposals, reader)
        self._reader = reader

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the loaded weights were trained to answer. Raises NotAvailableError before load."""
        return self._network().model.config.tasks

    def add_frame(self, frame: Frame) -> AddedFrame:
        """Keep the frame if it shows something new. Raises FrameError for one that does not fit the
        memory.
        """
        with self._sensor:
            self._robot = frame.world_T_camera[:3, 3]
            if not self._keyframes.accepts(frame):
                return AddedFrame(False, self._buffer.snapshot().version, self._keyframes.reason)
            try:
                return AddedFrame(True, self._buffer.add(frame), self._keyframes.reason)
            except FrameError:
                self._keyframes.reset()
                raise

    def add_detections(self, sightings: Sequence[Detection3D]) -> bool:
        """Take one message of a detector, in the frame of the memory; whether to refresh for it.

        A label stays with its object, and outweighs the network's own name for it.
        """
        if not self._map.add_detections(sightings):
            return False
        with self._sensor:
            if self._buffer.snapshot().views:
                self._buffer.bump_version()
        return True

    def refresh(self, proposals: Sequence[Proposal] | None = None) -> int:
        """Bring objects and scene prefix up to the newest memory; returns the version now answered
        from.

        `proposals` replaces its own ones (a detector's, or true boxes in an evaluation).
        """
        with self._refreshing:
            snapshot = self._buffer.snapshot()
            known = self._known
            if not snapshot.views or (
                known and known.version == snapshot.version and proposals is None
            ):
                return known.version if known else snapshot.version
            self._known = self._look(snapshot, proposals)
            return snapshot.version

    def _look(self, snapshot: Snapshot, proposals: Sequence[Proposal] | None) -> SceneState:
        stages: dict[str, float] = {}
        newest = snapshot.views[-1].frame
        with timed(stages, "proposals"):
            heading = self._map.heading
            room = self._map.align_to_walls(snapshot)
            if self._map.heading != heading:
                self._network().forget_views()  # their places in that world have changed
            found = self._map.update(snapshot, room, self._find if proposals is None else proposals)
        named, encoded = self._network().read_scene(room, found, stages)
        objects = rotate_objects(named, self._map.heading)
        return SceneState(
            snapshot.version,
            newest.stamp_ns,
            newest.frame_id,
            len(snapshot.views),
            objects,
            room,
            self._map.heading,
            encoded,
            stages,
        )

    def _find(self, room: Snapshot) -> list[Proposal]:
        return find_objects(room, self.config.proposals, self._network())

    def ground(
        self, query: str, *, max_objects: int = 5, monitor: Monitor | None = None
    ) -> Grounding:
        """Which object a description means. Raises QueryError, NoSceneError, Cancelled."""
        with self._question(monitor) as (known, stages):
            with timed(stages, "preprocess", monitor, 0.1):
                phrase = clean_query(query, mentions_detector_label(query, known.objects))
            scores = self._scores(known, [phrase], stages, monitor)[0]
            with timed(stages, "decode", monitor, 0.9):
                return grounding_answer(
                    query, scores, known.objects, max_objects, **known.provenance(stages)
                )

    def measure_distance(
        self,
        query: str = "",
        *,
        a: str = "",
        b: str = "",
        kind: str = "auto",
        monitor: Monitor | None = None,
    ) -> Distance:
        """Metres between two things, named in one question or as two phrases; one may be the robot
        ("how far am I from the door"), meaning its camera now, or a point "(1.0, 2.0, 0.5)".

        Raises NotFoundError naming the phrase that fits nothing, QueryError, NoSceneError,
        Cancelled.
        """
        with self._question(monitor) as (known, stages):
            with timed(stages, "preprocess", monitor, 0.1):
                wanted = read_distance(query, a, b, kind)
                fixed = [fixed_end(phrase, self._robot) for phrase in (wanted.a, wanted.b)]
                named = [p for p, end in zip((wanted.a, wanted.b), fixed, strict=True) if not end]
            scores = self._scores(known, named, stages, monitor)
            said = None
            if known.encoded is not None:
                question = query or f"how far is {wanted.a} from {wanted.b}?"
                said = self._network().read_number(known.encoded, question)
            with timed(stages, "decode", monitor, 0.9):
                return distance_answer(
                    query or f"{a}, {b}", wanted, fixed, scores, known.objects, said,
                    **known.provenance(stages),
                )  # fmt: skip

    def ask(self, question: str, *, beams: int = 1, monitor: Monitor | None = None) -> Answer:
        """What is where, how many, what colour: an answer in words, and the objects it is about;
        the likeliest of `beams` texts.

        Raises NotAvailableError where the weights were not trained for it, UnreadableError when
        what the network writes is no answer, NotFoundError, QueryError, NoSceneError, Cancelled.
        """
        clean_query(question)
        if not self._network().can("ask"):
            raise NotAvailableError(
                f"the model '{self.config.model}' cannot answer free questions; it finds and "
                "measures"
            )
        with self._question(monitor) as (known, stages):
            with timed(stages, "preprocess", monitor, 0.1):
                text = clean_query(question)
            with timed(stages, "objects and words", monitor, 0.3):
                if known.encoded is None:
                    told = FreeFormAnswer(NO_OBJECTS, ())
                else:
                    told = answer_question(
                        self._network(), known.encoded, known.objects, text, beams
                    )
            return Answer(
                question, told.text, told.objects, places=told.places, **known.provenance(stages)
            )

    def caption(self, object_id: int, *, monitor: Monitor | None = None) -> Answer:
        """What an object of the map is, in words. Raises NotFoundError where there is none of that
        id, and as `ask`.
        """
        with self._question(monitor) as (known, stages):
            with timed(stages, "objects and words", monitor, 0.3):
                told = describe_known(self._network(), known.encoded, known.objects, object_id)
            return Answer(
                f"object {object_id}", told.text, told.objects, **known.provenance(stages)
            )

    def edit_layout(
        self, instruction: str, *, apply: bool = False, monitor: Monitor | None = None
    ) -> LayoutEdit:
        """How the room would look after "move the chair 0.5 m towards the window" and the like.

        The edit is a proposal. With `apply`, and if it is possible, questions are answered from the
        new layout at once, under a new version, until the memory changes: the first refresh with a
        new view believes the camera again. So an edit that a person or the robot has carried out
        stays true, one that nobody has does not poison the map, and nothing must be undone.
        Raises NotFoundError naming the phrase that fits nothing, QueryError, NoSceneError,
        Cancelled.
        """
        with self._question(monitor) as (known, stages):
            with timed(stages, "preprocess", monitor, 0.1):
                wanted = read_layout(clean_query(instruction))
                phrases = layout.phrases_of(wanted)
            scores = self._scores(known, phrases, stages, monitor)
            with timed(stages, "layout", monitor, 0.6):
                found, others = find(phrases, scores, known.objects)
                named = {p: one.object for p, one in zip(phrases, found, strict=True)}
                room = layout.Room(known.objects, named, known.bounds, self._robot, known.heading)
                edit = layout.edit(
                    instruction, wanted, layout.change(wanted, room), others,
                    **known.provenance(stages),
                )  # fmt: skip
            if apply and edit.possible:
                with timed(stages, "apply", monitor, 0.9):
                    edit = self._apply(edit)
            return edit

    def _apply(self, edit: LayoutEdit) -> LayoutEdit:
        """Answer from the layout after an edit."""
        with self._refreshing:
            known = self.scene()
            with self._sensor:
                seen_all = self._buffer.snapshot().version == known.version
                version = self._buffer.bump_version() if seen_all else known.version
            # Older than the newest look: the network goes by their words, not by what the pixels
            # show where they would stand.
            after = tuple(
                replace(o, id=self._map.new_id() if o.id == NO_ID else o.id,
                        stamp_ns=known.stamp_ns - 1)
                for o in edit.after
            )  # fmt: skip
            gone = {thing.id for thing in edit.before}
            objects = (*(o for o in known.objects if o.id not in gone), *after)
            named, encoded = self._network().read_scene(
                known.room, rotate_objects(objects, -known.heading)
            )
            self._known = replace(
                known,
                version=version,
                objects=rotate_objects(named, known.heading),
                encoded=encoded,
            )
            return replace(edit, after=after, applied=True, scene_version=version)

    def answer(
        self, query: str, *, monitor: Monitor | None = None
    ) -> Grounding | Distance | Answer | LayoutEdit:
        """Any question: its words decide whether it is a distance, a proposal for the layout, a
        place, or to be answered in words, where the model can do that.
        """
        if parse_distance(query) is not None:
            return self.measure_distance(query, monitor=monitor)
        if parse_layout(query) is not None:
            return self.edit_layout(query, monitor=monitor)
        if self._reader is not None and self._reader.can("ask") and is_open(query):
            return self.ask(query, monitor=monitor)
        return self.ground(query, monitor=monitor)

    def scene(self) -> SceneObjects:
        """The objects that questions are answered from now. Raises NoSceneError before the first
        refresh.
        """
        if self._known is None:
            raise NoSceneError(
                "nothing was seen yet: start the camera or play a bag, and check that colour, "
                "depth, camera_info and pose arrive"
            )
        return self._known

    def clear(self) -> None:
        """Forget everything."""
        with self._refreshing:
            self.forget_views()
            self._map.clear()
            self._known = None
            self._robot = None

    def forget_views(self) -> None:
        """Forget the views but not the objects: the clock jumped, or a bag started again."""
        with self._sensor:
            self._buffer.clear()
            self._keyframes.reset()
        self._map.clear_detections()

    def stats(self) -> dict[str, object]:
        """Figures for diagnostics."""
        snapshot, known = self._buffer.snapshot(), self._known
        figures: dict[str, object] = {
            "model": self.config.model,
            "device": self._reader.where if self._reader else "not loaded",
            "views": len(snapshot.views),
            "bytes": self._buffer.nbytes,
            "memory_version": snapshot.version,
            "answered_version": known.version if known else 0,
            "objects": len(known.objects) if known else 0,
        }
        if self._reader and self._reader.gpu_bytes:
            figures["gpu_bytes"] = self._reader.gpu_bytes
        return figures | {
            f"refresh_{k}_ms": round(v, 1) for k, v in (known.stages_ms if known else {}).items()
        }

    @contextmanager
    def _question(self, monitor: Monitor | None) -> Iterator[tuple[SceneState, dict[str, float]]]:
        """One question at a time, on the newest complete version of the scene. Vision and prefix
        are what that version cost when the memory changed.
        """
        with self._asking:
            self._network()
            known = self.scene()
            yield known, {f"{k} (before)": v for k, v in known.stages_ms.items()}  # type: ignore

    def _scores(
        self,
        known: SceneState,
        phrases: Sequence[str],
        stages: dict[str, float],
        monitor: Monitor | None,
    ) -> Tensor:
        """Scores (Q, N + 1) of the objects for each phrase; "nothing" is last."""
        if known.encoded is None or not phrases:
            return torch.zeros(len(phrases), len(known.objects) + 1)
        with timed(stages, "objects and words", monitor, 0.3):
            scores = self._network().read_phrases(known.encoded, phrases)
            told = (
                apply_label_prior(*pair, known.objects)
                for pair in zip(scores, phrases, strict=True)
            )
            return torch.stack(list(told))

    def _network(self) -> ModelRunner:
        if self._reader is None:
            raise NotAvailableError(
                "no weights are loaded: call load() first, or configure the node"
            )
        return self._reader
