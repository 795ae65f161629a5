"""The tools of the MCP server, called by the client of the official SDK: in a process of its own
over stdio, and over HTTP.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
import httpx2
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from helpers.fake_map import FakeMap
from helpers.saved_map import write_map
from spatial3d_ros.servers.guard import access_for
from spatial3d_ros.servers.http_server import HttpServer
from spatial3d_ros.servers.mcp_server import PATH, build_server, http_app

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "0123456789abcdef"
READING = {
    "find", "measure", "ask", "list_objects", "object_history", "what_changed", "regions",
    "propose_layout",
}  # fmt: skip


def run(server, use):
    """What `use` returns of a connected client."""

    async def connected():
        async with Client(server) as client:
            return await use(client)

    return asyncio.run(connected())


def called(server, *calls):
    """The results of (name, arguments) on one connection."""

    async def use(client):
        return [await client.call_tool(name, arguments) for name, arguments in calls]

    return run(server, use)


def test_tools_are_typed_and_only_read():
    tools = run(build_server(FakeMap()), lambda client: client.list_tools()).tools
    assert {tool.name for tool in tools} == READING
    for tool in tools:
        assert tool.description and tool.annotations.read_only_hint and tool.output_schema
        assert not tool.annotations.destructive_hint
    tools = run(build_server(FakeMap(), allow_edits=True), lambda client: client.list_tools()).tools
    (edit,) = [tool for tool in tools if tool.name not in READING]
    assert edit.name == "edit_objects" and edit.annotations.destructive_hint


def test_results_are_structured_and_arguments_arrive():
    queries = FakeMap()
    found, changed, listed, chairs, edited = called(
        build_server(queries, allow_edits=True, max_calls_hz=100),
        ("find", {"phrase": "the chair", "max_objects": 2, "conversation_id": "a"}),
        ("what_changed", {"since": "this morning", "region": "hall"}),
        ("list_objects", {}),
        ("list_objects", {"label": "chairs", "region": "the hall", "state": "present"}),
        ("edit_objects", {"edit": {"action": "rename", "objects": [3], "label": "stool"}}),
    )
    assert found.structured_content["objects"][0]["label"] == "chair" and not found.is_error
    assert queries.asked == [("the chair", 2, "a"), ("this morning", "hall")]
    assert changed.structured_content["events"][0]["kind"] == "moved"
    assert [o["id"] for o in listed.structured_content["objects"]] == [3, 4]  # last seen first
    assert [o["id"] for o in chairs.structured_content["objects"]] == [3]
    assert not edited.is_error and queries.edits[0].author == "agent"


def test_errors_name_the_cause_and_hide_what_is_inside():
    queries = FakeMap()
    server = build_server(queries, max_calls_hz=100)
    unknown, gone, long, edit = called(
        server,
        ("ask", {"question": "where is the zorblax?"}),
        ("object_history", {"object_id": 9}),
        ("ask", {"question": "x" * 501}),
        ("edit_objects", {"edit": {"action": "delete", "objects": [3]}}),
    )
    for result, text in ((unknown, "zorblax"), (gone, "object 9"), (long, "500"), (edit, "edit")):
        assert result.is_error and text in result.content[0].text
    assert queries.edits == []
    queries.crash = True
    (crashed,) = called(server, ("ask", {"question": "how many?"}))
    assert crashed.is_error and "secret" not in crashed.content[0].text


def test_a_flood_is_told():
    server = build_server(FakeMap(), max_calls_hz=3)
    results = called(server, *[("regions", {})] * 5)
    assert [result.is_error for result in results] == [False] * 3 + [True] * 2
    assert "more than 3 calls a second" in results[-1].content[0].text


def test_a_saved_map_over_stdio_in_a_process_of_its_own(tmp_path):
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "spatial3d_ros", "mcp", str(write_map(tmp_path))],
        env=dict(os.environ),
        cwd=ROOT,
    )
    answered, listed, edit = called(
        parameters,
        ("ask", {"question": "has the chair been moved?"}),
        ("list_objects", {"region": "kitchen"}),
        ("edit_objects", {"edit": {"action": "delete", "objects": [0]}}),
    )
    assert "moved by 1.20 m" in answered.structured_content["text"]
    assert [o["label"] for o in listed.structured_content["objects"]] == ["table", "mug"]
    assert edit.is_error


def test_http_needs_the_token_and_refuses_other_sites():
    app = http_app(build_server(FakeMap()), access_for("127.0.0.1", TOKEN, 100.0))
    server = HttpServer(app, "127.0.0.1", 0)
    stop = server.start()
    address = f"http://127.0.0.1:{server.port}{PATH}"
    try:

        async def ask():
            headers = {"authorization": f"Bearer {TOKEN}"}
            async with httpx2.AsyncClient(headers=headers) as http:
                transport = streamable_http_client(address, http_client=http)
                async with Client(transport) as client:
                    return await client.call_tool("find", {"phrase": "the chair"})

        assert asyncio.run(ask()).structured_content["text"] == "the red chair"
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        known = headers | {"authorization": f"Bearer {TOKEN}"}
        for sent, status in (
            (headers, 401),
            (known | {"origin": "http://evil.example"}, 403),
            (known | {"host": "evil.example"}, 421),
            (known | {"host": "localhost:1", "origin": "http://localhost:1"}, 400),
        ):
            assert httpx2.post(address, headers=sent, content=b"{").status_code == status
        body = b'{"x": "' + b"a" * 100_000 + b'"}'
        assert httpx2.post(address, headers=known, content=body).status_code == 413
    finally:
        stop()
