"""Whether the geometry of the first views is possible: units, poses, upward axis, alignment.

Every finding has its figure and the parameter that cures it; nothing is corrected here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, permutations, product
from typing import NamedTuple

import cv2
import numpy as np

from spatial3d_ros.geometry.camera import backproject, project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.scene.frame import Frame

MAX_VIEWS = 12  # more add time, not certainty
STRIDE = 12  # pixels between the points that are compared
MAX_PAIRS = 24
MIN_PAIRS = 3
MIN_OVERLAP = 0.25  # of the points of a view that must lie in the other one
MIN_BASELINE_M = 0.15
AGREES, DISAGREES = 0.03, 0.1  # relative depth difference of right geometry, and of wrong one
USELESS = 0.2  # a larger one makes every answer wrong
FAR_M, NEAR_M = 10.0, 0.12  # median depth beyond which a unit is doubtful: no indoor camera
OPTICAL_T_BODY = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
UNIT_FACTORS = (
    0.001, 0.01, 0.1, 0.125, 0.2, 0.25, 0.5, 2.0, 4.0, 5.0, 10.0, 100.0, 1000.0,
    0.0254, 0.3048, 1000 / 256,  # inches, feet, 1/256 m
)  # fmt: skip
SCALES = np.geomspace(0.05, 20.0, 25)  # tried where no usual unit agrees, then between the best
DIRECTIONS = {  # of the axes of an optical frame (REP 103)
    (1, 0, 0): "right", (-1, 0, 0): "left", (0, 1, 0): "down", (0, -1, 0): "up",
    (0, 0, 1): "forward", (0, 0, -1): "backward",
}  # fmt: skip
MAX_TILT_DEG = 12.0  # of the level surfaces; right poses show 1 to 3
NORMAL_STRIDE = 6
MAX_SLOPE = 0.2  # step of depth to the next point of a smooth surface, as a share of the depth
MODE_DEG, NEAR_UP_DEG = 8.0, 50.0
MIN_LEVEL = 0.05  # of all normals, that must belong to the level surfaces
STEEP = 0.85  # |cosine| from which an axis of the camera counts as vertical
MAX_SHIFT_PX, SHIFT_PX = 24, 6
EDGE_RATIO = 0.06  # relative step of depth that is an edge
MIN_EDGE_GAIN = 1.15

Pose = Callable[[np.ndarray], np.ndarray]


class Finding(NamedTuple):
    """`text` names figure, cause and cure; a `fatal` one makes every answer wrong.

    `kind` is "unit" for depth whose unit the views contradict, "range" for a median that no camera
    measures in it; else "poses", "optical", "up", "tilt" or "alignment".
    """

    kind: str
    text: str
    fatal: bool = True


def check_views(
    frames: Sequence[Frame],
    camera_frame: str = "",
    unit: float = 0.001,
    *,
    unit_given: bool = False,
) -> list[Finding]:
    """What is implausible about a few views of one camera, spread over time.

    `camera_frame` is header.frame_id of the images; `unit` the depth value 1 in metres, which the
    user gave or the encoding has. The cause of others comes first.
    """
    frames = frames[:: max(1, math.ceil(len(frames) / MAX_VIEWS))]
    if not frames:
        return []
    findings = _check_poses(frames, camera_frame, unit)
    if not findings and not unit_given:
        text = unit_problem(float(np.median([median_depth(frame) for frame in frames])), unit)
        findings = [Finding("range", text)] if text else []
    if not findings:
        findings = _check_up(frames, camera_frame) or _check_tilt(frames)
    return findings + _check_alignment(frames)


def median_depth(frame: Frame) -> float:
    """Metres; 0 where nothing is measured."""
    measured = frame.depth[frame.depth > 0]
    return float(np.median(measured)) if measured.size else 0.0


def unit_problem(median_m: float, unit: float) -> str:
    """Why a median depth looks like another unit than `unit`, the value 1 in metres; "" if not."""
    if not median_m or NEAR_M <= median_m <= FAR_M:
        return ""
    factors = (0.001, 0.01) if median_m > 100 else (0.1, 0.25) if median_m > FAR_M else (10.0,)
    examples = " or ".join(f"{unit * factor:g}" for factor in factors)
    return (
        f"the median depth is {median_m:.2f} m, so depth looks like another unit than {unit:g} m. "
        f"Set depth_unit to the metres of the value 1, for example {examples} (or to {unit:g} if "
        "it is right)"
    )


def depth_disagreement(frames: Sequence[Frame], scale: float = 1.0) -> tuple[float, int]:
    """Median relative difference of depth between views that overlap, all depths times `scale`,
    and how many pairs of views were compared: 0 of those where no two overlap.
    """
    return _disagreement(_pairs(frames), scale=scale)


def level_normal(frames: Sequence[Frame], near: np.ndarray) -> np.ndarray | None:
    """Normal (3,) of floors and table tops within NEAR_UP_DEG of `near` (3,), a unit vector of the
    world, on its side; None where there are too few.
    """
    normals = np.concatenate([_normals(frame) for frame in frames])
    if not len(normals):
        return None
    along = normals @ near
    level = np.abs(along) > math.cos(math.radians(NEAR_UP_DEG))
    axis, share = _mode(normals[level] * np.sign(along[level])[:, None])
    return axis if share * level.sum() >= MIN_LEVEL * len(normals) else None


def _check_poses(frames: Sequence[Frame], camera_frame: str, unit: float) -> list[Finding]:
    """Depth of one view against another, with the poses as they are and as they may be meant."""
    pairs = _pairs(frames)
    as_given, count = _disagreement(pairs)
    if count and as_given < AGREES:
        return []
    differ = f"depth of one view differs from the next by {as_given:.0%} in the median"
    meant = _as_meant(pairs, as_given, count)
    if meant is not None:
        meaning, by = meant
        text = f"{differ}, and by {by:.1%} {_explained(meaning, frames, camera_frame, unit)}"
        return [Finding(meaning.kind(frames), text)]
    if count >= MIN_PAIRS and as_given > DISAGREES:
        return [Finding("poses", f"{differ}, over {count} pairs of views: poses, calibration (K) "
                        "or the clock of the poses are wrong", as_given > USELESS)]  # fmt: skip
    return []


class _Meaning(NamedTuple):
    """What poses and depth may be meant as: of which axes, inverted, or depth `scale` times."""

    axes: str = ""
    pose: Pose = lambda pose: pose
    scale: float = 1.0

    def kind(self, frames: Sequence[Frame]) -> str:
        """That of its finding."""
        if self.scale == 1.0:
            return "optical" if self.axes else "poses"
        scaled = float(np.median([median_depth(frame) for frame in frames])) * self.scale
        return "unit" if NEAR_M <= scaled <= FAR_M else "poses"


def _as_meant(
    pairs: Sequence[tuple[Frame, Frame]], as_given: float, count: int
) -> tuple[_Meaning, float] | None:
    """The meaning with which views agree best, and their disagreement; None if none agrees."""

    def best(meanings: Iterable[_Meaning]) -> tuple[_Meaning, float]:
        tried = [
            (meaning, *_disagreement(pairs, meaning.pose, meaning.scale)) for meaning in meanings
        ]
        agreeing = [(m, v) for m, v, n in tried if n >= max(MIN_PAIRS, count // 2)]
        return min(agreeing, key=lambda entry: entry[1], default=(_Meaning(), math.inf))

    enough = min(AGREES, as_given / 2 if count else AGREES)
    units = [_Meaning(scale=factor) for factor in UNIT_FACTORS]
    usual = best([_Meaning(pose=invert), *_axes_of_poses(), *units])
    if usual[1] < enough and usual[0].scale == 1.0:
        return usual
    middle = usual if usual[1] < enough else best(_Meaning(scale=float(s)) for s in SCALES)
    near = middle[0].scale * np.geomspace(SCALES[0] / SCALES[1], SCALES[1] / SCALES[0], 17)
    found = best(_Meaning(scale=float(scale)) for scale in near)
    if usual[1] < min(enough, 2 * found[1]):
        found = usual
    return found if found[1] < enough else None


def _explained(meaning: _Meaning, frames: Sequence[Frame], camera_frame: str, unit: float) -> str:
    """Condition, cause and cure of a meaning with which the views agree."""
    if meaning.axes:
        return (
            f"if the poses are of {meaning.axes}, as {camera_frame!r} may be: use the optical "
            "frame (z forward; REP 103) in header.frame_id and in the poses, or set base_T_camera"
        )
    if meaning.scale == 1.0:
        return "with inverted poses: they are camera_T_world. Publish world_T_camera"
    if meaning.kind(frames) == "poses":
        return (
            f"if the camera moved {1 / meaning.scale:.3g} times as far, so the positions of the "
            "poses are not in metres. Publish them in metres (REP 103)"
        )
    return (
        f"if all depth is {meaning.scale:.4g} times as much, so depth has another unit than "
        f"{unit:g} m: set depth_unit to {unit * meaning.scale:.4g}"
    )


def _axes_of_poses() -> Iterator[_Meaning]:
    """Poses of every frame whose axes are those of the optical frame in another order."""
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        optical_T_named = np.eye(4)
        optical_T_named[:3, :3] = np.eye(3)[:, axes] * signs
        if np.linalg.det(optical_T_named) < 0 or np.array_equal(optical_T_named, np.eye(4)):
            continue
        x, y, z = (DIRECTIONS[tuple(axis)] for axis in optical_T_named[:3, :3].T.astype(int))
        named = f"a frame with x {x}, y {y}, z {z}"
        if np.array_equal(optical_T_named, OPTICAL_T_BODY):
            named = "a body frame (x forward)"
        yield _Meaning(named, _turned(invert(optical_T_named)))


def _turned(named_T_optical: np.ndarray) -> Pose:
    return lambda world_T_named: world_T_named @ named_T_optical


def _pairs(frames: Sequence[Frame]) -> list[tuple[Frame, Frame]]:
    """Pairs of views with a baseline, the longest first."""

    def baseline(pair: tuple[Frame, Frame]) -> float:
        a, b = (frame.world_T_camera[:3, 3] for frame in pair)
        return float(np.linalg.norm(a - b))

    pairs = [pair for pair in combinations(frames, 2) if baseline(pair) > MIN_BASELINE_M]
    return sorted(pairs, key=baseline, reverse=True)


def _disagreement(
    pairs: Sequence[tuple[Frame, Frame]], pose: Pose = lambda pose: pose, scale: float = 1.0
) -> tuple[float, int]:
    """Median relative difference of depth between views that overlap, and how many did.

    `scale` is a factor on all depths; `pose` maps each world_T_camera (4, 4) to the one to try.
    """
    found: list[float] = []
    for a, b in pairs:
        relative = invert(pose(b.world_T_camera)) @ pose(a.world_T_camera)
        points = backproject(a.depth, a.camera, STRIDE).reshape(-1, 3) * scale
        points = points[np.isfinite(points[:, 2])]
        pixels, z = project(transform(relative, points), b.camera)
        inside = (z > 0.05) & (pixels >= 0).all(-1)
        inside &= (pixels < (b.camera.width - 1, b.camera.height - 1)).all(-1)
        columns, rows = np.rint(pixels[inside]).astype(int).T
        seen = b.depth[rows, columns] * scale
        valid = seen > 0
        if valid.sum() >= max(1.0, MIN_OVERLAP * len(points)):
            difference = np.abs(seen[valid] - z[inside][valid]) / z[inside][valid]
            found.append(float(np.median(difference)))
        if len(found) == MAX_PAIRS:
            break
    return (float(np.median(found)), len(found)) if found else (0.0, 0)


def _check_up(frames: Sequence[Frame], camera_frame: str) -> list[Finding]:
    """Whether the camera's own axes contradict z as the upward axis of the world."""
    axes = np.mean([np.abs(frame.world_T_camera[2, :3]) for frame in frames], axis=0)
    right, _, forward = (float(axis) for axis in axes)
    if forward > STEEP and camera_frame and "optical" not in camera_frame:
        return [Finding("optical", f"the camera faces straight up or down in every view, and its "
                        f"frame {camera_frame!r} is not called optical: use the optical frame (z "
                        "forward; REP 103), or set base_T_camera")]  # fmt: skip
    upward = np.mean([-frame.world_T_camera[:3, 1] for frame in frames], axis=0)
    tilt = math.degrees(math.acos(min(1.0, abs(upward[2]) / max(1e-9, np.linalg.norm(upward)))))
    if np.linalg.norm(upward) > 0.7 and tilt > 60 and max(right, forward) < STEEP:
        return [Finding("up", f"the upward axis of the camera is {tilt:.0f} degrees off the z axis "
                        "of the world in the mean, so z is not up: give the upward axis (convert "
                        "--up), or publish poses in a frame with z up (REP 103)")]  # fmt: skip
    return []


def _check_tilt(frames: Sequence[Frame]) -> list[Finding]:
    """Whether floors and table tops are level in the world."""
    axis = level_normal(frames, np.array([0.0, 0.0, 1.0]))
    if axis is None:
        return []
    tilt = math.degrees(math.acos(min(1.0, axis[2])))
    if tilt <= MAX_TILT_DEG:
        return []
    return [Finding("tilt", f"floors and table tops are tilted by {tilt:.0f} degrees, so z of the "
                    "world is not up: give the upward axis (convert --up), or correct the "
                    "mounting of the camera (TF, base_T_camera)")]  # fmt: skip


def _normals(frame: Frame) -> np.ndarray:
    """Unit normals (n, 3) in the world of neighbourhoods without depth edges."""
    points = backproject(frame.depth, frame.camera, NORMAL_STRIDE)
    right, down = points[:-1, 1:] - points[:-1, :-1], points[1:, :-1] - points[:-1, :-1]
    smooth = np.maximum(np.abs(right[..., 2]), np.abs(down[..., 2]))
    valid = smooth < MAX_SLOPE * points[:-1, :-1, 2]
    normals = np.cross(right[valid], down[valid])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    return normals @ frame.world_T_camera[:3, :3].T


def _mode(normals: np.ndarray) -> tuple[np.ndarray, float]:
    """The direction (3,) that most normals share within MODE_DEG, and their share."""
    if not len(normals):
        return np.array([0.0, 0.0, 1.0]), 0.0
    sample = normals[:: max(1, len(normals) // 2000)]
    near = math.cos(math.radians(MODE_DEG))
    axis = sample[np.argmax((sample @ sample.T > near).sum(1))]
    for _ in range(3):
        axis = sample[sample @ axis > near].mean(0)
        axis /= np.linalg.norm(axis)
    return axis, float((sample @ axis > near).mean())


def _check_alignment(frames: Sequence[Frame]) -> list[Finding]:
    """Whether edges of depth lie on edges of colour, or some pixels beside them."""
    score = np.sum([_edge_correlation(frame) for frame in frames], axis=0)
    if not np.any(score):
        return []
    row, column = np.unravel_index(np.argmax(score), score.shape)
    dx, dy = int(column) - MAX_SHIFT_PX, int(row) - MAX_SHIFT_PX
    middle = slice(MAX_SHIFT_PX - 2, MAX_SHIFT_PX + 3)
    gain = float(score[row, column] / max(1e-9, score[middle, middle].max()))
    on_border = max(abs(dx), abs(dy)) == MAX_SHIFT_PX  # the peak may lie beyond, or be none
    if on_border or math.hypot(dx, dy) < SHIFT_PX or gain < MIN_EDGE_GAIN:
        return []
    return [Finding("alignment", f"depth is about {math.hypot(dx, dy):.0f} pixels off colour "
                    f"({-dx:+d}, {-dy:+d}): register depth in the camera driver, or check "
                    "color_T_depth, K and the stamps of the two", fatal=False)]  # fmt: skip


def _edge_correlation(frame: Frame) -> np.ndarray:
    """Colour gradient on the edges of depth, by shift of these (2 MAX + 1, 2 MAX + 1)."""
    depth = frame.depth
    valid = cv2.erode((depth > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    step = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    edges = ((step > EDGE_RATIO * depth) & (valid > 0)).astype(np.float32)
    gray = cv2.GaussianBlur(
        cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1
    )
    gradient = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    gradient = np.minimum(gradient, np.percentile(gradient, 98))
    gradient -= gradient.mean()
    border = MAX_SHIFT_PX
    inner = edges[border:-border, border:-border]
    if min(inner.shape, default=0) < 2 * border or inner.sum() < 50:
        return np.zeros((2 * border + 1, 2 * border + 1))
    return cv2.matchTemplate(gradient, inner, cv2.TM_CCORR) / inner.sum()
