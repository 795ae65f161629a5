"""The grounding node with an engine that stumbles on order; see `reliability.stumbling`."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from spatial3d_ros.nodes import grounding_node
from spatial3d_ros.runtime.parameters import Parameters

if TYPE_CHECKING:
    from spatial3d_ros.engine import Spatial3D


def main() -> None:
    """Entry point of the process."""
    from spatial3d_ros.research.stress.faulty_engine import StumblingEngine, orders

    def build(parameters: Parameters) -> Spatial3D:
        return grounding_node.build_engine(parameters, StumblingEngine)

    def serve() -> None:
        serve(orders())
        os.kill(os.getpid(), signal.SIGINT)  # whoever gave orders is gone

    threading.Thread(target=serve, daemon=True).start()
    grounding_node.main(build=build)
