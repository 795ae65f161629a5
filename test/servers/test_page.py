"""The page, clicked through in headless Chromium: ask, highlight, history, events, edits."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("starlette", reason="the extra `web` is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")
from playwright import sync_api

from helpers.saved_map import CHAIR, MUG, SOFA, write_map
from spatial3d_ros.memory.edits import MemoryEdit, apply_edit
from spatial3d_ros.servers.guard import COOKIE, access_for, page_address
from spatial3d_ros.servers.http_server import HttpServer
from spatial3d_ros.servers.saved_map import SavedMap
from spatial3d_ros.servers.web_app import web_app

BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
TOKEN = "0123456789abcdef"
HOSTILE = "<img src=x onerror=document.title='hit'>"

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is here")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def served(tmp_path):
    """An editable map on a port, and its address."""
    queries = SavedMap(write_map(tmp_path), allow_edits=True)
    app = web_app(queries, access_for("127.0.0.1", TOKEN, 200.0), allow_edits=True)
    server = HttpServer(app, "127.0.0.1", 0)
    stop = server.start()
    yield queries, page_address("127.0.0.1", server.port, TOKEN)
    stop()
    queries.close()


def test_the_page_is_clicked_through(browser, served):
    queries, address = served
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    errors = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(address)
    assert "token" not in page.url and page.context.cookies()[0]["name"] == COOKIE
    expect = sync_api.expect
    expect(page.locator("#list li")).to_have_count(4)
    expect(page.locator("#map .region")).to_have_count(2)
    expect(page.locator("#map .object.missing")).to_have_attribute("data-id", str(MUG))
    expect(page.locator("#events li")).to_have_count(2)
    assert page.locator("#camera").is_hidden()

    page.fill("#question", "where is the sofa?")
    page.click("#ask button")
    expect(page.locator("#answer")).to_contain_text("sofa")
    expect(page.locator("#map .object.answer")).to_have_attribute("data-id", str(SOFA))
    page.fill("#question", "move the chair next to the sofa")
    page.keyboard.press("Enter")
    expect(page.locator("#map polygon.proposal")).to_have_count(1)
    page.fill("#question", "where is the zorblax?")
    page.keyboard.press("Enter")
    expect(page.locator("#answer.bad")).to_contain_text("zorblax")
    expect(page.locator("#map .object.answer, #map .proposal")).to_have_count(0)

    page.locator(f"#map .object[data-id='{SOFA}'] polygon").click()
    expect(page.locator("#name")).to_have_text(f"red sofa #{SOFA}")
    expect(page.locator("#pictures img")).to_have_count(1)
    loaded = "() => document.querySelector('#pictures img').naturalWidth > 0"
    page.wait_for_function(loaded)
    page.locator("#list button", has_text="chair").click()
    expect(page.locator("#history li.moved")).to_contain_text("moved by 1.20 m")
    page.fill("#label", HOSTILE)
    page.click("#edit button[value=rename]")
    expect(page.locator("#name")).to_contain_text(HOSTILE)
    expect(page.locator("#events li.edited")).to_contain_text("rename by person")
    assert page.title() == "spatial3d: object map" and not page.locator("aside li img").count()
    page.locator(f"#map .object[data-id='{CHAIR}'] polygon").click()
    page.click("#edit button[value=delete]")
    expect(page.locator("#list li")).to_have_count(3)

    apply_edit(queries._map.memory, MemoryEdit("pin", (SOFA,), author="agent"))
    expect(page.locator("#events li", has_text="pin by agent")).to_have_count(1)
    page.fill("#filter", "missing")
    expect(page.locator("#list li")).to_have_count(1)
    page.mouse.move(300, 400)
    before = page.locator("#map").get_attribute("viewBox")
    page.mouse.wheel(0, -300)
    expect(page.locator("#map")).not_to_have_attribute("viewBox", before)
    assert [text for text in errors if "422" not in text] == []  # the refused question


def test_a_page_of_another_site_gets_nothing(browser, served):
    page = browser.new_page()
    status = page.goto(served[1].partition("?")[0]).status
    assert status == 401
    page.goto("data:text/html,<title>evil</title>")
    fetched = page.evaluate(
        "address => fetch(address).then(r => r.status, e => 'refused')", served[1]
    )
    assert fetched == "refused"
