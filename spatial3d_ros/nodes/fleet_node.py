"""Several robots, one computer: a grounding node in the namespace of each, and one loaded network.

The nodes are those of `grounding_node`; their parameters are set by their full names or by `/**`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rclpy

from spatial3d_ros.nodes.grounding_node import GroundingNode, build_engine, serve
from spatial3d_ros.runtime.parameters import Parameters

if TYPE_CHECKING:
    from spatial3d_ros.engine import Spatial3D

NAME = "fleet"
DEFAULTS = ("robot1", "robot2")


class FleetBuilder:
    """Builds engines that share their networks: for `GroundingNode(build=...)`."""

    def __init__(self) -> None:
        from spatial3d_ros.tasks.shared_network import SharedNetworks  # slow: imports torch

        self.networks = SharedNetworks()

    def __call__(self, parameters: Parameters) -> Spatial3D:
        """The engine of one robot. Raises as `build_engine`."""
        return build_engine(parameters, networks=self.networks)


def main(args: list[str] | None = None) -> None:
    """Run the nodes of all robots until SIGINT or SIGTERM."""
    rclpy.init(args=args)
    own = rclpy.create_node(NAME)
    robots = list(own.declare_parameter("robots", list(DEFAULTS)).value)
    if len(set(robots)) < len(robots) or not all(robots):
        own.get_logger().fatal(f"robots: {robots}: give each robot a namespace of its own")
        rclpy.try_shutdown()
        raise SystemExit(1)
    own.get_logger().info(f"one network for {', '.join(robots)}")
    build = FleetBuilder()
    serve([GroundingNode(build, namespace=robot) for robot in robots])
