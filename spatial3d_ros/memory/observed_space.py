"""Which space was seen empty, and what is taken since: whether a thing was brought to its place.

Cells of `CELL_M` in blocks, one number each: never seen, seen empty, seen taken, or taken after it
was seen empty, since which look. Looks are counted, not timed: a clock may be set back.
"""

from __future__ import annotations

import contextlib
import zlib
from itertools import product

import numpy as np

from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.geometry.voxels import voxel_corners, voxel_keys
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.presence import MIN_VALID
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.visibility import FREE, classify_points

CELL_M = 0.1
SIDE = 8  # cells of a block
BLOCK_M = SIDE * CELL_M
RANGE_M = 4.0  # of a look: beyond it the rays are further apart than cells
MAX_BLOCKS = 16_384  # 2 KiB each; the longest unseen ones are dropped
STRIDE = 4  # pixels between the depths that make cells taken
CLEARANCE_M = 0.06 + CELL_M / 2  # of the depth behind the centre of an empty cell
MIN_POINTS = 6  # that tell
ENOUGH = 0.5  # share of the cells of a thing
_UNSEEN, _TAKEN, _FIRST_LOOK = 0, 1, 2  # larger: taken since that look
_EMPTY_ONCE, _EMPTY = -1, -2  # one look may be wrong at an edge
_CELLS = (np.array(list(product(range(SIDE), repeat=3))) + 0.5) * CELL_M  # centres in a block
_Block = tuple[int, int, int]


class ObservedSpace:
    """Cells of the map frame that views looked at; kept in the table `space`. Not thread-safe.

    keep: whether the stored cells are of this map frame; if not they are dropped.
    """

    def __init__(self, database: MemoryDatabase, keep: bool = True) -> None:
        self._database = database
        self._blocks: dict[_Block, np.ndarray] = {}  # (SIDE ** 3,) int32, longest unseen first
        self._changed: set[_Block] = set()
        for x, y, z, data in database.query("SELECT x, y, z, cells FROM space ORDER BY rowid"):
            with contextlib.suppress(zlib.error):  # of a file that was damaged
                self._blocks[x, y, z] = np.frombuffer(zlib.decompress(data), np.int32)
        if not keep:
            self.clear()
        newest = max((int(cells.max()) for cells in self._blocks.values()), default=0)
        self._look = self._begin = max(newest + 1, _FIRST_LOOK)

    def look(self, frame: Frame) -> None:
        """Adds what one view shows within `RANGE_M`."""
        if frame.valid_fraction < MIN_VALID:
            return
        self._look += 1
        points = frame.points_world(STRIDE).reshape(-1, 3)
        near = np.linalg.norm(points - frame.world_T_camera[:3, 3], axis=1) < RANGE_M  # NaN is not
        taken = _by_block(points[near])
        seen = _blocks_in_view(frame)
        centers = (np.array(seen).reshape(-1, 1, 3) * BLOCK_M + _CELLS).reshape(-1, 3)
        empty = classify_points(centers, frame, CLEARANCE_M).reshape(len(seen), -1) == FREE
        free = {block: row for block, row in zip(seen, empty, strict=True) if row.any()}
        for block in free.keys() | taken.keys():
            cells, _ = taken.get(block, (None, None))
            self._add(block, free.get(block), cells)
        while len(self._blocks) > MAX_BLOCKS:
            self._drop(next(iter(self._blocks)))

    def arrived(self, points: np.ndarray) -> bool:
        """Whether what is at points (n, 3) came after its place was seen empty, in this session."""
        cells = self._cells_of(points)
        return bool((cells > self._begin).mean() > ENOUGH)

    def empty(self, points: np.ndarray) -> bool:
        """Whether the place of points (n, 3) was empty at the last look at it."""
        return bool((self._cells_of(points) < 0).mean() > ENOUGH)

    def save(self) -> None:
        """Queues the blocks that changed."""
        rows = [
            (*block, zlib.compress(self._blocks[block].tobytes(), 1)) for block in self._changed
        ]
        self._database.write("INSERT OR REPLACE INTO space VALUES (?, ?, ?, ?)", rows)
        self._changed.clear()

    def clear(self) -> None:
        """Forgets everything: the map frame has moved."""
        for block in list(self._blocks):
            self._drop(block)

    def _add(self, block: _Block, empty: np.ndarray | None, taken: np.ndarray | None) -> None:
        """One look at a block: which cells are empty (SIDE ** 3,), and numbers of taken ones."""
        before = self._blocks.pop(block, None)
        cells = np.zeros(SIDE**3, np.int32) if before is None else before.copy()
        if empty is not None:
            if taken is not None:
                empty[taken] = False
            cells[empty] = np.where(cells[empty] < 0, _EMPTY, _EMPTY_ONCE)
        if taken is not None:
            now = cells[taken]
            since = np.where(now == _EMPTY, self._look, now)
            cells[taken] = np.where((now == _UNSEEN) | (now == _EMPTY_ONCE), _TAKEN, since)
        if before is None or (cells != before).any():
            self._changed.add(block)
        self._blocks[block] = cells  # the last one: seen now

    def _drop(self, block: _Block) -> None:
        del self._blocks[block]
        self._changed.discard(block)
        self._database.write("DELETE FROM space WHERE x = ? AND y = ? AND z = ?", [block])

    def _cells_of(self, points: np.ndarray) -> np.ndarray:
        """The cell of each point of the upper part of a thing: the lower ones are also in cells of
        what it stands on.
        """
        if len(points) < MIN_POINTS:
            return np.zeros(1, np.int32)
        low, high = points[:, 2].min(), points[:, 2].max()
        upper = points[points[:, 2] >= low + min(CELL_M, (high - low) / 2)]
        unseen = np.zeros(SIDE**3, np.int32)
        parts = _by_block(upper).items()
        return np.concatenate(
            [np.repeat(self._blocks.get(block, unseen)[cells], n) for block, (cells, n) in parts]
        )


def _by_block(points: np.ndarray) -> dict[_Block, tuple[np.ndarray, np.ndarray]]:
    """Numbers of the cells in each block that points (n, 3) lie in, and how many points do."""
    unique, counts = np.unique(voxel_keys(points, CELL_M), return_counts=True)
    index = np.rint(voxel_corners(unique, CELL_M) / CELL_M).astype(int)
    blocks, cells = index // SIDE, index % SIDE @ (SIDE * SIDE, SIDE, 1)
    _, first, owner = np.unique(
        voxel_keys(blocks.astype(float), 1.0), return_index=True, return_inverse=True
    )
    keys = [(x, y, z) for x, y, z in blocks[first].tolist()]
    return {key: (cells[owner == k], counts[owner == k]) for k, key in enumerate(keys)}


def _blocks_in_view(frame: Frame) -> list[_Block]:
    """Blocks that a view may show within `RANGE_M`."""
    eye, camera = frame.world_T_camera[:3, 3], frame.camera
    low, high = (np.floor((eye + s * RANGE_M) / BLOCK_M).astype(int) for s in (-1, 1))
    (x0, y0, z0), (x1, y1, z1) = low.tolist(), high.tolist()
    blocks = list(product(range(x0, x1 + 1), range(y0, y1 + 1), range(z0, z1 + 1)))
    centers = transform(invert(frame.world_T_camera), (np.array(blocks) + 0.5) * BLOCK_M)
    left, right = camera.cx / camera.fx, (camera.width - camera.cx) / camera.fx
    top, bottom = camera.cy / camera.fy, (camera.height - camera.cy) / camera.fy
    # Inward normals of the sides of the view, and of the image plane.
    normals = np.array([[1, 0, left], [-1, 0, right], [0, 1, top], [0, -1, bottom], [0, 0, 1.0]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    radius = BLOCK_M * np.sqrt(3) / 2
    farthest = min(RANGE_M, float(frame.depth.max()))
    near = (np.linalg.norm(centers, axis=1) < RANGE_M + radius) & (centers[:, 2] < farthest)
    shown = near & (centers @ normals.T > -radius).all(1)
    return [block for block, show in zip(blocks, shown.tolist(), strict=True) if show]
