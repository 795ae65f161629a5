"""Small files in the formats of ScanNet and of question data sets."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def situated(tmp_path: Path, **change: object) -> tuple[Path, Path]:
    question = {
        "scene_id": "s", "question_id": 7, "question": "Is it dark?", "situation": "I stand.",
        "alternative_situation": ["I am standing."],
    }  # fmt: skip
    annotation = {
        "scene_id": "s", "question_id": 7, "answers": [{"answer": "yes", "answer_id": 1}],
        "position": {"x": 1.0, "y": 2, "z": 0},
        "rotation": {"_x": 0, "_y": 0, "_z": 1, "_w": 0},
    } | change  # fmt: skip
    return (
        write(tmp_path / "q.json", {"questions": [question]}),
        write(tmp_path / "a.json", {"annotations": [annotation]}),
    )


TURN = np.array([[0, -1, 0, 2], [1, 0, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1.0]])


def scannet_folder(path: Path) -> Path:
    """Two frames, one of them lost, and a mesh of 2 objects with 3 and 2 vertices."""
    for name in ("color", "depth", "pose", "intrinsic"):
        (path / name).mkdir(parents=True)
    for number in (0, 1):
        cv2.imwrite(str(path / f"color/{number}.jpg"), np.full((24, 32, 3), (0, 0, 200), np.uint8))
        cv2.imwrite(str(path / f"depth/{number}.png"), np.full((12, 16), 1500, np.uint16))
    pose = np.eye(4)
    pose[:3, 3] = 1, 0, 0
    np.savetxt(path / "pose/0.txt", pose)
    np.savetxt(path / "pose/1.txt", np.full((4, 4), -np.inf))
    np.savetxt(path / "intrinsic/intrinsic_depth.txt", np.diag([10.0, 11, 1, 1]))
    numbers = " ".join(map(str, TURN.flatten()))
    (path / f"{path.name}.txt").write_text(f"numDepthFrames = 2\naxisAlignment = {numbers}\n")
    points = [(0, 0, 0), (1, 0, 0), (1, 2, 1), (5, 5, 5), (5, 5, 6), (9, 9, 9)]
    names = [(n, "<f4") for n in "xyz"] + [(n, "u1") for n in ("red", "green", "blue", "alpha")]
    mesh = np.array([(*p, 30 * k, 0, 0, 255) for k, p in enumerate(points)], dtype=names)
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 6\n"
    header += "".join(f"property float {n}\n" for n in "xyz")
    header += "".join(f"property uchar {n}\n" for n in ("red", "green", "blue", "alpha"))
    header += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    (path / f"{path.name}_vh_clean_2.ply").write_bytes(header.encode() + mesh.tobytes() + b"\3" * 9)
    write(path / f"{path.name}_vh_clean_2.0.010000.segs.json", {"segIndices": [0, 0, 1, 2, 2, 3]})
    groups = [
        {"id": 0, "objectId": 0, "segments": [0, 1], "label": "sofa"},
        {"id": 1, "objectId": 1, "segments": [2], "label": "floor lamp"},
    ]
    write(path / f"{path.name}.aggregation.json", {"segGroups": groups})
    return path
