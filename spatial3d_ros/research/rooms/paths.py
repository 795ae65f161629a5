"""Camera paths through a room: of a driving robot and of a hand-held camera."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter1d
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.research.rooms.catalog import Room

_CELL = 0.08


def robot_path(room: Room, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`n` poses world_T_camera of a camera fixed on a driving robot, tilted slightly down.

    The robot turns around once, then drives between stops and pans over the furniture at each. 30 s
    at 15 Hz (n = 450) give a slow pace.
    """
    floor = _FreeFloor(room, radius=0.26, top=1.5)
    stops = floor.spread(4, rng)
    focus = np.mean([item.box.center[:2] for item in room.objects], axis=0)
    height = rng.uniform(0.6, 1.4)
    tilt = np.tan(rng.uniform(np.radians(6), np.radians(16)))
    track = [np.array([[*stops[0], _bearing(stops[0], focus)]])]
    track.append(_turn(track[-1][-1], 2 * np.pi * rng.choice([-1, 1])))
    for start, stop in pairwise(stops):
        way = floor.route(start, stop)
        step = np.gradient(way, axis=0)
        course = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        course = gaussian_filter1d(course, 4, mode="nearest")
        track.append(_turn(track[-1][-1], _wrap(course[0] - track[-1][-1, 2])))
        track.append(np.c_[way, course + (track[-1][-1, 2] - course[0])])
        side = rng.choice([-1.1, 1.1])
        track.append(_turn(track[-1][-1], _wrap(_bearing(stop, focus) - course[-1]) - side))
        track.append(_turn(track[-1][-1], 2 * side))
    track = _resampled(np.concatenate(track), n, smooth=3)
    eyes = np.c_[track[:, :2], np.full(n, height)]
    ahead = np.c_[np.cos(track[:, 2]), np.sin(track[:, 2]), np.full(n, -tilt)]
    return [look_at(eye, eye + way) for eye, way in zip(eyes, ahead, strict=True)]


def hand_path(room: Room, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`n` poses world_T_camera of a hand-held camera.

    It moves along a loop through the free space and points at one object after the other, with
    tremor.
    """
    floor = _FreeFloor(room, radius=0.2, top=1.9)
    stops = floor.spread(5, rng)
    middle = stops.mean(0)
    order = np.argsort(np.arctan2(*(stops - middle).T[::-1]))
    legs = [floor.route(stops[a], stops[b]) for a, b in zip(order, np.roll(order, -1), strict=True)]
    way = _resampled(np.concatenate(legs), n, smooth=4)
    t = np.linspace(0, 1, n)
    eyes = np.c_[way, 1.45 + 0.18 * np.sin(2 * np.pi * (2.3 * t + rng.random()))]
    eyes += _wobble(t, rng, 0.015, 3)
    sweep = np.array([item.box.center for item in room.objects])
    around = np.arctan2(*(sweep[:, :2] - middle).T[::-1])
    # The view direction leads the position by half a loop, so it points across the room.
    sweep = sweep[np.argsort(_wrap(around - _bearing(middle, eyes[0, :2])) % (2 * np.pi))]
    sweep = np.roll(sweep, -(len(sweep) // 2), axis=0)
    at = t * len(sweep)
    knots = np.arange(len(sweep) + 1)
    gaze = np.stack([np.interp(at, knots, [*column, column[0]]) for column in sweep.T], -1)
    offset = gaze - eyes
    far = np.maximum(np.linalg.norm(offset[:, :2], axis=1), 0.4)
    slope = np.clip(offset[:, 2] / far, -0.9, 0.15)
    # Angles are smoothed, not targets, so that close objects cause no fast rotation.
    aim = np.c_[np.unwrap(np.arctan2(offset[:, 1], offset[:, 0])), slope]
    aim = gaussian_filter1d(aim, max(n / 40, 0.5), axis=0, mode="nearest")
    yaw, slope = (aim + _wobble(t, rng, 0.02, 2)).T
    ahead = np.c_[np.cos(yaw), np.sin(yaw), slope]
    up = np.c_[_wobble(t, rng, 0.03, 2), np.ones(n)]
    return [look_at(eye, eye + way, top) for eye, way, top in zip(eyes, ahead, up, strict=True)]


class _FreeFloor:
    """The largest connected free floor area for a disc of `radius` metres."""

    def __init__(self, room: Room, radius: float, top: float) -> None:
        self._half = np.array(room.size[:2]) / 2
        self._shape = np.floor(2 * self._half / _CELL).astype(int) + 2
        full = np.zeros(self._shape, dtype=bool)
        full[[0, -1]] = full[:, [0, -1]] = True
        for item in room.objects:
            center, size = np.array(item.box.center), np.array(item.box.size)
            if center[2] - size[2] / 2 > top:
                continue
            lo, hi = (self._cell(center[:2] + side * size[:2] / 2) for side in (-1, 1))
            full[lo[0] : hi[0] + 1, lo[1] : hi[1] + 1] = True
        room_to = distance_transform_edt(~full) * _CELL
        for reach in (radius, radius / 2, 0.0):  # smaller discs for crowded rooms
            free = room_to > max(reach, _CELL / 2)
            _, label = cv2.connectedComponents(free.astype(np.uint8), connectivity=4)
            sizes = np.bincount(label[free]) if free.any() else np.zeros(1)
            if sizes.max() * _CELL**2 > 0.4:
                break
        self._free = label == sizes.argmax()
        self._cells = np.argwhere(self._free)
        self._index = np.full(full.shape, -1)
        self._index[self._free] = np.arange(len(self._cells))
        self._clearance = room_to
        self._graph = self._edges()

    def spread(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """`count` positions (count, 2) far from each other, and from walls and furniture."""
        xy = self._xy(self._cells)
        clear = self._clearance[self._free]
        picked = [int(rng.choice(np.flatnonzero(clear >= 0.7 * clear.max())))]
        for _ in range(count - 1):
            gap = np.linalg.norm(xy[:, None] - xy[picked], axis=2).min(1)
            picked.append(int((gap + 2 * np.minimum(clear, 0.9)).argmax()))
        return xy[picked]

    def route(self, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Points (k, 2), at most a cell apart, from start to goal on the free floor."""
        a, b = (int(self._index[tuple(self._cell(xy))]) for xy in (start, goal))
        _, before = dijkstra(self._graph, indices=a, return_predecessors=True)
        steps = [b]
        while steps[-1] != a:
            steps.append(int(before[steps[-1]]))
        way = self._xy(self._cells[steps[::-1]])
        if len(way) < 4:
            return np.repeat(way, 2, axis=0) if len(way) == 1 else way
        for sigma in (5, 3, 1.5):
            smooth = gaussian_filter1d(way, sigma, axis=0, mode="nearest")
            smooth[[0, -1]] = way[[0, -1]]
            if all(self._free[tuple(self._cell(xy))] for xy in smooth):
                return smooth
        return way

    def _edges(self) -> coo_matrix:
        rows, columns, costs = [], [], []
        for di, dj in ((0, 1), (1, 0), (1, 1), (1, -1)):
            other = self._cells + np.array((di, dj))
            linked = self._index[tuple(other.T)] >= 0
            a, b = self._cells[linked], other[linked]
            rows.append(self._index[tuple(a.T)])
            columns.append(self._index[tuple(b.T)])
            # Cells near obstacles cost more.
            costs.append(np.hypot(di, dj) * (1 + 0.3 / (self._clearance[tuple(b.T)] + 0.1)))
        links = (np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns)))
        graph = coo_matrix(links, shape=(len(self._cells),) * 2).tocsr()
        return graph + graph.T

    def _cell(self, xy: np.ndarray) -> np.ndarray:
        cell = np.floor((xy + self._half) / _CELL).astype(int) + 1
        return np.clip(cell, 0, self._shape - 1)

    def _xy(self, cells: np.ndarray) -> np.ndarray:
        return (cells - 0.5) * _CELL - self._half


def _wrap(angle: np.ndarray | float) -> np.ndarray | float:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _bearing(start: np.ndarray, goal: np.ndarray) -> float:
    return float(np.arctan2(goal[1] - start[1], goal[0] - start[0]))


def _turn(pose: np.ndarray, angle: float) -> np.ndarray:
    """Rows (k, 3) of x, y, yaw that rotate in place by `angle`, about four degrees each."""
    steps = max(int(abs(angle) / 0.07), 2)
    rows = np.tile(pose, (steps, 1))
    rows[:, 2] += np.linspace(0, angle, steps)
    return rows


def _resampled(track: np.ndarray, n: int, smooth: float) -> np.ndarray:
    """`n` rows at equal steps along a smoothed track; a radian counts like a metre."""
    track = gaussian_filter1d(track, smooth, axis=0, mode="nearest")
    step = np.linalg.norm(np.diff(track, axis=0), axis=1) + 1e-9
    along = np.concatenate([[0], np.cumsum(step)])
    at = np.linspace(0, along[-1], n)
    return np.stack([np.interp(at, along, column) for column in track.T], -1)


def _wobble(t: np.ndarray, rng: np.random.Generator, size: float, axes: int) -> np.ndarray:
    """Smooth tremor (n, axes) of about `size`: a sum of slow and fast oscillations."""
    swings = rng.uniform(3, 25, (4, 1, axes))
    phases = rng.uniform(0, 2 * np.pi, (4, 1, axes))
    return size * np.sin(2 * np.pi * swings * t[:, None] + phases).mean(0)
