"""Only those whom the access allows reach a server: host names, origins, token, rate."""

from __future__ import annotations

import asyncio
import json

import pytest

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.servers.guard import (
    LOOPBACK,
    TOKEN_VARIABLE,
    Access,
    Guard,
    access_for,
    page_address,
    read_token,
)

TOKEN = "0123456789abcdef"


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def get(guard, path="/api", query="", **headers):
    """Status, headers and body of a request."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = {"host": "localhost:8080"} | {k.replace("_", "-"): v for k, v in headers.items()}
    scope = {
        "type": "http", "path": path, "query_string": query.encode(),
        "headers": [(k.encode(), v.encode("latin1")) for k, v in headers.items()],
    }  # fmt: skip
    asyncio.run(guard(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:1", "[::1]:8080", "LOCALHOST"])
def test_this_computer_is_served(host):
    guard = Guard(hello, Access())
    assert get(guard, host=host)[::2] == (200, b"hello")
    assert get(guard, host=host, origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "", "localhost.evil:1"])
def test_a_name_that_was_rebound_is_refused(host):
    status, _, body = get(Guard(hello, Access()), host=host)
    assert status == 421 and "name of this server" in json.loads(body)["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9"])
def test_a_page_of_another_site_is_refused(origin):
    assert get(Guard(hello, Access()), origin=origin)[0] == 403
    assert get(Guard(hello, Access(TOKEN, ())), host="x", origin=origin)[0] == 403


def test_the_token_is_a_header_or_a_cookie_that_the_address_sets():
    guard = Guard(hello, Access(TOKEN))
    for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"cookie": "spatial3d_token=x"}):
        status, _, body = get(guard, **headers)
        assert status == 401 and TOKEN not in body.decode()
    assert get(guard, query=f"token={TOKEN}")[0] == 401  # only for the page itself
    assert get(guard, authorization=f"Bearer {TOKEN}")[0] == 200
    assert get(guard, "/", "token=wrong")[0] == 401
    status, headers, _ = get(guard, "/", f"token={TOKEN}")
    cookie = headers[b"set-cookie"].decode()
    assert status == 303 and headers[b"location"] == b"/"
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert get(guard, cookie=f"other=1; {cookie.partition(';')[0]}")[0] == 200


def test_a_flood_is_told_and_strangers_do_not_use_up_the_rate():
    guard = Guard(hello, Access(TOKEN, max_requests_hz=3))
    strangers = [get(guard)[0] for _ in range(5)]
    assert strangers == [401] * 3 + [429] * 2
    known = [get(guard, authorization=f"Bearer {TOKEN}") for _ in range(4)]
    assert [reply[0] for reply in known] == [200] * 3 + [429]
    assert known[-1][1][b"retry-after"] == b"1" and b"again in a moment" in known[-1][2]


def test_other_computers_need_a_token(tmp_path, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert access_for("127.0.0.1", "", 5.0) == Access("", LOOPBACK, 5.0)
    assert access_for("0.0.0.0", TOKEN, 5.0).hosts == ()
    assert access_for("robot.local", TOKEN, 5.0).hosts == (*LOOPBACK, "robot.local")
    for host in ("0.0.0.0", "::", "robot.local", "10.0.0.2", ""):
        with pytest.raises(ConfigError, match=TOKEN_VARIABLE):
            access_for(host, "", 5.0)
    for token in ("short", "x" * 20 + "\n", "é" * 20):
        with pytest.raises(ConfigError, match="16 or more"):
            access_for("0.0.0.0", token, 5.0)
    assert read_token(None) == "" and len(read_token(None, make=True)) >= 32
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert read_token(None, make=True) == TOKEN
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(file)
    file.write_text(" \n")
    with pytest.raises(ConfigError, match="empty"):
        read_token(file)
    file.write_text(f"{TOKEN[::-1]}\n")
    assert read_token(file) == TOKEN[::-1]


def test_the_address_of_the_page():
    assert page_address("127.0.0.1", 80, "") == "http://localhost:80/"
    assert page_address("0.0.0.0", 80, "a b") == "http://localhost:80/?token=a%20b"
    assert page_address("fe80::1", 80, "") == "http://[fe80::1]:80/"
