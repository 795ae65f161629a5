"""`spatial3d view` and `spatial3d mcp`: what they refuse, and what they start."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from spatial3d_ros.cli import app
from spatial3d_ros.errors import ConfigError, MemoryFileError
from spatial3d_ros.servers import http_server
from spatial3d_ros.servers.guard import TOKEN_VARIABLE, Guard

pytest.importorskip("starlette", reason="the extra `web` is not installed")


def error_of(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 1
    return result.exception


@pytest.mark.parametrize("command", ["view", "mcp"])
def test_wrong_arguments_name_the_way_out(command, tmp_path, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    error = error_of(command)
    assert isinstance(error, ConfigError) and "--node" in str(error)
    error = error_of(command, str(tmp_path))
    assert isinstance(error, MemoryFileError) and "no such memory" in str(error)
    missing = ("--token-file", str(tmp_path / "token"), *(("--http",) if command == "mcp" else ()))
    assert "cannot be read" in str(error_of(command, str(tmp_path), *missing))
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    assert "16 or more" in str(error_of(command, str(tmp_path), *missing[2:], "--host", "0.0.0.0"))


def test_the_page_is_for_this_computer_unless_there_is_a_token(tmp_path, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    error = error_of("view", str(tmp_path), "--host", "0.0.0.0")
    assert isinstance(error, ConfigError) and TOKEN_VARIABLE in str(error)


def test_a_port_in_use_is_told():
    async def app(scope, receive, send):
        pass

    first = http_server.HttpServer(Guard(app, None), "127.0.0.1", 0)
    with pytest.raises(ConfigError, match=f"--port {first.port}: cannot be used"):
        http_server.HttpServer(Guard(app, None), "127.0.0.1", first.port)
    first._socket.close()
