"""The engine: frames in, a memory of views and objects, answers out.

    add_frame        at sensor rate, cheap: decides whether the frame is a keyframe
    add_detections   from external detectors, if there are any
    refresh          when the memory changed: object map, features of new views, encoded prefix
    ground ...       per question: object and query tokens after the cached prefix

The node, the command line and the evaluation use this class, so that they give the same answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from spatial3d_ros.engine_config import EngineConfig
from spatial3d_ros.errors import MemoryFileError, NotAvailableError
from spatial3d_ros.memory.database import FILE
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.opening import map_folder, open_memory
from spatial3d_ros.memory.records import Event
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.scene.buffer import ViewBuffer
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_voting import ClassImage
from spatial3d_ros.scene.object_map import ObjectMap
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.tasks import layout
from spatial3d_ros.tasks.distance import distance_answer, fixed_end, read_distance
from spatial3d_ros.tasks.distance_parser import parse_distance
from spatial3d_ros.tasks.grounding import grounding_answer
from spatial3d_ros.tasks.label_prior import apply_label_prior, mentions_detector_label
from spatial3d_ros.tasks.layout_parser import parse_layout, read_layout
from spatial3d_ros.tasks.memory_answers import (
    answer_from_memory,
    is_for_memory,
    printed_points,
    scored,
)
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.prompt import clean_query
from spatial3d_ros.tasks.proposal_sources import check_source
from spatial3d_ros.tasks.query import ParsedQuery
from spatial3d_ros.tasks.query_network import QueryReader, load_reader
from spatial3d_ros.tasks.query_reader import parse_query
from spatial3d_ros.tasks.question_answering import answer_question, describe_object
from spatial3d_ros.tasks.question_router import is_free_form
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit
from spatial3d_ros.tasks.scene_memory import AddedFrame, SceneMemory
from spatial3d_ros.tasks.scene_state import Query, SceneObjects
from spatial3d_ros.tasks.timing import Monitor

__all__ = ["AddedFrame", "EngineConfig", "Spatial3D"]


class Spatial3D:
    """Spatial memory and its answers. Every method may be called from any thread.

    `on_events` receives the changes that the memory across sessions notices.

    Every question raises NoSceneError before the first refresh, NotAvailableError before `load`,
    and Cancelled if its monitor does.
    """

    def __init__(self, config: EngineConfig = EngineConfig()) -> None:
        self.config = config
        self._memory = SceneMemory(
            ViewBuffer(config.max_views, config.max_seconds, config.max_bytes),
            ObjectMap(config.detection_min_hits),
            config.proposals,
        )
        self._loaded: ModelRunner | None = None
        self._query_lock = threading.Lock()
        self._reader: QueryReader | None = None
        self.on_events: Callable[[list[Event]], None] = lambda _: None

    def load(self) -> None:
        """Load the weights and warm up, and open the memory across sessions if there is one.

        Raises CheckpointError, ConfigError or MemoryFileError.
        """
        config = self.config
        runner = ModelRunner.load(
            config.model, config.device, config.dtype, config.weights, config.max_views
        )
        check_source(config.proposals, runner)
        self._loaded = runner
        if config.memory_folder:
            self.load_map()

    def close(self) -> None:
        """Save and release the memory across sessions. Idempotent."""
        lasting = self._memory.lasting
        if lasting is not None:
            self._memory.remember(None)
            lasting.close()

    @property
    def memory(self) -> ObjectMemory:
        """The memory across sessions. Raises NotAvailableError without one."""
        if self._memory.lasting is None:
            raise NotAvailableError(
                "nothing is remembered across sessions: set the parameter memory_folder (launch "
                "argument memory)"
            )
        return self._memory.lasting

    def load_map(self, name: str = "") -> None:
        """Close the memory across sessions and use a named map beneath memory_folder, "" for the
        folder itself.

        Raises MemoryFileError or ConfigError; the former memory stays in use then.
        """
        folder = map_folder(self.config.memory_folder, name)
        lasting = self._memory.lasting
        if name and not (folder / FILE).is_file():
            raise MemoryFileError(f"{folder}: no such map; save one with ~/save_map first")
        if lasting is not None and lasting.folder == folder:
            lasting.save(now=True)
            return
        opened = open_memory(folder, self.config, lambda events: self.on_events(events))
        self.close()
        self._memory.remember(opened)

    def save_map(self, name: str = "") -> Path:
        """Write the memory across sessions now, and copy it to a named map if a name is given;
        returns the folder. Raises MemoryFileError, ConfigError or NotAvailableError.
        """
        memory = self.memory
        memory.save(now=True)
        if not name:
            if not memory.store.database.flush():
                raise MemoryFileError(memory.store.database.problem or "the disk is too slow")
            return memory.folder
        folder = map_folder(self.config.memory_folder, name)
        memory.store.database.copy_to(folder)
        return folder

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the loaded weights were trained for. Raises NotAvailableError."""
        return self._runner.model.config.tasks

    @property
    def network(self) -> SpatialModel:
        """The loaded network. Raises NotAvailableError."""
        return self._runner.model

    def add_frame(self, frame: Frame) -> AddedFrame:
        """Keep the frame if it is a keyframe. Raises FrameError if it does not fit the memory."""
        return self._memory.add_frame(frame)

    def add_detections(self, detections: Sequence[Detection3D]) -> bool:
        """Add one message of a detector, world frame; returns whether to refresh for it.

        A label stays with its object, and takes precedence over the label of the network.
        """
        return self._memory.add_detections(detections)

    def add_class_image(self, image: ClassImage) -> None:
        """Add the classes of all pixels of a frame, world frame: each votes for the labels of the
        objects it shows, from the next refresh on.
        """
        self._memory.add_class_image(image)

    def refresh(self, proposals: Sequence[Proposal] | None = None) -> int:
        """Update objects and encoded prefix to the newest views; returns the version now used.

        `proposals` replace the engine's own (those of a detector, or true boxes in an evaluation).
        """
        return self._memory.refresh(self._runner, proposals)

    def ground(
        self, query: str, *, max_objects: int = 5, monitor: Monitor | None = None
    ) -> Grounding:
        """The objects that a description refers to. Raises QueryError."""
        with self._query(monitor) as asked:
            objects = asked.scene.objects
            with asked.stage("preprocess", 0.1):
                phrase = clean_query(query, mentions_detector_label(query, objects))
            scores = self._score(asked, [phrase])[0]
            with asked.stage("decode", 0.9):
                return grounding_answer(query, scores, objects, max_objects, **asked.provenance)

    def measure_distance(
        self,
        query: str = "",
        *,
        a: str = "",
        b: str = "",
        kind: str = "auto",
        monitor: Monitor | None = None,
    ) -> Distance:
        """Metres between two objects, given in one question or as two phrases.

        An end may be the robot ("how far am I from the door": the newest camera position) or a
        point "(1.0, 2.0, 0.5)". Raises NotFoundError naming the phrase that matches no object, or
        QueryError.
        """
        with self._query(monitor) as asked:
            with asked.stage("preprocess", 0.1):
                parsed = read_distance(query, a, b, kind)
                ends = [fixed_end(p, self._memory.camera_position) for p in (parsed.a, parsed.b)]
                phrases = [p for p, e in zip((parsed.a, parsed.b), ends, strict=True) if not e]
            scores = self._score(asked, phrases)
            network_m = None
            if asked.scene.encoded is not None:
                question = query or f"how far is {parsed.a} from {parsed.b}?"
                network_m = self._runner.generate_distance(asked.scene.encoded, question)
            with asked.stage("decode", 0.9):
                return distance_answer(
                    query or f"{a}, {b}", parsed, ends, scores, asked.scene.objects, network_m,
                    **asked.provenance,
                )  # fmt: skip

    def ask(self, question: str, *, beams: int = 1, monitor: Monitor | None = None) -> Answer:
        """A free-form answer of the network (count, color, what is where) and its objects.

        The answer is the most probable of `beams` texts. Raises NotAvailableError if the weights
        were not trained for it, UnreadableError if the generated text is no answer,
        NotFoundError, QueryError.
        """
        clean_query(question)
        if (query := self._memory_query(question)) is not None:
            return self.ask_memory(query, monitor=monitor)
        if not self._runner.supports("ask"):
            raise NotAvailableError(
                f"the model '{self.config.model}' was not trained to answer free-form questions; "
                "ask where an object is or for a distance"
            )
        with self._query(monitor) as asked:
            with asked.stage("preprocess", 0.1):
                text = clean_query(question)
            with asked.stage("objects and words", 0.3):
                answer = answer_question(self._runner, asked.scene, text, beams)
            return Answer(question, **answer._asdict(), **asked.provenance)

    def ask_memory(self, query: ParsedQuery, *, monitor: Monitor | None = None) -> Answer:
        """The answer of the memory across sessions to a query about time or regions.

        Raises NotAvailableError without such a memory, NoSceneError.
        """
        memory = self.memory
        with self._query(monitor) as asked, asked.stage("memory", 0.1):
            found = answer_from_memory(query, memory)
            objects = scored(found, memory.newest_ns)
            points = printed_points(found)
            return Answer(query.text, found.text, objects, text_points=points, **asked.provenance)

    def _memory_query(self, question: str) -> ParsedQuery | None:
        """The question as a typed query if the memory across sessions is to answer it."""
        if self._memory.lasting is None:
            return None
        self._reader = self._reader or load_reader()
        query = parse_query(question, self._reader)
        return query if is_for_memory(query) else None

    def caption(self, object_id: int, *, monitor: Monitor | None = None) -> Answer:
        """A description of one object of the map. Raises NotFoundError if it has no such id, and
        as `ask`.
        """
        with self._query(monitor) as asked:
            with asked.stage("objects and words", 0.3):
                answer = describe_object(self._runner, asked.scene, object_id)
            return Answer(f"object {object_id}", **answer._asdict(), **asked.provenance)

    def edit_layout(
        self, instruction: str, *, apply: bool = False, monitor: Monitor | None = None
    ) -> LayoutEdit:
        """The layout after an instruction such as "move the chair 0.5 m towards the window".

        The edit is a proposal. With `apply`, and if it is possible, questions are answered from the
        new layout under a new version until the next refresh with a new keyframe, which replaces
        it by what the camera sees. So an edit that was carried out stays true, and one that was
        not needs no undo. Raises NotFoundError naming the phrase that matches no object, or
        QueryError.
        """
        with self._query(monitor) as asked:
            with asked.stage("preprocess", 0.1):
                parsed = read_layout(clean_query(instruction))
                phrases = layout.phrases_of(parsed)
            scores = self._score(asked, phrases)
            with asked.stage("layout", 0.6):
                edit = layout.propose_edit(
                    instruction, parsed, scores, asked.scene, self._memory.camera_position,
                    **asked.provenance,
                )  # fmt: skip
            if apply and edit.possible:
                with asked.stage("apply", 0.9):
                    edit = self._memory.apply(edit, self._runner)
            return edit

    def answer(
        self, query: str, *, monitor: Monitor | None = None
    ) -> Grounding | Distance | Answer | LayoutEdit:
        """Route any question by its wording: distance, layout edit, free-form if the weights were
        trained for it, else grounding.
        """
        if (typed := self._memory_query(query)) is not None:
            return self.ask_memory(typed, monitor=monitor)
        if parse_distance(query) is not None:
            return self.measure_distance(query, monitor=monitor)
        if parse_layout(query) is not None:
            return self.edit_layout(query, monitor=monitor)
        if self._loaded is not None and self._loaded.supports("ask") and is_free_form(query):
            return self.ask(query, monitor=monitor)
        return self.ground(query, monitor=monitor)

    def scene(self) -> SceneObjects:
        """The objects that questions are answered from. Raises NoSceneError."""
        return self._memory.scene

    def clear(self) -> None:
        """Remove views and objects."""
        self._memory.clear()

    def forget_views(self) -> None:
        """Remove the views and keep the objects: the clock jumped, or a bag was restarted."""
        self._memory.clear_views()

    def stats(self) -> dict[str, object]:
        """Model, device, sizes, versions and durations for diagnostics."""
        runner = self._loaded
        model = {"model": self.config.model, "device": runner.runs_on if runner else "not loaded"}
        gpu = {"gpu_bytes": runner.gpu_bytes} if runner and runner.gpu_bytes else {}
        return {**model, **self._memory.stats(), **gpu}

    @contextmanager
    def _query(self, monitor: Monitor | None) -> Iterator[Query]:
        """One question at a time, on the newest complete version of the scene."""
        with self._query_lock:
            _ = self._runner
            yield Query(self._memory.scene, monitor)

    def _score(self, asked: Query, phrases: Sequence[str]) -> Tensor:
        """Logits (Q, N + 1) of the objects for each phrase; "no target" is last."""
        scene = asked.scene
        if scene.encoded is None or not phrases:
            return torch.zeros(len(phrases), len(scene.objects) + 1)
        with asked.stage("objects and words", 0.3):
            scores = self._runner.score_phrases(scene.encoded, phrases)
            pairs = zip(scores, phrases, strict=True)
            return torch.stack([apply_label_prior(row, p, scene.objects) for row, p in pairs])

    @property
    def _runner(self) -> ModelRunner:
        if self._loaded is None:
            raise NotAvailableError("no weights are loaded: call load(), or configure the node")
        return self._loaded
