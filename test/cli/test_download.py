"""Downloads, from a server on this machine that speaks the hub's interface; nothing leaves it."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spatial3d_ros import downloads
from spatial3d_ros.__main__ import app
from spatial3d_ros.downloads import SOURCES, download
from spatial3d_ros.errors import CheckpointError

NAME = "llava_video_7b"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARD = "model-00001-of-00001.safetensors"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(ThreadingHTTPServer):
    """`files` by name; `cut` closes the next transfer of the shard after so many bytes, `flip`
    damages its bytes on the way.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Page)
        self.files = {
            "config.json": b'{"model_type": "qwen2"}',
            SHARD: np.random.default_rng(0).bytes(200_000),
            "pytorch_model.bin": b"pickles are not wanted",
        }
        self.cut, self.flip, self.asked = None, False, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def listing(self):
        return [
            {"rfilename": name, "size": len(data), "blobId": git_hash(data)}
            | (
                {"lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 130}}
                if name == SHARD
                else {}
            )
            for name, data in self.files.items()
        ]


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        hub = self.server
        if self.path.startswith("/api/models/"):
            listing = {"id": SOURCES[NAME].repository, "sha": COMMIT, "siblings": hub.listing()}
            return self.answer(json.dumps(listing).encode(), {"Content-Type": "application/json"})
        name = self.path.rpartition("/")[2]
        data = hub.files[name]
        digest = sha256(data) if name == SHARD else git_hash(data)
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        if body:
            hub.asked.append((name, start))
        if body and name == SHARD and hub.flip:
            data = bytes(len(data))
        whole = len(data)
        if start:
            headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
        stop = None
        if body and name == SHARD and hub.cut:
            stop, hub.cut = hub.cut, None
        return self.answer(data[start:], headers, body, 206 if start else 200, stop)

    def answer(self, data, headers, body=True, status=200, stop=None):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data[:stop])
        if stop:
            self.close_connection = True


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub = Hub()
    yield hub
    hub.shutdown()
    hub.server_close()


def test_wanted_files_arrive_whole_with_progress_and_only_once(hub, tmp_path):
    told = []
    files = download(NAME, tmp_path, progress=lambda *step: told.append(step), endpoint=hub.address)
    assert sorted(path.name for path in files) == ["config.json", SHARD]
    assert all(path.read_bytes() == hub.files[path.name] for path in files)
    assert not (tmp_path / "pytorch_model.bin").exists()
    assert told[-1] == (SHARD, 200_000, 200_000)
    hub.asked.clear()
    assert download(NAME, tmp_path, endpoint=hub.address) == files
    assert hub.asked == []


def test_a_cut_transfer_goes_on_where_it_stopped(hub, tmp_path):
    hub.cut = 70_000
    download(NAME, tmp_path, endpoint=hub.address)
    starts = [start for name, start in hub.asked if name == SHARD]
    assert starts == [0, 70_000]
    assert (tmp_path / SHARD).read_bytes() == hub.files[SHARD]


def test_a_damaged_file_is_named_and_removed_and_then_fetched_again(hub, tmp_path):
    hub.flip = True
    with pytest.raises(CheckpointError, match=rf"{SHARD}: damaged.*again"):
        download(NAME, tmp_path, endpoint=hub.address)
    assert not (tmp_path / SHARD).exists()
    hub.flip = False
    download(NAME, tmp_path, endpoint=hub.address)
    (tmp_path / SHARD).write_bytes(bytes(200_000))  # the disk is not trusted either
    download(NAME, tmp_path, endpoint=hub.address)
    assert (tmp_path / SHARD).read_bytes() == hub.files[SHARD]


def test_without_a_network_it_says_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"llava_video_7b.*online.*again"):
        download(NAME, tmp_path, endpoint="http://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_and_a_full_disk(hub, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"'tiny7b' is unknown; known: llava_video_7b"):
        download("tiny7b", tmp_path)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 9}))
    with pytest.raises(CheckpointError, match=r"GiB are free; free space"):
        download(NAME, tmp_path / "new" / "folder", endpoint=hub.address)


def test_the_command_prints_the_folder_to_give_to_the_node(hub, tmp_path):
    folder = tmp_path / "here"
    arguments = ["download", NAME, "--folder", str(folder), "--mirror", hub.address]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip().endswith(str(folder))
    assert (folder / "config.json").is_file()
    assert NAME in CliRunner().invoke(app, ["download"]).stdout


def test_nodes_never_download():
    nodes = Path(downloads.__file__).parent / "nodes"
    assert all("download" not in path.read_text() for path in nodes.glob("*.py"))
