"""The memory of the engine: keyframes, the object map, and the scene that answers use."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.errors import FrameError, NoSceneError
from spatial3d_ros.geometry.pose import rotate_points
from spatial3d_ros.memory.naming import Appearances
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.scene.buffer import Snapshot, ViewBuffer
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.keyframes import KeyframeSelector
from spatial3d_ros.scene.label_voting import ClassImage
from spatial3d_ros.scene.object_map import ObjectMap
from spatial3d_ros.scene.objects import NO_ID, SceneObject
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.view_fusion import ViewFusion
from spatial3d_ros.scene.wall_alignment import along_axes, rotate_objects
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.proposal_sources import ProposalSource, find_objects
from spatial3d_ros.tasks.results import LayoutEdit
from spatial3d_ros.tasks.scene_state import SceneState
from spatial3d_ros.tasks.timing import timed


@dataclass(frozen=True)
class AddedFrame:
    """Whether a frame was kept as a keyframe, the version of the memory after it, and why."""

    keyframe: bool
    version: int
    reason: str


class SceneMemory:
    """Views, object map and encoded scene. Every method may be called from any thread.

    `camera_position` (3,) is where the newest frame was taken, world metres; None before it.
    `lasting` is the memory across sessions, None without one.
    """

    def __init__(self, buffer: ViewBuffer, objects: ObjectMap, proposals: ProposalSource) -> None:
        self.camera_position: np.ndarray | None = None
        self.lasting: ObjectMemory | None = None
        self._buffer = buffer
        self._map = objects
        self._proposals: ProposalSource = proposals
        # One for each camera: the views of another say nothing of how far this one moved.
        self._keyframes: defaultdict[str, KeyframeSelector] = defaultdict(KeyframeSelector)
        self._fusion = ViewFusion()
        self._scene: SceneState | None = None
        self._sensor_lock, self._refresh_lock = threading.Lock(), threading.Lock()

    @property
    def views(self) -> Snapshot:
        """The views held now."""
        return self._buffer.snapshot()

    @property
    def scene(self) -> SceneState:
        """The newest complete version. Raises NoSceneError before the first refresh."""
        if self._scene is None:
            raise NoSceneError(
                "no view was processed yet: start the camera or play a bag, and check that color, "
                "depth, camera_info and pose arrive"
            )
        return self._scene

    def add_frame(self, frame: Frame) -> AddedFrame:
        """See `Spatial3D.add_frame`."""
        with self._sensor_lock:
            self.camera_position = frame.world_T_camera[:3, 3]
            keyframes = self._keyframes[frame.source]
            if not keyframes.accepts(frame):
                return AddedFrame(False, self.views.version, keyframes.reason)
            try:
                return AddedFrame(True, self._buffer.add(frame), keyframes.reason)
            except FrameError:
                keyframes.reset()
                raise

    def add_detections(self, detections: Sequence[Detection3D]) -> bool:
        """See `Spatial3D.add_detections`."""
        if not self._map.add_detections(detections):
            return False
        self._need_refresh()
        return True

    def add_class_image(self, image: ClassImage) -> None:
        """See `Spatial3D.add_class_image`."""
        self._map.add_class_image(image)
        self._need_refresh()

    def _need_refresh(self) -> None:
        with self._sensor_lock:
            if self.views.views:
                self._buffer.bump_version()

    def refresh(self, runner: ModelRunner, proposals: Sequence[Proposal] | None = None) -> int:
        """See `Spatial3D.refresh`."""
        with self._refresh_lock:
            snapshot, scene = self.views, self._scene
            current = scene and scene.version == snapshot.version and proposals is None
            if not snapshot.views or current:
                return scene.version if scene else snapshot.version
            self._scene = self._build_scene(runner, snapshot, proposals)
            return snapshot.version

    def _build_scene(
        self, runner: ModelRunner, snapshot: Snapshot, proposals: Sequence[Proposal] | None
    ) -> SceneState:
        stages: dict[str, float] = {}
        newest = snapshot.views[-1].frame
        with timed(stages, "proposals"):
            heading = self._map.heading
            aligned = self._map.align_to_walls(snapshot)
            if self._map.heading != heading:
                runner.clear_view_features()  # the points of the views moved with the new frame
            objects = self._map.update(
                snapshot,
                aligned,
                (lambda views: find_objects(views, self._proposals, runner, self._fusion))
                if proposals is None
                else proposals,
            )
            objects = self._with_remembered(objects, snapshot)
        objects, encoded = runner.encode_scene(aligned, objects, stages)
        if self.lasting is not None:
            self.lasting.record(objects, _appearances(objects, encoded, runner))
        return SceneState(
            snapshot.version,
            newest.stamp_ns,
            newest.frame_id,
            len(snapshot.views),
            rotate_objects(objects, self._map.heading),
            aligned,
            self._map.heading,
            encoded,
            stages,
        )

    def remember(self, lasting: ObjectMemory | None) -> None:
        """Use a memory across sessions; the object map starts anew, with ids free in it."""
        self.clear()
        self.lasting = lasting
        if lasting is not None:
            lasting.new_id = self._map.new_id
            self._map.reserve_ids(lasting.next_id)

    def _with_remembered(
        self, objects: tuple[SceneObject, ...], snapshot: Snapshot
    ) -> tuple[SceneObject, ...]:
        """Objects along the walls with lasting ids, and the remembered ones."""
        if self.lasting is None:
            return objects
        heading = self._map.heading
        world = [
            replace(o, box=o.box.rotated(heading), points=rotate_points(o.points, heading))
            for o in objects
        ]
        frame_id = snapshot.views[-1].frame.frame_id
        return tuple(
            replace(
                o,
                box=along_axes(o.box.rotated(-heading)),
                points=rotate_points(o.points, -heading),
            )
            for o in self.lasting.update(world, snapshot.views, frame_id)
        )

    def apply(self, edit: LayoutEdit, runner: ModelRunner) -> LayoutEdit:
        """Make a possible edit the scene that questions are asked of, until the next keyframe."""
        with self._refresh_lock:
            scene = self.scene
            with self._sensor_lock:
                is_newest = self.views.version == scene.version
                version = self._buffer.bump_version() if is_newest else scene.version
            # A stamp before the newest view: the network then uses the stored labels and colors,
            # not the pixels at the new positions, which show something else.
            after = tuple(
                replace(
                    edited,
                    id=self._map.new_id() if edited.id == NO_ID else edited.id,
                    stamp_ns=scene.stamp_ns - 1,
                )
                for edited in edit.after
            )
            replaced = {edited.id for edited in edit.before}
            kept = (known for known in scene.objects if known.id not in replaced)
            objects, encoded = runner.encode_scene(
                scene.aligned_views, rotate_objects((*kept, *after), -scene.heading)
            )
            self._scene = replace(
                scene,
                version=version,
                objects=rotate_objects(objects, scene.heading),
                encoded=encoded,
            )
            return replace(edit, after=after, applied=True, scene_version=version)

    def clear(self) -> None:
        """Remove everything."""
        with self._refresh_lock:
            self.clear_views()
            self._map.clear()
            if self.lasting is not None:
                self.lasting.start_over()
            self._scene = self.camera_position = None

    def clear_views(self) -> None:
        """Remove the views and pending detections; keep the objects."""
        with self._sensor_lock:
            self._buffer.clear()
            self._keyframes.clear()
        self._map.clear_detections()

    def stats(self) -> dict[str, object]:
        """Sizes, versions and the durations of the last refresh [ms], for diagnostics."""
        views, scene = self.views, self._scene
        stages = scene.stages_ms if scene else {}
        return {
            "views": len(views.views),
            "bytes": self._buffer.nbytes,
            "memory_version": views.version,
            "answered_version": scene.version if scene else 0,
            "objects": len(scene.objects) if scene else 0,
        } | {f"refresh_{name}_ms": round(ms, 1) for name, ms in stages.items()}


def _appearances(
    objects: Sequence[SceneObject], scene: EncodedScene | None, runner: ModelRunner
) -> Appearances | None:
    """The appearance vectors of the objects of a scene; None of a network that makes none."""
    if scene is None or scene.appearance is None:
        return None
    vectors = scene.appearance[0].float().cpu().numpy()
    numbers = [known.id for known in objects]
    return Appearances(dict(zip(numbers, vectors, strict=True)), runner.appearance_weights)
