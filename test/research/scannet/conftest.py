"""Generated rooms in ScanNet's layout, written once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from spatial3d_ros.research.language.scannet_files import write_scannet


@pytest.fixture(scope="session")
def scannet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of training and one of validation, six frames each; not to be changed."""
    folder = tmp_path_factory.mktemp("scannet")
    write_scannet(folder, train=2, val=1, frames=6, questions=4, size=(96, 72), catalog="basic")
    return folder
