"""Installs the library and the command line with pip alone; ROS is not needed for it.

With ROS, colcon builds the same package from CMakeLists.txt, interfaces and nodes included.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
EXTRAS = (
    "research", "dev", "quantize", "rerun", "train", "ray", "onnx", "litert", "mcp", "web",
    "browser",
)  # fmt: skip
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()


def requirements(name: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


setup(
    name="spatial3d_ros",
    version=MANIFEST.findtext("version"),
    description=" ".join(MANIFEST.findtext("description").split()),
    license=MANIFEST.findtext("license"),
    python_requires=">=3.10,<3.13",
    # resource/ and config/ lie beside the package in a checkout and inside it once installed
    packages=[
        *find_packages(include=["spatial3d_ros", "spatial3d_ros.*"]),
        "spatial3d_ros.resource",
        "spatial3d_ros.config",
    ],
    package_dir={"spatial3d_ros.resource": "resource", "spatial3d_ros.config": "config"},
    package_data={
        "spatial3d_ros.resource": ["**/*"],
        "spatial3d_ros.config": ["**/*"],
        "spatial3d_ros.demo": ["templates/*"],
        "spatial3d_ros.servers": ["static/*"],
        "spatial3d_ros.research.query": ["grammar/*.yaml"],
        "spatial3d_ros.research.rooms": ["kinds.yaml"],
    },
    install_requires=requirements("library"),
    extras_require={name: requirements(name) for name in EXTRAS},
    entry_points={"console_scripts": ["spatial3d = spatial3d_ros.__main__:main"]},
)
