"""Cameras, poses, boxes and voxels: round trips, brute-force references, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.box import (
    Box3D,
    center_distance,
    iou,
    iou_matrix,
    surface_distance,
)
from spatial3d_ros.geometry.camera import Camera, backproject, project
from spatial3d_ros.geometry.pose import (
    check_pose,
    interpolate,
    invert,
    look_at,
    motion,
    pose_matrix,
    quaternion_xyzw,
    transform,
)
from spatial3d_ros.geometry.voxels import dilate, voxel_downsample, voxel_keys

VGA = Camera(640, 480, 525.0, 520.0, 319.5, 239.5)
K = (525.0, 0, 319.5, 0, 520.0, 239.5, 0, 0, 1)


def for_all(*strategies: st.SearchStrategy) -> Callable:
    """Hypothesis with the same examples in every run."""
    repeatable = settings(derandomize=True, deadline=None, max_examples=60)
    return lambda test: repeatable(given(*strategies)(test))


coordinate = st.floats(-10, 10)
vector = st.tuples(coordinate, coordinate, coordinate)
angle = st.floats(-math.pi, math.pi)
extent = st.floats(0.05, 3.0)


@st.composite
def poses(draw: st.DrawFn) -> np.ndarray:
    quaternion = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 4)))
    norm = np.linalg.norm(quaternion)
    quaternion = quaternion / norm if norm > 0.1 else np.array([0, 0, 0, 1])
    return pose_matrix(draw(vector), quaternion)


@st.composite
def boxes(draw: st.DrawFn, reach: float = 2.0) -> Box3D:
    center = draw(st.tuples(*[st.floats(-reach, reach)] * 3))
    return Box3D(center, draw(st.tuples(extent, extent, extent)), draw(angle))


# ---- cameras


@for_all(
    st.floats(100, 2000),
    st.floats(100, 2000),
    st.floats(0, 39),
    st.floats(0, 29),
    st.integers(1, 7),
)
def test_backprojected_pixels_project_onto_themselves(fx, fy, cx, cy, stride):
    camera = Camera(40, 30, fx, fy, cx, cy)
    depth = np.random.default_rng(0).uniform(0.3, 8, (30, 40)).astype(np.float32)
    points = backproject(depth, camera, stride)
    uv, z = project(points, camera)
    rows, columns = np.mgrid[0:30:stride, 0:40:stride]
    np.testing.assert_allclose(uv[..., 0], columns, atol=1e-3)
    np.testing.assert_allclose(uv[..., 1], rows, atol=1e-3)
    np.testing.assert_array_equal(z, depth[::stride, ::stride])
    assert points.dtype == uv.dtype == np.float32


def test_backproject_follows_the_matrix_and_marks_holes():
    depth = np.full((480, 640), 2.0, np.float32)
    depth[100, 200] = 0
    points = backproject(depth, VGA)
    ray = np.linalg.inv(VGA.matrix) @ (50, 60, 1)
    np.testing.assert_allclose(points[60, 50], 2 * ray, rtol=1e-6)
    assert np.isnan(points[100, 200]).all()
    assert np.isnan(points).any(axis=-1).sum() == 1


def test_points_behind_the_camera_have_no_pixel():
    uv, z = project(np.array([(0.0, 0.0, -1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)]), VGA)
    assert np.isnan(uv[:2]).all()
    np.testing.assert_allclose(uv[2], (VGA.cx, VGA.cy))
    assert z.tolist() == [-1, 0, 1]


def test_depth_of_another_size_is_refused():
    with pytest.raises(FrameError, match=r"depth.*320 x 240.*640 x 480"):
        backproject(np.ones((240, 320), np.float32), VGA)


def test_scaled_and_cropped_cameras_see_the_same_rays():
    point = np.array([0.3, -0.2, 2.5])
    (u, v), _ = project(point, VGA)
    (us, vs), _ = project(point, VGA.scaled(512, 240))
    assert (us, vs) == pytest.approx((u * 512 / 640, v * 240 / 480))
    (uc, vc), _ = project(point, VGA.cropped(64, 10, 384, 384))
    assert (uc, vc) == pytest.approx((u - 64, v - 10))
    with pytest.raises(FrameError, match="roi"):
        VGA.cropped(300, 0, 384, 384)


@for_all(st.integers(0, 4), st.integers(0, 4), st.booleans())
def test_binning_and_region_of_interest(bin_x, bin_y, whole):
    left, top, width, height = roi = (0, 0, 0, 0) if whole else (40, 20, 480, 360)
    camera = Camera.from_calibration(640, 480, K, binning_x=bin_x, binning_y=bin_y, roi=roi)
    x, y = max(bin_x, 1), max(bin_y, 1)
    full_width, full_height = (640, 480) if whole else (width, height)
    assert (camera.width, camera.height) == (full_width // x, full_height // y)
    point = np.array([0.1, 0.2, 1.5])
    (u, v), _ = project(point, VGA)
    (ub, vb), _ = project(point, camera)
    assert (ub, vb) == pytest.approx(((u - left) / x, (v - top) / y))


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", (0.1, -0.2, 0.001, 0.002, 0.05)),
        ("rational_polynomial", (0.1, -0.2, 0.001, 0.002, 0.05, 0.2, 0.01, 0.02)),
        ("equidistant", (0.05, -0.01, 0.002, 0.001)),
    ],
)
def test_rectified_pixels_come_from_where_the_lens_put_them(model, d):
    camera = Camera.from_calibration(640, 480, K, d, model)
    map_x, map_y = camera.undistort_maps()
    assert camera.undistort_maps()[0] is map_x, "maps are cached"
    assert map_x.shape == map_y.shape == (480, 640)
    u, v = 100, 400
    ray = np.linalg.inv(camera.matrix) @ (u, v, 1)
    project_raw = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    zero = np.zeros((3, 1))
    raw = project_raw(ray.reshape(1, 1, 3), zero, zero, camera.matrix, np.array(d))[0].ravel()
    assert (map_x[v, u], map_y[v, u]) == pytest.approx(raw, abs=0.01)
    assert camera.rectified().undistort_maps() is None


def test_rectified_depth_keeps_its_values():
    camera = Camera.from_calibration(640, 480, K, (0.2, 0, 0, 0, 0), "plumb_bob")
    depth = np.full((480, 640), 1.0, np.float32)
    depth[:, 320:] = 3.0
    assert set(np.unique(camera.rectify(depth))) <= {0.0, 1.0, 3.0}
    rgb = np.full((480, 640, 3), 200, np.uint8)
    assert camera.rectify(rgb)[240, 320].tolist() == [200, 200, 200]
    assert VGA.rectify(rgb) is rgb


def test_zero_coefficients_mean_no_distortion():
    camera = Camera.from_calibration(640, 480, K, (0.0,) * 5, "anything")
    assert camera == VGA


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"k": (0.0,) * 9}, "fx is 0"),
        ({"k": (525, 0, 319.5, 0, 0, 239.5, 0, 0, 1)}, "fy is 0"),
        ({"k": (525, 0, math.nan, 0, 520, 239.5, 0, 0, 1)}, "cx is nan"),
        ({"k": (1, 2, 3)}, "k has 3"),
        ({"width": 0}, "width x height is 0 x 480"),
        ({"d": (0.1,) * 5, "distortion_model": "kb4"}, "distortion_model 'kb4'"),
        ({"d": (0.1,) * 5, "distortion_model": ""}, "distortion_model ''"),
        ({"d": (0.1,) * 3, "distortion_model": "plumb_bob"}, "d is"),
        ({"d": (math.inf,) * 5, "distortion_model": "plumb_bob"}, "d is"),
        ({"roi": (600, 0, 100, 100)}, "roi"),
    ],
)
def test_unusable_calibrations_name_the_field(changes, names):
    arguments = {"width": 640, "height": 480, "k": K} | changes
    with pytest.raises(FrameError, match=f"camera_info: {names}"):
        Camera.from_calibration(**arguments)


# ---- poses


@for_all(poses(), st.lists(vector, min_size=1, max_size=5))
def test_inverse_brings_points_back(pose, points):
    points = np.array(points)
    np.testing.assert_allclose(transform(invert(pose), transform(pose, points)), points, atol=1e-9)
    np.testing.assert_allclose(invert(pose) @ pose, np.eye(4), atol=1e-12)


@for_all(poses())
def test_transform_is_the_matrix_product_in_any_shape(pose):
    points = np.random.default_rng(1).normal(size=(4, 5, 3)).astype(np.float32)
    points[1, 2] = np.nan
    expected = points @ pose[:3, :3].T + pose[:3, 3]
    moved = transform(pose, points)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    np.testing.assert_allclose(transform(pose, points[0, 0]), expected[0, 0], atol=1e-5)
    assert transform(pose, np.empty((0, 3))).shape == (0, 3)
    assert transform(pose, [(0, 0, 0)]).dtype == np.float64


@for_all(poses())
def test_quaternions_survive_the_matrix(pose):
    quaternion = quaternion_xyzw(pose)
    assert quaternion[3] >= 0
    np.testing.assert_allclose(pose_matrix(pose[:3, 3], quaternion), pose, atol=1e-9)


def test_quaternion_order_is_xyzw():
    quarter_turn_about_z = pose_matrix((0, 0, 0), (0, 0, math.sqrt(0.5), math.sqrt(0.5)))
    np.testing.assert_allclose(transform(quarter_turn_about_z, (1.0, 0, 0)), (0, 1, 0), atol=1e-12)


def test_slightly_long_quaternions_are_normalised():
    pose = pose_matrix((1, 2, 3), (0, 0, 0, 1.005))
    np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("position", "quaternion", "names"),
    [
        ((math.nan, 0, 0), (0, 0, 0, 1), "position"),
        ((math.inf, 0, 0), (0, 0, 0, 1), "position"),
        ((0, 0, 0), (0, 0, 0, 0), "orientation"),
        ((0, 0, 0), (0, 0, 0, 1.1), "orientation"),
        ((0, 0, 0), (0, math.nan, 0, 1), "orientation"),
    ],
)
def test_unusable_poses_name_the_field(position, quaternion, names):
    with pytest.raises(FrameError, match=f"pose: {names}"):
        pose_matrix(position, quaternion)


@for_all(poses(), poses(), st.floats(0, 1))
def test_interpolation_shares_out_the_motion(pose0, pose1, part):
    start = 1_700_000_000_000_000_000
    stamp = start + round(part * 33_333_333)
    between = interpolate(pose0, start, pose1, start + 33_333_333, stamp)
    check_pose(between, "between")
    metres, radians = motion(pose0, pose1)
    metres_part, radians_part = motion(pose0, between)
    part = (stamp - start) / 33_333_333
    assert metres_part == pytest.approx(part * metres, abs=1e-9)
    assert radians_part == pytest.approx(part * radians, abs=1e-6)


def test_interpolation_never_guesses():
    one, two = np.eye(4), look_at((0, 0, 1), (1, 0, 1))
    np.testing.assert_allclose(interpolate(one, 10, two, 20, 10), one, atol=1e-12)
    np.testing.assert_allclose(interpolate(one, 10, two, 20, 20), two, atol=1e-12)
    np.testing.assert_allclose(interpolate(one, 10, one, 10, 10), one)
    for stamp in (9, 21):
        with pytest.raises(FrameError, match="stamp"):
            interpolate(one, 10, two, 20, stamp)


@for_all(vector, vector)
def test_look_at_puts_the_target_on_the_optical_axis(eye, target):
    distance = math.dist(eye, target)
    if distance < 1e-3:
        return
    pose = check_pose(look_at(eye, target), "pose")
    np.testing.assert_allclose(transform(invert(pose), target), (0, 0, distance), atol=1e-6)
    assert pose[2, 1] <= 1e-9, "image y points down"
    assert abs(pose[2, 0]) < 1e-9, "the horizon is level"


def test_look_at_straight_down_and_nowhere():
    check_pose(look_at((0, 0, 2), (0, 0, 0)), "pose")
    with pytest.raises(FrameError, match="look_at"):
        look_at((1, 1, 1), (1, 1, 1))


@pytest.mark.parametrize(
    "pose",
    [
        np.eye(3),
        np.full((4, 4), np.nan),
        np.diag((1, 1, -1, 1)),
        np.diag((1.1, 1, 1, 1)),
        np.diag((1, 1, 1, 2)),
    ],
)
def test_matrices_that_are_no_rigid_pose(pose):
    with pytest.raises(FrameError, match="odom"):
        check_pose(pose, "odom")


# ---- boxes


@for_all(boxes(), boxes())
def test_iou_agrees_with_counting_points(a, b):
    rng = np.random.default_rng(2)
    (low_a, high_a), (low_b, high_b) = a.bounds(), b.bounds()
    low, high = np.minimum(low_a, low_b), np.maximum(high_a, high_b)
    points = rng.uniform(low, high, (40_000, 3))
    in_a, in_b = a.contains(points), b.contains(points)
    union = (in_a | in_b).sum()
    if union > 1000:
        estimate = (in_a & in_b).sum() / union
        assert iou(a, b) == pytest.approx(estimate, abs=4 * math.sqrt(0.25 / union))


@for_all(boxes(), boxes(), angle, vector)
def test_iou_is_symmetric_bounded_and_moves_along(a, b, turn, shift):
    value = iou(a, b)
    assert 0 <= value <= 1
    assert iou(b, a) == pytest.approx(value, abs=1e-9)
    assert iou(a, a) == pytest.approx(1)
    c, s = math.cos(turn), math.sin(turn)

    def moved(box: Box3D) -> Box3D:
        x, y, z = box.center
        center = (c * x - s * y + shift[0], s * x + c * y + shift[1], z + shift[2])
        return Box3D(center, box.size, box.yaw + turn)

    assert iou(moved(a), moved(b)) == pytest.approx(value, abs=1e-9)


@for_all(st.lists(boxes(), min_size=1, max_size=4), st.lists(boxes(), min_size=1, max_size=4))
def test_iou_matrix_agrees_with_single_boxes(some, others):
    some = [Box3D(b.center, b.size) for b in some]
    others = [Box3D(b.center, b.size) for b in others]
    matrix = iou_matrix([b.array() for b in some], [b.array() for b in others])
    expected = [[iou(a, b) for b in others] for a in some]
    np.testing.assert_allclose(matrix, expected, atol=1e-9)


def test_iou_of_known_boxes():
    unit = Box3D((0, 0, 0), (1, 1, 1))
    octagon = 2 * (math.sqrt(2) - 1)  # unit square meets itself turned by 45 degrees
    turned = Box3D((0, 0, 0), (1, 1, 1), math.pi / 4)
    assert iou(unit, turned) == pytest.approx(octagon / (2 - octagon))
    assert iou(unit, Box3D((1, 0, 0), (1, 1, 1))) == 0
    assert iou(unit, Box3D((0, 0, 0), (0, 0, 0))) == 0
    assert iou(Box3D((0, 0, 0), (0, 1, 1)), Box3D((0, 0, 0), (0, 1, 1))) == 0
    assert iou_matrix(np.empty((0, 6)), np.ones((2, 6))).shape == (0, 2)


@for_all(boxes(4.0), boxes(4.0))
def test_surface_distance_is_the_shortest_way(a, b):
    metres, point_a, point_b = surface_distance(a, b)
    assert a.contains(point_a, 1e-9)
    assert b.contains(point_b, 1e-9)
    assert metres == pytest.approx(math.dist(point_a, point_b))
    assert surface_distance(b, a)[0] == pytest.approx(metres, abs=1e-9)
    # Alternating projections between two convex bodies converge to their distance.
    p = np.array(a.center)
    for _ in range(300):
        p = _nearest_inside(a, _nearest_inside(b, p))
    reached = float(np.linalg.norm(p - _nearest_inside(b, p)))
    assert metres <= reached + 1e-9
    assert metres == pytest.approx(reached, abs=0.02)


def _nearest_inside(box: Box3D, point: np.ndarray) -> np.ndarray:
    frame = pose_matrix(box.center, (0, 0, math.sin(box.yaw / 2), math.cos(box.yaw / 2)))
    half = np.array(box.size) / 2
    return transform(frame, transform(invert(frame), point).clip(-half, half))


def test_surface_distance_of_known_boxes():
    unit = Box3D((0, 0, 0), (1, 1, 1))
    metres, low, high = surface_distance(unit, Box3D((0, 0, 3), (1, 1, 1)))
    assert (metres, low[2], high[2]) == (2, 0.5, 2.5)
    assert surface_distance(unit, Box3D((4, 5, 0), (1, 1, 1)))[0] == pytest.approx(5)
    assert surface_distance(unit, Box3D((0.2, 0.1, 0), (0.1, 0.1, 0.1)))[0] == 0
    assert surface_distance(unit, Box3D((1, 0, 0), (1, 1, 1)))[0] == pytest.approx(0)
    assert center_distance(unit, Box3D((4, 5, 0), (1, 1, 1))) == pytest.approx(math.sqrt(41))


@for_all(boxes())
def test_corners_lie_on_the_box_and_span_its_bounds(box):
    corners = box.corners()
    assert box.contains(corners, 1e-9).all()
    assert not box.contains(corners, -1e-3).any()
    assert np.prod(np.ptp(corners, axis=0)) >= box.volume - 1e-9
    low, high = box.bounds()
    around = Box3D.from_bounds(low, high)
    np.testing.assert_allclose(around.array(), Box3D.from_points(corners).array(), atol=1e-12)
    assert not box.contains(np.array([np.nan, 0, 0]))


def test_a_quantile_box_ignores_stray_points():
    points = np.random.default_rng(3).uniform(0, 1, (1000, 3)).astype(np.float32)
    points[0] = 50
    points[1] = np.nan
    assert Box3D.from_points(points).size[0] > 40
    robust = Box3D.from_points(points, quantile=0.01)
    np.testing.assert_allclose(robust.array(), [0.5] * 3 + [0.98] * 3, atol=0.03)


def test_unusable_boxes():
    with pytest.raises(FrameError, match="size"):
        Box3D((0, 0, 0), (1, -1, 1))
    with pytest.raises(FrameError, match="center"):
        Box3D((0, math.nan, 0), (1, 1, 1))
    with pytest.raises(FrameError, match="no finite point"):
        Box3D.from_points(np.full((4, 3), np.nan))


# ---- voxels


@for_all(st.lists(st.tuples(*[st.integers(-1000, 1000)] * 3), min_size=1, max_size=30))
def test_different_voxels_have_different_keys(cells):
    cells = np.array(cells)
    keys = voxel_keys((cells + 0.5) * 0.1, 0.1)
    assert len(np.unique(keys)) == len(np.unique(cells, axis=0))
    np.testing.assert_array_equal(keys, voxel_keys((cells + 0.9) * 0.1, 0.1))


def test_dilation_adds_the_26_neighbours():
    around = dilate(voxel_keys(np.array([(0.05, 0.05, -0.05)]), 0.1))
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)
    expected = voxel_keys((grid - (0.5, 0.5, 1.5)) * 0.1, 0.1)
    np.testing.assert_array_equal(around, np.sort(expected))


def test_downsampling_averages_the_points_of_a_voxel():
    rng = np.random.default_rng(4)
    points = rng.uniform(-1, 1, (5000, 3)).astype(np.float32)
    colors = rng.integers(0, 255, (5000, 3), dtype=np.uint8)
    weight = rng.random(5000)
    centroids, mean_colors, mean_weight, counts = voxel_downsample(points, 0.25, colors, weight)
    assert counts.sum() == 5000
    keys = voxel_keys(points, 0.25)
    assert len(centroids) == len(np.unique(keys)) == len(mean_weight)
    member = keys == np.sort(np.unique(keys))[7]
    np.testing.assert_allclose(centroids[7], points[member].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(mean_colors[7], colors[member].mean(axis=0), rtol=1e-5)
    assert mean_weight[7] == pytest.approx(weight[member].mean(), rel=1e-5)
    np.testing.assert_array_equal(voxel_keys(centroids, 0.25), np.unique(keys))


def test_downsampling_nothing_gives_nothing():
    centroids, colors, counts = voxel_downsample(np.empty((0, 3)), 0.1, np.empty((0, 3)))
    assert centroids.shape == colors.shape == (0, 3)
    assert counts.shape == (0,)
