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
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from spatial3d_ros.categories import CATEGORIES
from spatial3d_ros.engine_config import EngineConfig
from spatial3d_ros.errors import (
    MemoryFileError,
    NotAvailableError,
    NotFoundError,
    UnreadableError,
)
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
from spatial3d_ros.tasks.answer_parser import read_words
from spatial3d_ros.tasks.answering import (
    DISTANCES,
    Turn,
    distance_in_words,
    grounding,
    ids_of,
    words,
)
from spatial3d_ros.tasks.conversation import Conversations
from spatial3d_ros.tasks.memory_answers import is_for_memory, remembered
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.proposal_sources import check_source
from spatial3d_ros.tasks.query_network import QueryReader, load_reader
from spatial3d_ros.tasks.reading import read_ends, read_question
from spatial3d_ros.tasks.resolution_weights import shipped_weights
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit, ScoredObject
from spatial3d_ros.tasks.retrieval import question_scene
from spatial3d_ros.tasks.scene_memory import AddedFrame, SceneMemory
from spatial3d_ros.tasks.scene_state import Query, SceneObjects
from spatial3d_ros.tasks.timing import Monitor
from spatial3d_ros.tasks.vocabulary import Vocabulary

Result = TypeVar("Result", Grounding, Distance, Answer, LayoutEdit)

__all__ = ["AddedFrame", "EngineConfig", "Spatial3D"]


class Spatial3D:
    """Spatial memory and its answers. Every method may be called from any thread.

    `on_events` receives the changes that the memory across sessions notices. `weights`: of the
    terms that choose objects. `load_network`: or that of `SharedNetworks`.

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
        self._loaded: tuple[ModelRunner, QueryReader] | None = None
        self._query_lock = threading.Lock()
        self.on_events: Callable[[list[Event]], None] = lambda _: None
        self.load_network = ModelRunner.load
        self.weights = shipped_weights()
        self._conversations = Conversations()

    def load(self) -> None:
        """Load the weights and warm up, and open the memory across sessions if there is one.

        Raises CheckpointError, ConfigError or MemoryFileError.
        """
        config = self.config
        if config.memory_folder:
            self.load_map()  # first: that it is in use is told before the weights are read
        try:
            numbers = config.device, config.dtype, config.weights, config.max_views
            runner = self.load_network(config.model, *numbers)
            check_source(config.proposals, runner)
            self._loaded = (runner, load_reader())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Save and release the memory across sessions. Idempotent."""
        lasting = self._memory.lasting
        if lasting is not None:
            lasting.save(now=True)  # its last events can still be looked up
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
        self,
        query: str,
        *,
        max_objects: int = 5,
        conversation_id: str = "",
        monitor: Monitor | None = None,
    ) -> Grounding:
        """The objects that a description refers to, or that a question is about.

        Raises QueryError, also for a distance and an edit, UnknownWordError for a noun that neither
        the network nor the map knows.
        """
        with self._asked(query, conversation_id, monitor) as turn:
            result = grounding(query, turn.outcome(), max_objects, **turn.provenance)
            return self._answered(result, turn, conversation_id)

    def measure_distance(
        self,
        query: str = "",
        *,
        a: str = "",
        b: str = "",
        kind: str = "auto",
        conversation_id: str = "",
        monitor: Monitor | None = None,
    ) -> Distance:
        """Metres between two objects, given in one question or as two phrases.

        An end may be the robot ("how far am I from the door": the newest camera position) or a
        point "(1.0, 2.0, 0.5)". Raises NotFoundError naming the phrase that matches no object, or
        QueryError.
        """
        with self._asked((a, b) if a or b else query, conversation_id, monitor) as turn:
            result = self._distance(turn, query or f"{a}, {b}", kind)
            return self._answered(result, turn, conversation_id)

    def ask(
        self, question: str, *, conversation_id: str = "", monitor: Monitor | None = None
    ) -> Answer:
        """An answer in words (count, colour, size, what is where) and the objects it is about, both
        read off the object map. Raises NotFoundError, QueryError.
        """
        with self._asked(question, conversation_id, monitor) as turn:
            if turn.query.intent in DISTANCES:
                outcome = distance_in_words(self._distance(turn, question))
            else:
                outcome = turn.outcome()
            result = words(question, outcome, **turn.provenance)
            return self._answered(result, turn, conversation_id)

    def caption(self, object_id: int, *, monitor: Monitor | None = None) -> Answer:
        """The network's description of one object of the map. Raises NotFoundError if it has no
        such id, NotAvailableError if the weights were not trained for it, UnreadableError.
        """
        with self._query(monitor) as asked:
            known = next((o for o in asked.scene.objects if o.id == object_id), None)
            if asked.scene.encoded is None or known is None:
                raise NotFoundError(
                    f"object {object_id} is not in the map; get_scene lists its objects"
                )
            with asked.stage("objects and words", 0.3):
                index = asked.scene.objects.index(known)
                text = self._runner.generate_caption(asked.scene.encoded, index)
            if read_words(text) is None:
                raise UnreadableError(f"the network generated '{text}', which is no description")
            return Answer(
                f"object {object_id}", text, (ScoredObject(known, 1.0),), **asked.provenance
            )

    def edit_layout(
        self,
        instruction: str,
        *,
        apply: bool = False,
        conversation_id: str = "",
        monitor: Monitor | None = None,
    ) -> LayoutEdit:
        """The layout after an instruction such as "move the chair 0.5 m towards the window".

        The edit is a proposal. With `apply`, and if it is possible and clear which objects are
        meant, questions are answered from the new layout under a new version until the next refresh
        with a new keyframe, which replaces it by what the camera sees. So an edit that was carried
        out stays true, and one that was not needs no undo. Raises NotFoundError naming the phrase
        that matches no object, or QueryError.
        """
        with self._asked(instruction, conversation_id, monitor) as turn:
            edit = turn.edit(instruction)
            if apply and edit.possible and not edit.question_back:
                with turn.asked.stage("apply", 0.9):
                    edit = self._memory.apply(edit, self._runner)
            return self._answered(edit, turn, conversation_id)

    def answer(
        self, query: str, *, conversation_id: str = "", monitor: Monitor | None = None
    ) -> Grounding | Distance | Answer | LayoutEdit:
        """The answer to any question or instruction, in the form that its intent has."""
        with self._asked(query, conversation_id, monitor) as turn:
            intent = turn.query.intent
            if intent in DISTANCES:
                return self._answered(self._distance(turn, query), turn, conversation_id)
            if intent.startswith("edit."):
                return self._answered(turn.edit(query), turn, conversation_id)
            outcome = turn.outcome()
            if intent.startswith("locate"):
                found = grounding(query, outcome, 5, **turn.provenance)
                return self._answered(found, turn, conversation_id)
            return self._answered(words(query, outcome, **turn.provenance), turn, conversation_id)

    def understood(self, query: str) -> Turn:
        """A question, read and not answered yet, with how its descriptions are resolved: for
        evaluation. Raises as `ground`, without the limits on intents.
        """
        with self._asked(query, "", None) as turn:
            return turn

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
        runner = self._loaded[0] if self._loaded else None
        model = {"model": self.config.model, "device": runner.runs_on if runner else "not loaded"}
        gpu = {"gpu_bytes": runner.gpu_bytes} if runner and runner.gpu_bytes else {}
        lasting = {"lasting": self._memory.lasting.stats()} if self._memory.lasting else {}
        return {**model, **self._memory.stats(), **gpu, **lasting}

    @contextmanager
    def _query(self, monitor: Monitor | None) -> Iterator[Query]:
        """One question at a time, on the newest complete version of the scene."""
        with self._query_lock:
            _ = self._runner
            yield Query(self._memory.scene, monitor)

    @contextmanager
    def _asked(
        self, text: str | tuple[str, str], conversation_id: str, monitor: Monitor | None
    ) -> Iterator[Turn]:
        """A question, read: a sentence, or the two phrases of a distance."""
        with self._query(monitor) as asked:
            last, lasting = self._conversations.last(conversation_id), self._memory.lasting
            with asked.stage("preprocess", 0.1):
                vocabulary = Vocabulary.of_map(
                    asked.scene.objects, lasting, self._runner.names or tuple(CATEGORIES)
                )
                reader = self._reader
                read = (
                    read_question(text, reader, vocabulary)
                    if isinstance(text, str)
                    else read_ends(*text, reader, vocabulary)
                )
                if lasting and not is_for_memory(read.query):
                    asked.scene = question_scene(
                        asked.scene, read.query, lasting, vocabulary, self._runner,
                        self._memory.camera_position, last.objects if last else (),
                    )  # fmt: skip
                turn = Turn(
                    asked, read, self._memory.camera_position, partial(self._score, asked),
                    vocabulary, last, partial(remembered, memory=lasting) if lasting else None,
                    self.weights,
                )  # fmt: skip
            yield turn

    def _answered(self, result: Result, turn: Turn, conversation_id: str) -> Result:
        """The result, kept for "it" in its conversation."""
        self._conversations.remember(conversation_id, turn.query, ids_of(result), turn.subject)
        return result

    def _distance(self, turn: Turn, text: str, kind: str = "auto") -> Distance:
        encoded = turn.asked.scene.encoded

        def network() -> float | None:
            return None if encoded is None else self._runner.generate_distance(encoded, text)

        return turn.distance(text, kind, network)

    def _score(self, asked: Query, phrases: Sequence[str]) -> np.ndarray:
        """Logits (Q, N + 1) of the objects for each phrase; "no target" is last."""
        scene = asked.scene
        if scene.encoded is None:
            return np.zeros((len(phrases), len(scene.objects) + 1))
        with asked.stage("objects and words", 0.3):
            return self._runner.score_phrases(scene.encoded, phrases).numpy().astype(float)

    @property
    def _runner(self) -> ModelRunner:
        return self._both[0]

    @property
    def _reader(self) -> QueryReader:
        return self._both[1]

    @property
    def _both(self) -> tuple[ModelRunner, QueryReader]:
        if self._loaded is None:
            raise NotAvailableError("no weights are loaded: call load(), or configure the node")
        return self._loaded
