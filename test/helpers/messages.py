"""Things shaped like ROS messages, for tests that run without ROS."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import cv2
import numpy as np

SECOND = 1_000_000_000
CAMERA = "camera_optical_frame"


def stamp(nanoseconds):
    return SimpleNamespace(sec=nanoseconds // SECOND, nanosec=nanoseconds % SECOND)


def header(nanoseconds=SECOND, frame_id=CAMERA):
    return SimpleNamespace(stamp=stamp(nanoseconds), frame_id=frame_id)


def image(array, encoding, *, at=SECOND, padding=0, big_endian=False, frame_id=CAMERA):
    """An Image message; rows end with `padding` bytes of rubbish."""
    wire = array.astype(array.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.ascontiguousarray(wire).view(np.uint8).reshape(array.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return SimpleNamespace(
        header=header(at, frame_id),
        height=array.shape[0],
        width=array.shape[1],
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=rows.shape[1],
        data=rows.tobytes(),
    )


def compressed(data, name, *, at=SECOND):
    return SimpleNamespace(header=header(at), format=name, data=data)


def png(array):
    return cv2.imencode(".png", array)[1].tobytes()


def jpeg_with_orientation(bgr, orientation):
    """A JPEG whose EXIF data tells a viewer to turn it."""
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation])
    tag += b"\0\0\0\0\0\0"
    plain = cv2.imencode(".jpg", bgr)[1].tobytes()
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag + plain[2:]


def compressed_depth(values, *, quant=(0.0, 0.0), name="16UC1; compressedDepth png", at=SECOND):
    return compressed(struct.pack("<iff", 0, *quant) + png(values), name, at=at)


def rvl(values):
    """An RVL image of uint16 (H, W), as compressed_depth_image_transport writes it."""
    groups, previous = [], 0

    def write(number):
        while True:
            group, number = number & 7, number >> 3
            groups.append(group | (8 if number else 0))
            if not number:
                return

    flat = values.reshape(-1).astype(int).tolist()
    at = 0
    while at < len(flat):
        start = at
        while at < len(flat) and flat[at] == 0:
            at += 1
        write(at - start)
        start = at
        while at < len(flat) and flat[at] != 0:
            at += 1
        write(at - start)
        for value in flat[start:at]:
            difference, previous = value - previous, value
            write((difference << 1) ^ (difference >> 31))
    groups += [0] * (-len(groups) % 8)
    words = np.array(groups, np.uint32).reshape(-1, 8) << np.arange(28, -1, -4, dtype=np.uint32)
    height, width = values.shape
    return struct.pack("<II", width, height) + words.sum(1).astype("<u4").tobytes()


def compressed_rvl(values, *, quant=(0.0, 0.0), name="16UC1; compressedDepth rvl", at=SECOND):
    return compressed(struct.pack("<iff", 1, *quant) + rvl(values), name, at=at)


def camera_info(width=8, height=6, focal=10.0, *, d=(), model="", p=None, at=SECOND):
    center = ((width - 1) / 2, (height - 1) / 2)
    k = [focal, 0.0, center[0], 0.0, focal, center[1], 0.0, 0.0, 1.0]
    return SimpleNamespace(
        header=header(at),
        width=width,
        height=height,
        k=k,
        d=list(d),
        p=p or [0.0] * 12,
        distortion_model=model,
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )


def pose(position=(0.0, 0.0, 0.0), quaternion=(0.0, 0.0, 0.0, 1.0)):
    return SimpleNamespace(
        position=SimpleNamespace(**dict(zip("xyz", position, strict=True))),
        orientation=SimpleNamespace(**dict(zip("xyzw", quaternion, strict=True))),
    )


def pose_stamped(at, position=(0.0, 0.0, 0.0), quaternion=(0.0, 0.0, 0.0, 1.0), frame_id="map"):
    return SimpleNamespace(header=header(at, frame_id), pose=pose(position, quaternion))


def odometry(at, position=(0.0, 0.0, 0.0), quaternion=(0.0, 0.0, 0.0, 1.0), child=CAMERA):
    return SimpleNamespace(
        header=header(at, "odom"),
        child_frame_id=child,
        pose=SimpleNamespace(pose=pose(position, quaternion)),
    )


def transforms(*links):
    """A TFMessage; each link is (parent, child, nanoseconds, position[, quaternion])."""
    return SimpleNamespace(
        transforms=[
            SimpleNamespace(
                header=header(at, parent),
                child_frame_id=child,
                transform=SimpleNamespace(
                    translation=pose(position).position,
                    rotation=pose(quaternion=turn[0] if turn else (0.0, 0.0, 0.0, 1.0)).orientation,
                ),
            )
            for parent, child, at, position, *turn in links
        ]
    )


def hypothesis(class_id, score):
    return SimpleNamespace(hypothesis=SimpleNamespace(class_id=class_id, score=score))


def detection_2d(class_id, corners, score=0.9, theta=0.0):
    left, top, right, bottom = corners
    position = SimpleNamespace(x=(left + right) / 2, y=(top + bottom) / 2)
    center = SimpleNamespace(position=position, theta=theta)
    return SimpleNamespace(
        header=header(0, ""),
        results=[hypothesis(class_id, score)],
        bbox=SimpleNamespace(center=center, size_x=right - left, size_y=bottom - top),
    )


def detection_3d(class_id, center, size, score=0.9, quaternion=(0.0, 0.0, 0.0, 1.0)):
    sides = SimpleNamespace(**dict(zip("xyz", size, strict=True)))
    return SimpleNamespace(
        header=header(0, ""),
        results=[hypothesis(class_id, score)],
        bbox=SimpleNamespace(center=pose(center, quaternion), size=sides),
    )


def detections(*found, at=SECOND, frame_id=CAMERA):
    return SimpleNamespace(header=header(at, frame_id), detections=list(found))
