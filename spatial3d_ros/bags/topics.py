"""Which topics of a recording are colour, depth, calibration and pose: given, or by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from spatial3d_ros.errors import BagError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
POSE_TYPE = "geometry_msgs/msg/PoseStamped"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
TF_TYPE = "tf2_msgs/msg/TFMessage"
TF_STATIC = "tf_static"  # how the name of a topic with fixed transforms ends
WANTED = {
    "rgb": IMAGE_TYPES,
    "depth": IMAGE_TYPES,
    "camera_info": (INFO_TYPE,),
    "depth_info": (INFO_TYPE,),
    "pose": (POSE_TYPE, ODOMETRY_TYPE, TF_TYPE),
}


@dataclass(frozen=True)
class Topics:
    """Names of the four topics a recording needs; `pose` may be the one of TF.

    `depth_info` is the calibration of depth, for depth that is not aligned to colour; "" if none.
    """

    rgb: str = "/camera/rgb/image"
    depth: str = "/camera/depth/image"
    camera_info: str = "/camera/rgb/camera_info"
    pose: str = "/camera/pose"
    depth_info: str = ""

    def compressed(self) -> Topics:
        """The same with the names image_transport gives to compressed images."""
        return replace(self, rgb=f"{self.rgb}/compressed", depth=f"{self.depth}/compressedDepth")


USUAL = Topics()
DEPTH_ENCODINGS = ("16UC1", "16SC1", "32FC1")
# The part of a topic's name from which on it names a stream of a camera, not the camera.
STREAMS = re.compile(
    r"rgb|colou?r|depth|stereo|^left$|^right$|image|aligned|registered|points|infra|ir$|mono|hw_"
)
NOT_COLOR = re.compile(r"infra|(^|[/_])ir([/_0-9]|$)|mask|label|confidence|disparity")


def choose_topics(
    path: str | Path,
    present: dict[str, str],
    given: Mapping[str, str],
    encodings: Mapping[str, str] | None = None,
) -> Topics:
    """The four topics out of those `present` (name -> type): `given` by role, the rest by name.

    `given` may name a "camera" too, as in `camera_of`; `encodings` are those of the images.

    Raises BagError that lists what the bag has when one is missing, ambiguous or of a wrong type.
    """
    found, problems = topics_by_role(path, present, given, encodings)
    if problems:
        raise problems[0]
    return Topics(**found)


def camera_of(topic: str) -> str:
    """The camera of a topic: its name before the part that names the stream, without slashes.

    The first part names a camera if a stream follows ("/left/rgb/image"), and so does a part like
    "depth_camera".
    """
    parts = _base(topic).strip("/").split("/")
    streams = [bool(STREAMS.search(part)) and "cam" not in part for part in parts]
    if not any(streams[1:]):
        return "" if any(streams) or len(parts) == 1 else "/".join(parts)
    return "/".join(parts[: streams.index(True, 1)])


def topics_by_role(
    path: str | Path,
    present: dict[str, str],
    given: Mapping[str, str],
    encodings: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], list[BagError]]:
    """The same for a recording that may lack some: role -> topic, and what is wrong with others."""
    found: dict[str, str] = {}
    problems: list[BagError] = []
    images = [name for name, kind in present.items() if kind in IMAGE_TYPES]
    # Of compressed images the part before the semicolon is that of the image.
    stored = {name: (encodings or {}).get(name, "").split(";")[0].strip() for name in images}
    depths = [name for name in images if _is_depth(name, stored[name])]
    depths = depths or [n for n in images if stored[n] == "mono16" and not NOT_COLOR.search(n)]
    packed = [name for name in depths if not name.endswith("/compressed")]
    colors = [n for n in images if n not in depths and not n.endswith("/compressedDepth")]
    colors = [name for name in colors if not NOT_COLOR.search(name)] or colors
    infos = [name for name, kind in present.items() if kind == INFO_TYPE]
    try:
        camera = _camera(path, given, colors, packed or depths)
    except BagError as error:
        return found, [error]

    def choose(role: str, names: list[str]) -> str:
        mine = [name for name in names if camera_of(name) == camera]
        try:
            if given.get(role):
                found[role] = _given(path, present, role, given[role])
            else:
                found[role] = _only_one(path, present, role, mine or names)
        except BagError as error:
            problems.append(error)
        return found.get(role, "")

    # A depth image in the colour camera's pixels is what is needed.
    depth = choose("depth", _with(packed or depths, "registered", "aligned"))
    rgb = choose("rgb", [name for name in _with(colors, "rgb", "color") if name != depth])
    # The calibration that shares the longest name prefix with the colour image belongs to it.
    near = max((_common_prefix(name, rgb) for name in infos), default=0)
    choose("camera_info", [name for name in infos if _common_prefix(name, rgb) == near])
    choose("pose", _poses(present))
    # image_transport publishes the calibration in the namespace of the image.
    neighbour = _base(found.get("depth", "")).rpartition("/")[0] + "/camera_info"
    if given.get("depth_info") or present.get(neighbour) == INFO_TYPE:
        choose("depth_info", [neighbour])
    return found, problems


def _is_depth(name: str, encoding: str) -> bool:
    """Whether an image topic holds depth, by its name or else by the encoding of its first."""
    if name.endswith("/compressedDepth"):
        return True
    named = "depth" in _base(name).lower()
    return named or (encoding in DEPTH_ENCODINGS and not NOT_COLOR.search(name))


def _camera(
    path: str | Path, given: Mapping[str, str], colors: list[str], depths: list[str]
) -> str:
    """The camera to read: the one given, that of a topic given, or the only one with both streams.

    Raises BagError for a name that is none, or where there are several.
    """
    both = sorted({camera_of(name) for name in colors} & {camera_of(name) for name in depths})
    wanted = given.get("camera", "").strip("/")
    if wanted:
        mine = [c for c in both if c == wanted] or [c for c in both if wanted in c.split("/")]
        if len(mine) == 1:
            return mine[0]
        raise BagError(
            f"{path}: camera {wanted!r} is {'several' if mine else 'none'} of the cameras with "
            f"colour and depth ({', '.join(map(repr, both))})"
        )
    named = given.get("rgb") or given.get("depth")
    if named:
        return camera_of(named)
    usual = camera_of(USUAL.rgb)
    if len(both) > 1 and usual not in both:
        raise BagError(
            f"{path}: several cameras ({', '.join(both)}); name the one to use: --camera {both[0]}"
        )
    return usual if usual in both else both[0] if both else ""


def _poses(present: dict[str, str]) -> list[str]:
    """A camera's pose; else TF, which has the mounting of the camera; else odometry."""
    of = {kind: [name for name, k in present.items() if k == kind] for kind in WANTED["pose"]}
    poses = [name for name in of[POSE_TYPE] if "goal" not in name]
    moving = [name for name in of[TF_TYPE] if not name.endswith(TF_STATIC)]
    return poses or moving or of[ODOMETRY_TYPE] or of[TF_TYPE]


def _given(path: str | Path, present: dict[str, str], role: str, name: str) -> str:
    names = (name, f"{name}/compressed", f"{name}/compressedDepth")
    found = next((n for n in names if n in present), None)
    if found is None:
        raise BagError(f"{path}: no messages on {name} ({role}); {_listing(present)}")
    if present[found] not in WANTED[role]:
        raise BagError(
            f"{path}: {found} is {present[found]}, but {role} needs {' or '.join(WANTED[role])}"
        )
    return found


def _only_one(path: str | Path, present: dict[str, str], role: str, names: list[str]) -> str:
    if not names:
        raise BagError(
            f"{path}: found no {role} topic ({' or '.join(WANTED[role])}); {_listing(present)}"
        )
    names = [name for name in names if name.startswith(getattr(USUAL, role))] or names
    names = [name for name in names if present[name] == IMAGE_TYPES[0]] or names
    if len(names) > 1:
        raise BagError(
            f"{path}: several {role} topics ({', '.join(names)}); name the one to use: "
            f"--{role.replace('_', '-')} {names[0]}"
        )
    return names[0]


def _with(names: list[str], *words: str) -> list[str]:
    """The names that hold one of the words, or all of them when none does."""
    return [name for name in names if any(word in name for word in words)] or names


def _base(name: str) -> str:
    """An image topic's name without the transport."""
    return name.removesuffix("/compressed").removesuffix("/compressedDepth")


def _listing(present: dict[str, str]) -> str:
    return "the bag has " + ", ".join(f"{name} ({kind})" for name, kind in present.items())


def _common_prefix(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
