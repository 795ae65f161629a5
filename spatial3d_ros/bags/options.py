"""How a recording is to be read, where names, encodings and defaults are not enough."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from spatial3d_ros.bags.topics import IMAGE_TYPES, Topics, choose_topics
from spatial3d_ros.errors import BagError

if TYPE_CHECKING:
    from spatial3d_ros.bags.bag import Bag

ROLES = ("camera", "rgb", "depth", "camera_info", "depth_info", "pose")


@dataclass(frozen=True)
class RecordingOptions:
    """Topics by role ("" by name and encoding), and how their messages are understood.

    Attributes:
        camera: which of several cameras, by the name that its topics begin with.
        depth_unit: metres of the depth value 1; 0 for that of the encoding (REP 118).
        rectified: whether colour is undistorted already; None if its name says so.
        sync_slop_s: largest difference of the stamps of a colour and a depth image.
        max_pose_gap_s: longest time between two poses around an image.
        recogniser: folders of models that label the images.
        detections: a file of detections by frame, or a topic of Detection2DArray in the bag.
    """

    camera: str = ""
    rgb: str = ""
    depth: str = ""
    camera_info: str = ""
    depth_info: str = ""
    pose: str = ""
    depth_unit: float = 0.0
    rectified: bool | None = None
    sync_slop_s: float = 0.02
    max_pose_gap_s: float = 0.5
    recogniser: tuple[str, ...] = ()
    detections: str = ""

    @classmethod
    def of(cls, topics: Topics) -> RecordingOptions:
        """Options that name all topics."""
        return cls(**asdict(topics))

    def topics(self, path: str | Path) -> Topics:
        """The topics of a bag: those given, checked, the others by name and encoding.

        Raises BagError that lists the topics of the bag when one is missing or ambiguous.
        """
        from spatial3d_ros.bags.bag import Bag  # slow to import, and help does not need it

        with Bag(path) as bag:
            present, encodings = contents(bag)
        if not present:
            raise BagError(f"{path}: the bag holds no messages")
        return choose_topics(path, present, self.given(), encodings)

    def with_topics(self, topics: Topics) -> RecordingOptions:
        """The same with all topics named."""
        named = {"camera": "", **asdict(topics)}
        return RecordingOptions(**{**asdict(self), **named})

    def given(self) -> dict[str, str]:
        """Names by role, those that were given."""
        return {role: getattr(self, role) for role in ROLES if getattr(self, role)}

    def command_line(self) -> str:
        """The options of the command line that are not as they come, to be copied."""
        words = []
        for entry in fields(self):
            value = getattr(self, entry.name)
            flag = f"--{entry.name.replace('_', '-')}"
            if value == entry.default:
                continue
            if isinstance(value, tuple):
                words += [word for item in value for word in (flag, shlex.quote(item))]
            elif isinstance(value, bool):
                words.append(flag if value else f"--no-{entry.name}")
            else:
                words += [flag, shlex.quote(f"{value:g}" if isinstance(value, float) else value)]
        return " ".join(words)


def contents(bag: Bag) -> tuple[dict[str, str], dict[str, str]]:
    """Topics that hold messages (name -> type), and the encodings of those that are images."""
    present = {name: kind for name, (kind, count) in bag.topics.items() if count}
    encodings = {}
    for name, kind in present.items():
        if kind in IMAGE_TYPES:
            first = bag.first(name)
            encodings[name] = getattr(first, "encoding", getattr(first, "format", ""))
    return present, encodings
