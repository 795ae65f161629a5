"""Questions about the memory by an agent and in a browser, each to a process of its own."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from spatial3d_ros.errors import NotAvailableError

TIMEOUT_S = 300.0  # of a reply and a start, on an overloaded computer
BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome")
Questions = Sequence[Mapping[str, Any]]
"""As `query_client` takes them: "text" and "kind"; "id" where the kind is "history"."""


def ask_as_agent(
    arguments: Sequence[str],
    questions: Questions,
    environment: Mapping[str, str],
    *,
    pause_s: float = 0.2,
) -> list[dict[str, Any]]:
    """Replies of the process `spatial3d mcp ARGUMENTS` to the SDK's client over stdio, asked with
    pauses that its rate limit allows.

    Raises NotAvailableError without the SDK.
    """
    try:
        from mcp.client import Client
        from mcp.client.stdio import StdioServerParameters
    except ModuleNotFoundError:
        raise NotAvailableError("the extra `mcp` is not installed") from None
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "spatial3d_ros", "mcp", *arguments],
        env=dict(environment),
    )  # fmt: skip

    async def ask() -> list[dict[str, Any]]:
        replies = []
        async with Client(server, read_timeout_seconds=TIMEOUT_S) as client:
            for question in questions:
                if question["kind"] == "history":
                    call = client.call_tool("object_history", {"object_id": question["id"]})
                else:
                    call = client.call_tool("ask", {"question": question["text"]})
                result = await call
                content = result.structured_content
                replies.append(_reply(content or {"error": result.content[0].text}))
                await asyncio.sleep(pause_s)
        return replies

    return asyncio.run(ask())


def ask_as_page(address: str, questions: Questions) -> list[dict[str, Any]]:
    """Replies of the page's server at an address. Raises NotAvailableError if there is none."""
    wait_for_page(address)
    replies = []
    for question in questions:
        if question["kind"] == "history":
            replies.append(_reply(_json(f"{address}/api/objects/{question['id']}")))
        else:
            body = {"question": question["text"]}
            replies.append(_reply(_json(f"{address}/api/ask", body)))
    return replies


def picture_of_page(address: str, question: str, object_id: int, path: Path) -> bool:
    """The page as headless Chromium shows it, after a question and a click on an object; False
    without playwright or a browser.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright import sync_api
    except ModuleNotFoundError:
        browser = None
    if browser is None:
        return False
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(1000 * TIMEOUT_S)
        page.goto(address)
        page.fill("#question", question)
        page.click("#ask button")
        waiting = page.locator("#answer")
        sync_api.expect(waiting).not_to_have_text("...", timeout=1000 * TIMEOUT_S)
        page.click(f"#map .object[data-id='{object_id}'] polygon", force=True)
        page.wait_for_selector("#history li")
        page.wait_for_timeout(1000)
        page.screenshot(path=path)
        opened.close()
    return True


def _reply(content: Mapping[str, Any]) -> dict[str, Any]:
    """A reply as `query_client` writes it."""
    events = [event["text"] for event in content.get("events", ())]
    return {
        "answer": "; ".join(events) or content.get("text", ""),
        "message": content.get("error", ""),
        "objects": content.get("objects", []),
    }


def _json(address: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = Request(address, data, {"content-type": "application/json"})
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:
            return json.load(response)
    except HTTPError as error:
        return json.load(error)


def wait_for_page(address: str, timeout_s: float = TIMEOUT_S) -> str:
    """The address, once a page is served there. Raises NotAvailableError."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            urlopen(address, timeout=TIMEOUT_S).close()
            return address
        except OSError as error:
            if time.monotonic() > deadline:
                raise NotAvailableError(f"{address}: no page is served ({error})") from error
            time.sleep(0.5)
