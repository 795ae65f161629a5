"""The grounding node with an engine that stumbles on order; see `reliability.stumbling`."""

from __future__ import annotations

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
    threading.Thread(target=obey, args=(orders,), daemon=True).start()
    grounding_node.main(build=build)
