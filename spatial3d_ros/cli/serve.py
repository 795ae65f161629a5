"""`spatial3d mcp` and `spatial3d view`: a map for agents and in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spatial3d_ros.cli.output import print_status
from spatial3d_ros.errors import ConfigError

if TYPE_CHECKING:
    from spatial3d_ros.servers.map_queries import MapQueries

Folder = Annotated[
    Path | None, typer.Argument(help="The memory_folder of a node; a node may be using it.")
]
Node = Annotated[str, typer.Option(help="Name of a running grounding node, over ROS.")]
Host = Annotated[str, typer.Option(help="Address to listen on; others need a token.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File with the token; without it the variable SPATIAL3D_TOKEN."),
]
AllowEdits = Annotated[
    bool, typer.Option("--allow-edits", help="Objects may be renamed, deleted, added, ...")
]
MaxHz = Annotated[float, typer.Option(help="Requests served a second.", min=0.1)]


def mcp(
    folder: Folder = None,
    node: Node = "",
    http: Annotated[bool, typer.Option(help="Streamable HTTP instead of stdio.")] = False,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: a free one.", min=0, max=65535)] = 8765,
    token_file: TokenFile = None,
    allow_edits: AllowEdits = False,
    max_hz: MaxHz = 10.0,
) -> None:
    """Serve a map to agents as tools of the Model Context Protocol. Needs the extra `mcp`.

    Over HTTP a client must send the token as `Authorization: Bearer`; one is made if none is given.

    spatial3d mcp ~/memory

    spatial3d mcp --node grounding_node --http
    """
    from spatial3d_ros.servers.guard import access_for, read_token
    from spatial3d_ros.servers.http_server import HttpServer
    from spatial3d_ros.servers.mcp_server import PATH, build_server, http_app

    access = access_for(host, read_token(token_file, make=True), max_hz * 10) if http else None
    with _queries(folder, node, allow_edits) as queries:
        server = build_server(queries, allow_edits=allow_edits, max_calls_hz=max_hz)
        if access is None:
            server.run()
            return
        running = HttpServer(http_app(server, access), host, port)
        print_status(f"http://{host}:{running.port}{PATH}, Authorization: Bearer {access.token}")
        running.run()


def view(
    folder: Folder = None,
    node: Node = "",
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: a free one.", min=0, max=65535)] = 8080,
    token_file: TokenFile = None,
    allow_edits: AllowEdits = False,
    max_hz: MaxHz = 50.0,
) -> None:
    """Show a map in a browser: objects from above, answers, history, events. Needs the extra `web`.

    spatial3d view ~/memory

    spatial3d view --node grounding_node
    """
    from spatial3d_ros.servers.guard import access_for, page_address, read_token
    from spatial3d_ros.servers.http_server import HttpServer
    from spatial3d_ros.servers.web_app import web_app

    access = access_for(host, read_token(token_file), max_hz)
    with _queries(folder, node, allow_edits) as queries:
        running = HttpServer(web_app(queries, access, allow_edits=allow_edits), host, port)
        print_status(f"open {page_address(host, running.port, access.token)}")
        running.run()


@contextmanager
def _queries(folder: Path | None, node: str, allow_edits: bool) -> Iterator[MapQueries]:
    """The map of a folder or of a node."""
    if (folder is None) == (not node):
        raise ConfigError(
            "give either the folder of a saved map, or --node with the name of a node"
        )
    queries: MapQueries
    if folder is not None:
        from spatial3d_ros.servers.saved_map import SavedMap

        queries = SavedMap(folder.expanduser(), allow_edits=allow_edits)
    else:
        try:
            from spatial3d_ros.nodes.map_client import connect
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"--node needs ROS ({error.name} is missing): source it, or scripts/ros_env.sh"
            ) from error
        queries = connect(node)
    try:
        yield queries
    finally:
        queries.close()
