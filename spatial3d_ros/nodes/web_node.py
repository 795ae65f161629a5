"""Optional node: the page of a grounding node's map in a browser, like `spatial3d view --node`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor

from spatial3d_ros.nodes.executor import ClosableNode, run_node
from spatial3d_ros.nodes.map_client import MapClient
from spatial3d_ros.servers.guard import access_for, page_address, read_token
from spatial3d_ros.servers.http_server import HttpServer
from spatial3d_ros.servers.web_app import web_app

PARAMETERS: dict[str, tuple[Any, str]] = {
    "source": ("grounding_node", "Name of the grounding node to show."),
    "host": ("127.0.0.1", "Address to listen on; others than loopback need a token."),
    "port": (8080, "Port to listen on; 0: a free one."),
    "token_file": ("", "File with the token; empty: the variable SPATIAL3D_TOKEN."),
    "allow_edits": (False, "Whether the page may rename and delete objects of the memory."),
    "max_hz": (50.0, "Requests served a second."),
}


class WebNode(ClosableNode):
    """Serves the page in a thread. Raises ConfigError, NotAvailableError."""

    def __init__(self, **options: Any) -> None:
        super().__init__("web_node", **options)
        values = {
            name: self.declare_parameter(name, default, ParameterDescriptor(description=text)).value
            for name, (default, text) in PARAMETERS.items()
        }
        host, file = values["host"], values["token_file"]
        access = access_for(host, read_token(Path(file) if file else None), values["max_hz"])
        self.queries = MapClient(self, values["source"])
        app = web_app(self.queries, access, allow_edits=values["allow_edits"])
        server = HttpServer(app, host, values["port"])
        self.port = server.port
        self._stop: Callable[[], None] = server.start()
        self.get_logger().info(f"open {page_address(host, server.port, '')}")

    def close(self) -> None:
        """Stop the server. Call it before `destroy_node`."""
        self._stop()
        self.queries.close()


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM. A wrong parameter is one log line and exit code 1."""
    run_node(args, "web_node", WebNode)
