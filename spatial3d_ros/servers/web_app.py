"""The page of the map and its JSON, with Starlette (extra `web`): plain JavaScript, no build step.

| path | |
|---|---|
| `/` | the page |
| `GET /api/map` | `PageMap`: frame, objects, regions, what the page may do |
| `GET /api/objects/{id}` | an object, its events and the stamps of its pictures |
| `GET /objects/{id}/crops/{n}` | a stored picture of it, JPEG, best first |
| `GET /api/view.jpg` | the newest view of a running node with boxes |
| `GET /api/events` | server-sent events: `change`, `map` (a new version), `problem` |
| `POST /api/ask` | `{"question", "conversation_id"}`: an answer |
| `POST /api/edit` | `records.Edit`, where edits are allowed |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, Field, ValidationError

from spatial3d_ros.errors import NotAvailableError, NotFoundError, Spatial3DError
from spatial3d_ros.servers.guard import Access, Guard
from spatial3d_ros.servers.http_server import needs_extra
from spatial3d_ros.servers.map_queries import MapQueries
from spatial3d_ros.servers.records import Edit, News, Objects, Region

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

M = TypeVar("M", bound=BaseModel)
STATIC = Path(__file__).parent / "static"
FILES = {"map.js": "text/javascript", "page.js": "text/javascript", "style.css": "text/css"}
MAX_BODY_BYTES = 64 * 1024
MAX_LISTENERS = 20  # of events
RECENT = 20  # events that a new page gets
POLL_S, HEARTBEAT_S = 0.5, 15.0
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Question(BaseModel):
    """What the page asks."""

    question: str = Field(max_length=500)
    conversation_id: str = Field("", max_length=200)


class PageMap(Objects):
    """Everything that the page draws."""

    regions: list[Region]
    live: bool = Field(description="whether there is a view of a camera")
    edits: bool


def web_app(queries: MapQueries, access: Access, *, allow_edits: bool = False) -> Guard:
    """The application, for clients that `access` allows.

    Raises NotAvailableError without Starlette.
    """
    try:
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse, Response, StreamingResponse
        from starlette.routing import Route
    except ModuleNotFoundError:
        raise needs_extra("starlette", "web") from None
    listeners: set[object] = set()

    def reply(model: BaseModel) -> Response:
        return Response(model.model_dump_json(), media_type="application/json", headers=_HEADERS)

    def file(name: str, media_type: str) -> Response:
        return Response((STATIC / name).read_bytes(), media_type=media_type, headers=_HEADERS)

    def jpeg(data: bytes) -> Response:
        return Response(data, media_type="image/jpeg", headers=_HEADERS)

    def page(_: Request) -> Response:
        return file("index.html", "text/html")

    def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise NotFoundError(f"there is no file {name!r}")
        return file(name, FILES[name])

    def whole_map(_: Request) -> Response:
        found = queries.objects()
        return reply(
            PageMap(
                **dict(found), regions=queries.regions().regions, live=queries.live,
                edits=allow_edits,
            )
        )  # fmt: skip

    def history(request: Request) -> Response:
        return reply(queries.history(request.path_params["id"]))

    def crop(request: Request) -> Response:
        return jpeg(queries.picture(request.path_params["id"], request.path_params["n"]))

    def view(_: Request) -> Response:
        return jpeg(queries.view())

    async def ask(request: Request) -> Response:
        asked = await _body(request, Question)
        return reply(await run_in_threadpool(queries.ask, asked.question, asked.conversation_id))

    async def edit(request: Request) -> Response:
        if not allow_edits:
            raise NotAvailableError("the map is shown for reading only: start with --allow-edits")
        return reply(await run_in_threadpool(queries.edit, await _body(request, Edit)))

    async def events(request: Request) -> Response:
        if len(listeners) >= MAX_LISTENERS:
            raise NotAvailableError(f"{MAX_LISTENERS} pages listen already; close one")
        seen = request.headers.get("last-event-id", "")
        after = int(seen) if seen.isdecimal() else None
        stream = _listen(queries, listeners, run_in_threadpool, after)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)

    def failed(_: Request, error: Exception) -> Response:
        status = 404 if isinstance(error, NotFoundError) else 422
        status = 503 if isinstance(error, NotAvailableError) else status
        return JSONResponse({"error": str(error)}, status, _HEADERS)

    def invalid(_: Request, error: Exception) -> Response:
        text = "; ".join(
            f"field {'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}"
            for e in (error.errors() if isinstance(error, ValidationError) else ())
        )
        return JSONResponse({"error": text}, 422, _HEADERS)

    routes = [
        Route("/", page),
        Route("/static/{name}", static),
        Route("/api/map", whole_map),
        Route("/api/objects/{id:int}", history),
        Route("/objects/{id:int}/crops/{n:int}", crop),
        Route("/api/view.jpg", view),
        Route("/api/events", events),
        Route("/api/ask", ask, methods=["POST"]),
        Route("/api/edit", edit, methods=["POST"]),
    ]
    handlers = {Spatial3DError: failed, ValidationError: invalid}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), access)


async def _body(request: Request, kind: type[M]) -> M:
    """The JSON of a request. Raises Spatial3DError or ValidationError.

    The content type makes a browser ask before a page of another site may send it.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Spatial3DError("the body must be of the content type application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise Spatial3DError(f"the body is larger than {MAX_BODY_BYTES} bytes")
    return kind.model_validate_json(body)


async def _listen(
    queries: MapQueries,
    listeners: set[object],
    in_thread: Callable[..., Awaitable[News]],
    after: int | None,
) -> AsyncIterator[str]:
    """News of the map as server-sent events, until the page closes the connection; those after a
    number, or the last ones.
    """
    listener = object()
    listeners.add(listener)
    last, version, problem, beat = -1 if after is None else after, -1, "", time.monotonic()
    try:
        yield ": connected\n\n"
        while True:
            try:
                news = await in_thread(queries.news, last)
                problem = ""
            except Spatial3DError as error:
                if str(error) != problem:
                    problem = str(error)
                    yield _event("problem", problem.replace("\n", " "))
                await asyncio.sleep(2 * POLL_S)
                continue
            if last < 0 < news.last:  # a new page
                last = max(0, news.last - RECENT)
                continue
            for change in news.events:
                yield f"id: {news.last}\n" + _event("change", change.model_dump_json())
            if news.version != version and version >= 0:
                yield _event("map", str(news.version))
            if time.monotonic() - beat > HEARTBEAT_S:
                beat = time.monotonic()
                yield ": here\n\n"  # a closed connection is noticed by writing to it
            last, version = news.last, news.version
            await asyncio.sleep(POLL_S)
    finally:
        listeners.discard(listener)


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
