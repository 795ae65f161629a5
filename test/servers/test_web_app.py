"""The page and its JSON, called as a browser would; with Starlette, without ROS."""

from __future__ import annotations

import asyncio
import builtins

import pytest

pytest.importorskip("starlette", reason="the extra `web` is not installed")
from starlette.testclient import TestClient

from helpers.fake_map import MOVED, FakeMap
from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.servers import web_app as module
from spatial3d_ros.servers.guard import Access
from spatial3d_ros.servers.web_app import MAX_LISTENERS, STATIC, web_app

ADDRESS = "http://localhost:8080"


def client(queries=None, **options):
    app = web_app(queries or FakeMap(), Access(), **options)
    return TestClient(app, base_url=ADDRESS, raise_server_exceptions=False)


def test_the_page_and_all_that_it_loads_come_from_the_package():
    browser = client()
    page = browser.get("/")
    assert page.headers["content-type"].startswith("text/html") and "Object map" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("page.js", "map.js", "style.css"):
        assert f"/static/{name}" in page.text + (STATIC / "page.js").read_text()
        assert browser.get(f"/static/{name}").status_code == 200
    for path in ("/static/index.html", "/static/..%2Fweb_app.py", "/static/x"):
        assert browser.get(path).status_code == 404
    text = "".join(file.read_text() for file in STATIC.iterdir())
    assert "innerHTML" not in text and "https://" not in text  # labels are text; works offline


def test_map_history_pictures_and_view():
    browser = client(FakeMap(live=True))
    found = browser.get("/api/map").json()
    assert [o["id"] for o in found["objects"]] == [4, 3] and found["live"] and not found["edits"]
    assert found["regions"][0]["name"] == "hall" and found["frame_id"] == "map"
    history = browser.get("/api/objects/3").json()
    assert history["events"][0]["text"] == MOVED.text and history["pictures"] == [11.0]
    picture = browser.get("/objects/3/crops/0")
    assert picture.headers["content-type"] == "image/jpeg" and picture.content == b"\xff\xd8jpeg"
    assert browser.get("/objects/3/crops/1").status_code == 404
    assert browser.get("/api/objects/9").json() == {"error": "object 9 is not in the map"}
    assert browser.get("/api/view.jpg").content == b"\xff\xd8view"
    assert browser.get("/objects/../../etc/passwd/crops/0").status_code == 404


def test_questions_and_their_errors():
    queries = FakeMap()
    browser = client(queries)
    reply = browser.post("/api/ask", json={"question": "how many?", "conversation_id": "a"})
    assert reply.json()["value"] == "1" and queries.asked == [("how many?", "a")]
    for body, error in (
        ({"question": "where is the zorblax?"}, "zorblax"),
        ({"question": "x" * 501}, "field question"),
        ({}, "field question"),
        ([1], "field body"),
    ):
        reply = browser.post("/api/ask", json=body)
        assert reply.status_code == 422 and error in reply.json()["error"], reply.text
    for data in (b"{", b"\xff", b'{"question": "' + b"a" * 70_000 + b'"}'):
        headers = {"content-type": "application/json"}
        assert browser.post("/api/ask", content=data, headers=headers).status_code == 422
    plain = browser.post("/api/ask", content=b'{"question": "a"}')  # a form of another site could
    assert plain.status_code == 422 and "application/json" in plain.json()["error"]
    queries.crash = True
    reply = browser.post("/api/ask", json={"question": "how many?"})
    assert reply.status_code == 500 and "secret" not in reply.text


def test_edits_only_where_they_are_allowed():
    body = {"action": "rename", "objects": [3], "label": "stool", "author": "person"}
    closed = FakeMap()
    reply = client(closed).post("/api/edit", json=body)
    assert reply.status_code == 503 and "--allow-edits" in reply.json()["error"]
    assert closed.edits == []
    queries = FakeMap()
    browser = client(queries, allow_edits=True)
    assert browser.get("/api/map").json()["edits"]
    assert browser.post("/api/edit", json=body).json()["objects"][0]["id"] == 3
    assert queries.edits[0].label == "stool"
    assert "field action" in browser.post("/api/edit", json={"action": "paint"}).json()["error"]


def test_other_sites_and_floods_are_refused():
    app = web_app(FakeMap(), Access(max_requests_hz=5))
    browser = TestClient(app, base_url=ADDRESS)
    assert browser.get("/api/map", headers={"origin": "http://evil.example"}).status_code == 403
    assert browser.get("/api/map", headers={"host": "evil.example"}).status_code == 421
    assert [browser.get("/api/map").status_code for _ in range(7)] == [200] * 5 + [429] * 2


def told(queries, count, after=None):
    """The first parts of the stream of events."""

    async def listen():
        async def in_thread(function, *arguments):
            return function(*arguments)

        stream = module._listen(queries, set(), in_thread, after)
        parts = [await anext(stream) for _ in range(count)]
        await stream.aclose()
        return parts

    return asyncio.run(listen())


def test_events_come_as_they_are_noticed(monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.0)
    queries = FakeMap()
    parts = told(queries, 2)
    assert parts[0] == ": connected\n\n"
    assert parts[1].startswith("id: 1\nevent: change\n") and '"the chair moved"' in parts[1]
    queries.events = [MOVED] * 30
    assert told(queries, 3, after=28)[1:] == [told(queries, 2)[1]] * 2  # the browser came back

    def news(after):
        queries.version += 1
        raise NotAvailableError("no grounding node")

    original, queries.news = queries.news, news
    assert told(queries, 2)[1] == "event: problem\ndata: no grounding node\n\n"
    queries.news = lambda after: original(after).model_copy(update={"version": next(versions)})
    versions = iter(range(2, 100))
    assert told(queries, 2, after=30)[1].startswith("event: map\n")


def test_too_many_listeners_are_told(monkeypatch):
    class Endless:
        def __init__(self, *_):
            _[1].update(object() for _ in range(MAX_LISTENERS))

        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

    monkeypatch.setattr(module, "_listen", Endless)
    browser = client()
    assert browser.get("/api/events").status_code == 200
    reply = browser.get("/api/events")
    assert reply.status_code == 503 and "close one" in reply.json()["error"]


def test_without_starlette_the_error_names_the_extra(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments):
        if name.partition(".")[0] == "starlette":
            raise ModuleNotFoundError(name=name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NotAvailableError, match=r"spatial3d_ros\[web\]"):
        web_app(FakeMap(), Access())
