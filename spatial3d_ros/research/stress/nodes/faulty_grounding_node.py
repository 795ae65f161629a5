"""The grounding node with an engine that takes injected faults; see `stress.faulty_engine`."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from spatial3d_ros.nodes import grounding_node
from spatial3d_ros.research.stress.nodes.json_rpc import serve
from spatial3d_ros.runtime.parameters import Parameters

if TYPE_CHECKING:
    from spatial3d_ros.engine import Spatial3D


def main() -> None:
    """Entry point of the process."""
    from spatial3d_ros.research.stress.faulty_engine import FaultyEngine, rpc_methods

    def build(parameters: Parameters) -> Spatial3D:
        return grounding_node.build_engine(parameters, FaultyEngine)

    def serve_until_closed() -> None:
        serve(rpc_methods())
        os.kill(os.getpid(), signal.SIGINT)  # the caller has ended

    threading.Thread(target=serve_until_closed, daemon=True).start()
    grounding_node.main(build=build)
