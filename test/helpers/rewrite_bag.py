"""Bags made of another bag, message by message: how tests build the inputs of docs/INPUTS.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from spatial3d_ros.bags.bag import Bag

STORE = get_typestore(Stores.ROS2_JAZZY)


def header(stamp_ns, frame_id):
    stamp = STORE.types["builtin_interfaces/msg/Time"](
        sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
    )
    return STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def transform(parent, child, stamp_ns, position, quaternion):
    """A TFMessage with one transform; quaternion x, y, z, w."""
    types = STORE.types
    return types["tf2_msgs/msg/TFMessage"](
        transforms=[
            types["geometry_msgs/msg/TransformStamped"](
                header=header(stamp_ns, parent),
                child_frame_id=child,
                transform=types["geometry_msgs/msg/Transform"](
                    translation=types["geometry_msgs/msg/Vector3"](*map(float, position)),
                    rotation=types["geometry_msgs/msg/Quaternion"](*map(float, quaternion)),
                ),
            )
        ]
    )


def rewrite(source, target, edit):
    """Copy a bag: `edit(topic, message, log_ns)` gives the (topic, message, log_ns) to write.

    A list of them is written for each message of the source, in order of log_ns.
    """
    out = []
    with Bag(source) as bag:
        for topic, log_ns, message in bag.timed(*bag.topics):
            for name, value in vars(message).items():
                if isinstance(value, np.ndarray):
                    setattr(message, name, value.copy())  # arrays of a bag are read-only
            out += edit(topic, message, log_ns) or ()
    return write(target, out)


def write(target, messages):
    """A bag of (topic, message, log_ns)."""
    target = Path(target)
    folder = target.with_suffix("")
    connections = {}
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, message, log_ns in sorted(messages, key=lambda entry: entry[2]):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], log_ns, STORE.serialize_cdr(message, kind))
    return folder
