"""Work over processes: results in order, failures tried again and named, one torchrun."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from pathlib import Path

import pytest
import torch

from helpers.pieces import piece
from spatial3d_ros import __main__
from spatial3d_ros.errors import ConfigError, NotAvailableError
from spatial3d_ros.research.spread import PieceError, Places, over_ranks, spread


def test_pieces_run_in_other_processes_and_failures_are_named(tmp_path: Path) -> None:
    said: list[str] = []
    items = ["abc", "wrong", f"once {tmp_path}/mark", "dies", "ab"]
    found = spread(piece, items, Places(workers=2), said.append)
    assert {item: one[0] for item, one in found.results.items()} == {
        "abc": 3, items[2]: 4, "ab": 2,
    }  # fmt: skip
    assert [*found.results] == ["abc", items[2], "ab"]
    assert os.getpid() not in {process for _, process in found.results.values()}
    assert found.failed["wrong"] == "this one is wrong"
    assert "a process ended" in found.failed["dies"]
    assert f"{items[2]}: once more" in said


def test_one_process_raises_and_nothing_is_left_of_pieces_that_all_fail() -> None:
    with pytest.raises(ConfigError, match="this one is wrong"):
        spread(piece, ["wrong"])
    with pytest.raises(PieceError, match="wrong: this one is wrong"):
        spread(piece, ["wrong"], Places(workers=2))


def test_ray_takes_the_same_pieces(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    items = ["abc", "wrong", f"once {tmp_path}/mark", "dies", "ab"]
    found = spread(piece, items, Places(workers=2, ray="local"))
    assert {item: one[0] for item, one in found.results.items()} == {
        "abc": 3, items[2]: 4, "ab": 2,
    }  # fmt: skip
    assert found.failed["wrong"] == "this one is wrong" and "dies" in found.failed


def test_without_ray_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NotAvailableError, match=r"spatial3d_ros\[ray\].*--workers N"):
        spread(piece, ["abc"], Places(ray="auto"))


def _rank(number: int, port: int, told: multiprocessing.Queue, wrong: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip

    def work(item: int) -> tuple[int, int]:
        if item == wrong:
            raise ConfigError("this one is wrong")
        return item, number

    try:
        told.put(over_ranks([*range(5)], work))
    except PieceError as error:
        told.put(str(error))


@pytest.mark.parametrize("wrong", [-1, 3])
def test_processes_of_torchrun_share_the_items_and_the_reason_of_a_failure(wrong: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    processes = [context.Process(target=_rank, args=(k, port, told, wrong)) for k in (0, 1)]
    for process in processes:
        process.start()
    results = [told.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    if wrong < 0:
        assert results == [[(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]] * 2
    else:
        assert results == ["process 1 of 2: this one is wrong"] * 2


def test_torchrun_is_told_why_a_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    monkeypatch.setattr(sys, "argv", ["spatial3d", "train", str(tmp_path / "none.yaml")])
    with pytest.raises(ConfigError, match="no such file"):
        __main__.main()
    told = json.loads((tmp_path / "error.json").read_text())
    assert "none.yaml: no such file" in str(told["message"])
