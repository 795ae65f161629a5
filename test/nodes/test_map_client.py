"""A running node for agents and in a browser: real engine with a memory, over DDS."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")
pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
pytest.importorskip("starlette", reason="the extra `web` is not installed")
import httpx2
from mcp.client import Client
from rclpy.parameter import Parameter

from helpers import ros_bench as bench
from helpers.engine_scene import proposals_in_a_row, wall_frame
from helpers.fake_engine import FakeEngine
from helpers.grounding_system import GroundingSystem
from helpers.saved_map import CHAIR, LAST, MUG, SECOND, SOFA, jpeg, write_map
from helpers.small_model import small_model
from spatial3d_ros.errors import ConfigError, NotAvailableError, NotFoundError, QueryError
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.nodes.grounding_node import build_engine
from spatial3d_ros.nodes.map_client import MapClient, connect
from spatial3d_ros.nodes.web_node import WebNode
from spatial3d_ros.servers.mcp_server import build_server
from spatial3d_ros.servers.records import Box, Edit

SEVEN_KINDS = {
    "where did I last see the mug?": "missing",
    "when did you last see the sofa?": "I last saw the sofa",
    "what has changed?": "moved by 1.20 m",
    "what is missing from the table?": "the mug",
    "has the chair been moved?": "Yes: the chair",
    "which room is the sofa in?": "living room",
    "how many sofas are in the living room?": "1 sofa",
}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """A node that has remembered a home, and now sees a wall with two boxes."""
    folder = tmp_path_factory.mktemp("node")
    network, prompt = small_model()
    save_model(folder / "model", network, prompt.tokenizer, torch.float32)
    values = {
        "model": folder / "model", "device": "cpu",
        "memory_folder": write_map(folder / "memory"),
    }  # fmt: skip
    arguments = [part for key, value in values.items() for part in ("-p", f"{key}:={value}")]
    system = GroundingSystem(*arguments, build=build_engine).ready()
    for number in range(1, 4):
        frame = replace(wall_frame(number), stamp_ns=LAST + number * SECOND)
        system.node._engine.add_frame(frame)
        system.node._engine.refresh(proposals_in_a_row(2))
    yield system
    system.bench.close()


@pytest.fixture(scope="module")
def queries(system):
    return MapClient(system.client, "grounding_node")


def test_the_newest_view_is_a_picture(make_system):  # first: `system` has a node of its name
    system = make_system(engine=FakeEngine()).ready()
    queries = MapClient(system.client, "grounding_node")
    with pytest.raises(NotAvailableError, match="no view has arrived"):
        queries.view()
    assert bench.eventually(system.node._annotated._publisher.get_subscription_count)
    system.publish_until(lambda: queries._image is not None)
    assert queries.view().startswith(b"\xff\xd8")
    assert queries.objects().objects[0].label == "chair"  # without a memory there is no history
    assert queries.history(1).events == [] and queries.news(-1).last == 0


def test_seven_kinds_of_questions_by_service_agent_and_browser(system, queries):
    for question, expected in SEVEN_KINDS.items():
        assert expected.lower() in queries.ask(question).text.lower(), question

    async def agent():
        async with Client(build_server(queries, max_calls_hz=100)) as client:
            return [await client.call_tool("ask", {"question": q}) for q in SEVEN_KINDS]

    for result, expected in zip(asyncio.run(agent()), SEVEN_KINDS.values(), strict=True):
        assert expected.lower() in result.structured_content["text"].lower()

    given = [Parameter("port", value=0)]
    web = WebNode(context=system.bench.context, parameter_overrides=given)
    system.bench.add(web)
    address = f"http://localhost:{web.port}"
    for question, expected in SEVEN_KINDS.items():
        reply = httpx2.post(f"{address}/api/ask", json={"question": question}, timeout=30.0)
        assert expected.lower() in reply.json()["text"].lower()
    page = httpx2.get(f"{address}/api/map", timeout=30.0).json()
    assert page["live"] and len(page["objects"]) == 6 and len(page["regions"]) == 2
    picture = httpx2.get(f"{address}/objects/{SOFA}/crops/0", timeout=30.0)
    assert picture.content == jpeg()
    events = httpx2.Timeout(10.0)
    with httpx2.stream("GET", f"{address}/api/events", timeout=events) as stream:
        told = next(part for part in stream.iter_text() if "event: change" in part)
    assert "the chair (#3) moved" in told
    with pytest.raises(ConfigError, match="SPATIAL3D_TOKEN"):
        WebNode(
            context=system.bench.context,
            parameter_overrides=[*given, Parameter("host", value="0.0.0.0")],
        )


def test_typed_replies_of_a_node(queries):
    assert queries.find("the sofa", 3).objects[0].label == "sofa"
    measured = queries.measure("the sofa", "the table", "center")  # the network has random weights
    apart = math.dist(measured.a.center, measured.b.center)
    assert measured.kind == "center" and measured.metres == pytest.approx(apart, abs=0.01)
    assert queries.ask("how far is the sofa from the table?").value.endswith(" m")
    layout = queries.ask("remove the chair").layout
    assert layout.action == "remove" and layout.before and not layout.after
    assert queries.propose_layout("remove the chair").action == "remove"
    with pytest.raises(QueryError, match="asks for no change"):
        queries.propose_layout("where is the sofa?")
    objects = {o.id: o for o in queries.objects().objects}
    assert objects[MUG].state == "missing" and objects[SOFA].state == "present"
    assert len(objects) == 6 and objects[SOFA].last_seen_s == pytest.approx(LAST / SECOND)
    history = queries.history(CHAIR)
    assert [e.kind for e in history.events] == ["moved"] and history.events[0].before[0] == 0.2
    assert queries.history(SOFA).pictures == [LAST / SECOND]
    assert queries.picture(SOFA, 0) == jpeg() and queries.history(CHAIR).pictures == []
    assert [e.label for e in queries.what_changed().events] == ["mug", "chair"]
    assert [r.high for r in queries.regions().regions] == [None, 2.5]
    with pytest.raises(NotFoundError, match="1 pictures"):
        queries.picture(SOFA, 1)
    with pytest.raises(NotFoundError, match="0 pictures"):
        queries.picture(99, 0)
    with pytest.raises(NotFoundError, match="object 99"):
        queries.history(99)
    with pytest.raises(QueryError, match="zorblax"):
        queries.ask("where is the zorblax?")


def test_edits_are_events_and_news(queries):
    before = queries.news(-1)
    assert before.last == 2 and queries.news(0).events[0].kind == "moved"
    box = Box(center=(0.0, 0.0, 0.1), size=(0.2, 0.2, 0.2))
    (charger,) = queries.edit(Edit(action="add", label="charger", boxes=[box])).objects
    assert bench.eventually(lambda: queries.news(2).events)
    news = queries.news(2)
    assert news.last == 3 and news.version != before.version
    assert news.events[0].text.endswith("add by agent") and news.events[0].object_id == charger.id
    with pytest.raises(QueryError, match="object 77"):
        queries.edit(Edit(action="delete", objects=[77]))


def test_a_node_that_is_not_there_is_named(monkeypatch):
    from spatial3d_ros.nodes import map_client

    monkeypatch.setattr(map_client, "SERVICE_S", 0.1)
    queries = connect("nowhere")
    for call in (lambda: queries.ask("where is it?"), queries.objects, lambda: queries.news(0)):
        with pytest.raises(NotAvailableError, match="'nowhere'"):
            call()
    queries.close()
