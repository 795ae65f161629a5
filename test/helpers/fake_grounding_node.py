"""The grounding node as a process of its own, with an engine that needs no network."""

from helpers.fake_engine import FakeEngine
from spatial3d_ros.nodes.grounding_node import main

main(build=lambda _: FakeEngine())
