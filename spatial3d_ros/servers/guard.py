"""Who may use an HTTP server: host names, origins, a token and a rate, as ASGI middleware."""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.runtime.runtime_stats import RateLimit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_VARIABLE = "SPATIAL3D_TOKEN"
COOKIE = "spatial3d_token"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MIN_TOKEN = 16  # characters


@dataclass(frozen=True)
class Access:
    """Who may use a server.

    token: that a client must send, "" for none. hosts: names by which the server may be called,
    () for any. max_requests_hz: of all clients together.
    """

    token: str = ""
    hosts: tuple[str, ...] = LOOPBACK
    max_requests_hz: float = 50.0


def access_for(host: str, token: str, max_requests_hz: float) -> Access:
    """The access to a server that listens on `host`.

    Raises ConfigError for another host than loopback without a token, and for a short token.
    """
    if token and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable()):
        raise ConfigError(
            f"the token must be {MIN_TOKEN} or more printable ASCII characters; "
            "`openssl rand -hex 16` makes one"
        )
    if is_loopback(host):
        return Access(token, LOOPBACK, max_requests_hz)
    if not token:
        raise ConfigError(
            f"--host {host}: others than this computer could use it; set a token, in the "
            f"environment variable {TOKEN_VARIABLE} or by --token-file"
        )
    unspecified = host in ("0.0.0.0", "::")
    return Access(token, () if unspecified else (*LOOPBACK, host.lower()), max_requests_hz)


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(file: Path | None, *, make: bool = False) -> str:
    """The token of a file, else of the environment, else a new one if `make`, else "".

    Raises ConfigError for a file that cannot be read or is empty.
    """
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--token-file {file}: cannot be read ({error})") from error
        if not text:
            raise ConfigError(f"--token-file {file}: is empty")
        return text
    return os.environ.get(TOKEN_VARIABLE, "") or (secrets.token_urlsafe(24) if make else "")


@dataclass
class Guard:
    """Passes on the requests to `app` that `access` allows; others get a reason in JSON.

    A page that another site opens, also by DNS rebinding, has another Origin or Host. The token is
    in `Authorization: Bearer`, or in a cookie that `/?token=...` sets.
    """

    app: App
    access: Access
    _limit: RateLimit = field(default_factory=RateLimit)
    _strangers: RateLimit = field(default_factory=RateLimit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no WebSockets: the server closes the connection
        headers = {k.decode("latin1"): v.decode("latin1") for k, v in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if self.access.hosts and _name(host) not in self.access.hosts:
            await _refuse(send, 421, f"Host {host!r} is not a name of this server")
        elif origin and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            await _refuse(send, 403, f"Origin {origin!r}: pages of other sites are refused")
        elif not self._knows(headers, scope):
            known = self._strangers(self.access.max_requests_hz)
            await (_refuse(send, 401, "a token is needed") if known else _flooded(send))
        elif not self._limit(self.access.max_requests_hz):
            await _flooded(send)
        elif scope["path"] == "/" and self.access.token and b"token=" in scope["query_string"]:
            await _send(send, 303, b"", (b"location", b"/"), (b"set-cookie", self._cookie()))
        else:
            await self.app(scope, receive, send)

    def _knows(self, headers: dict[str, str], scope: Scope) -> bool:
        """Whether the request has the token, if one is needed."""
        if not self.access.token:
            return True
        given = [headers.get("authorization", "").removeprefix("Bearer ")]
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None:
            given.append(cookie.value)
        if scope["path"] == "/":
            given += parse_qs(scope["query_string"].decode("latin1")).get("token", [])
        wanted = self.access.token.encode()
        return any(hmac.compare_digest(text.encode(), wanted) for text in given)

    def _cookie(self) -> bytes:
        value = SimpleCookie({COOKIE: self.access.token})[COOKIE].OutputString()
        return f"{value}; HttpOnly; SameSite=Strict; Path=/".encode()


def page_address(host: str, port: int, token: str) -> str:
    """What to open in a browser."""
    name = "localhost" if is_loopback(host) or host in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={quote(token)}" if token else "")


def _name(host: str) -> str:
    """The name of a Host header, without its port."""
    name = host.lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name


async def _flooded(send: Send) -> None:
    await _refuse(send, 429, "too many requests; ask again in a moment", (b"retry-after", b"1"))


async def _refuse(send: Send, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps({"error": reason}).encode()
    await _send(send, status, body, (b"content-type", b"application/json"), *headers)


async def _send(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})
