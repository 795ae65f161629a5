"""The grounding node with an engine that stumbles on order; see `reliability.stumbling`."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from spatial3d_ros.nodes import grounding_node
from spatial3d_ros.nodes.orders import obey
from spatial3d_ros.nodes.parameters import Parameters

if TYPE_CHECKING:
    from spatial3d_ros.reliability.stumbling import StumblingEngine


def main() -> None:
    """Entry point of the process."""
    from spatial3d_ros.reliability.stumbling import StumblingEngine, orders_for

    built: list[StumblingEngine] = []

    def build(parameters: Parameters) -> StumblingEngine:
        built.append(grounding_node.build_engine(parameters, StumblingEngine))
        return built[-1]

    orders = orders_for(lambda: built[-1])

    def serve() -> None:
        obey(orders)
        os.kill(os.getpid(), signal.SIGINT)  # whoever gave orders is gone

    threading.Thread(target=serve, daemon=True).start()
    grounding_node.main(build=build)
