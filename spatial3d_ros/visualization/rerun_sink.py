"""Writes a recording, its object map and answers to a file for the Rerun viewer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.quaternion import quaternion_from_yaw
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject, display_name
from spatial3d_ros.tasks.reply import Reply

TIMELINE = "stamp"
WORLD, CAMERA, OBJECTS, ANSWER, TEXT = (
    "world", "world/camera", "world/objects", "world/answer", "answers",
)  # fmt: skip
GREEN, GREY = (10, 200, 90), (150, 155, 165)
JPEG_QUALITY = 80  # of color images


class RerunSink:
    """Writes frames, objects and answers to an .rrd file, at the stamp of the newest view.

    Call `close` at the end. Raises NotAvailableError without the extra "rerun".
    """

    def __init__(self, path: Path) -> None:
        try:
            import rerun
        except ImportError:
            raise NotAvailableError(
                "the Rerun library is not installed: pip install 'spatial3d_ros[rerun]'"
            ) from None
        self._rerun = rerun
        self._stream: Any = rerun.RecordingStream("spatial3d")
        self._stream.save(path)
        self._stream.log(WORLD, rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    def frame(self, frame: Frame) -> None:
        """Log color, depth and camera pose."""
        rerun, pose = self._rerun, frame.world_T_camera
        self._at(frame.stamp_ns)
        self._log(CAMERA, rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        size = {"width": frame.camera.width, "height": frame.camera.height}
        self._log(CAMERA, rerun.Pinhole(image_from_camera=frame.camera.matrix, **size))
        self._log(f"{CAMERA}/rgb", rerun.Image(frame.rgb).compress(jpeg_quality=JPEG_QUALITY))
        self._log(f"{CAMERA}/depth", rerun.DepthImage(frame.depth, meter=1.0))

    def objects(self, objects: Sequence[SceneObject], stamp_ns: int) -> None:
        """Log the object map."""
        self._at(stamp_ns)
        names = [display_name(known) for known in objects]
        self._log(OBJECTS, self._boxes([known.box for known in objects], names, GREY))

    def answer(self, question: str, reply: Reply, stamp_ns: int) -> None:
        """Log a question, its answer, and the boxes that the answer refers to."""
        self._at(stamp_ns)
        self._log(TEXT, self._rerun.TextLog(f"{question}\n{reply.text}"))
        self._log(ANSWER, self._boxes(reply.boxes, [question] * len(reply.boxes), GREEN))

    def close(self) -> None:
        """Write buffered data and close the file."""
        self._stream.flush()
        self._stream.disconnect()

    def _boxes(
        self, boxes: Sequence[Box3D], labels: Sequence[str], color: tuple[int, int, int]
    ) -> Any:
        rotations = [quaternion_from_yaw(box.yaw) for box in boxes]
        return self._rerun.Boxes3D(
            centers=np.array([box.center for box in boxes]).reshape(-1, 3),
            half_sizes=np.array([box.size for box in boxes]).reshape(-1, 3) / 2,
            quaternions=np.array(rotations).reshape(-1, 4),
            labels=list(labels),
            colors=[color] * len(boxes),
        )

    def _at(self, stamp_ns: int) -> None:
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))

    def _log(self, entity: str, archetype: Any) -> None:
        self._stream.log(entity, archetype)
