"""The engine with a memory folder: objects outlive the process, ids stay, maps are saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.engine_scene import proposals_in_a_row, wall_frame
from helpers.small_model import small_model
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import ConfigError, MemoryFileError, NotAvailableError
from spatial3d_ros.model.checkpoint import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    network, prompt = small_model()
    save_model(path, network, prompt.tokenizer, torch.float32)
    return path


def make_engine(model: Path, folder: Path) -> Spatial3D:
    config = EngineConfig(model=str(model), device="cpu", max_views=4, memory_folder=str(folder))
    engine = Spatial3D(config)
    engine.load()
    return engine


def drive(engine, objects, first=1):
    """Three views with this many objects in a row; returns the ids of the scene."""
    for number in range(first, first + 3):
        engine.add_frame(wall_frame(number))
        engine.refresh(proposals_in_a_row(objects))
    return [known.id for known in engine.scene().objects]


def test_objects_of_yesterday_are_in_todays_scene(model, tmp_path):
    events = []
    first = make_engine(model, tmp_path / "a")
    first.on_events = events.extend
    ids = drive(first, 3)
    assert len(ids) == 3 and events == []
    with pytest.raises(MemoryFileError, match="another process"):
        make_engine(model, tmp_path / "a")
    assert first.save_map() == tmp_path / "a"
    assert first.save_map("copy") == tmp_path / "a" / "maps" / "copy"
    for name in ("../b", "/tmp", "x" * 65):
        with pytest.raises(ConfigError, match="field name"):
            first.save_map(name)
    first.close()
    first.close()
    with pytest.raises(NotAvailableError, match="memory_folder"):
        _ = first.memory

    second = make_engine(model, tmp_path / "a")
    assert drive(second, 1, first=100) == ids  # two of them are out of view of these proposals
    assert second.ground("the red chair").scene_version > 0
    second.clear()
    assert [known.state for known in second.memory.objects()] == ["confirmed"] + 2 * ["remembered"]
    with pytest.raises(MemoryFileError, match="no such map"):
        second.load_map("nowhere")
    assert second.memory.folder == tmp_path / "a"
    second.memory.forget(ids)
    second.load_map("copy")
    assert [known.id for known in second.memory.objects()] == ids
    second.load_map()
    assert second.memory.objects() == [] and min(drive(second, 2, first=200)) > max(ids)
    second.close()


def test_a_map_without_a_folder_is_refused(model):
    engine = Spatial3D(EngineConfig(model=str(model), device="cpu"))
    for call in (engine.load_map, engine.save_map):
        with pytest.raises(NotAvailableError, match="memory_folder"):
            call("name")
