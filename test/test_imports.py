"""The import graph: what the robot runs stands alone, and every import leads to a lower floor."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "spatial3d_ros"
RESEARCH = f"{PACKAGE}.research"
MAX_LINES = 400
FLOORS = [
    ["errors", "object_catalog"],
    ["storage", "resources", "categories", "english"],
    ["geometry"],
    ["scene"],
    ["sensors", "model", "memory"],
    ["bags", "tasks"],
    ["recognition", "visualization", "engine_config"],
    ["engine", "runtime", "downloads"],
    ["servers"],
    ["doctor", "nodes"],
    ["demo"],
    ["cli"],
    ["research.homes", "research.datasets", "research.spread"],
    ["research.rooms"],
    ["research.language"],
    ["research.training", "research.evaluation", "research.query"],
    ["research.bench", "research.experiments", "research.stress"],
    ["research.cli"],
    ["__main__"],
]
"""Folders and top modules, lowest first. A module imports its own folder and lower floors only."""

ROS_PACKAGES = re.compile(
    rf"(rclpy|launch|launch_ros|ament_index_python|builtin_interfaces|rcl_interfaces|std_srvs|tf2_ros"
    rf"|\w+_msgs|{PACKAGE}\.(msg|srv|action))(\.|$)"
)
OPTIONAL_MODULES = {
    "rerun", "torchao", "mcp", "starlette", "uvicorn", "tf_transformations", "transforms3d",
}  # fmt: skip
"""Extras with their own error message, and quaternion functions of ROS with a stand-in."""

DISTRIBUTIONS = {"cv2": "opencv-python-headless", "yaml": "pyyaml", "tqdm": "huggingface_hub"}


def name_of(path: Path) -> str:
    """`spatial3d_ros.model.batch` of its file; a package has the name of its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Dotted names that a file imports anywhere, inside functions and TYPE_CHECKING too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def imported_modules(path: Path) -> set[str]:
    """Modules of this package that a file imports."""
    found = set()
    for name in imported_names(path):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {"", PACKAGE}


def floor_of(module: str) -> tuple[int, str]:
    """Number and name of the floor of a module."""
    parts = module.split(".")
    name = ".".join(parts[1:3]) if module.startswith(f"{RESEARCH}.") else parts[1]
    numbers = [number for number, names in enumerate(FLOORS) if name in names]
    assert numbers, f"{module}: put '{name}' on a floor in {Path(__file__).name}"
    return numbers[0], name


def robot_modules() -> dict[str, Path]:
    """All modules except research and the program, which knows both."""
    return {
        module: path
        for module, path in MODULES.items()
        if not f"{module}.".startswith(f"{RESEARCH}.") and module != f"{PACKAGE}.__main__"
    }


def requirements(name: str) -> set[str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return {re.split(r"[<>=]", line)[0].strip() for line in lines} - {""}


def test_robot_modules_do_not_import_research():
    wrong = [
        f"{module} imports {other}"
        for module, path in robot_modules().items()
        for other in imported_modules(path)
        if f"{other}.".startswith(f"{RESEARCH}.")
    ]
    assert not wrong


def test_robot_modules_need_only_the_library_requirements():
    """`pip install spatial3d_ros` on arm64 too: embreex, for one, has no builds for it."""
    library = requirements("library")
    wrong = [
        f"{module} imports {name}"
        for module, path in robot_modules().items()
        for name in {name.partition(".")[0] for name in imported_names(path)}
        if name not in sys.stdlib_module_names | OPTIONAL_MODULES | {PACKAGE}
        and not ROS_PACKAGES.match(name)
        and DISTRIBUTIONS.get(name, name) not in library
    ]
    assert not wrong


def test_only_folders_named_nodes_import_ros():
    wrong = [
        f"{module} imports {name}"
        for module, path in MODULES.items()
        if path.parent.name != "nodes"
        for name in imported_names(path)
        if ROS_PACKAGES.match(name)
    ]
    assert not wrong


def test_modules_import_each_other_in_no_circle():
    graph = {module: imported_modules(path) - {module} for module, path in MODULES.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_imports_lead_to_lower_floors():
    wrong = []
    for module, path in MODULES.items():
        if module in (PACKAGE, RESEARCH):
            continue
        floor, folder = floor_of(module)
        for other in imported_modules(path) - {RESEARCH}:
            other_floor, other_folder = floor_of(other)
            if other_folder != folder and other_floor >= floor:
                wrong.append(f"{module} imports {other}")
    assert not wrong


def test_nodes_folder_holds_the_installed_nodes_and_what_they_import():
    """Other programs that use ROS live in `demo/nodes` and `research/stress/nodes`."""
    cmake = (ROOT / "CMakeLists.txt").read_text()
    installed = re.search(r"foreach\(node ([\w ]+)\)", cmake)[1].split()
    reached: set[str] = set()
    waiting = [f"{PACKAGE}.nodes.{node}" for node in installed]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imported_modules(MODULES[module])
    there = {module for module in MODULES if module.startswith(f"{PACKAGE}.nodes.")}
    assert there - reached == set()


def test_no_source_file_has_more_than_400_lines():
    lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: n for module, n in lengths.items() if n > MAX_LINES} == {}


def test_tests_share_code_through_helpers_only():
    folders = {path.name for path in (ROOT / "test").iterdir() if path.is_dir()} - {"helpers"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / "test").rglob("*.py"))
        for name in imported_names(path)
        if name.startswith("test_") or (name.partition(".")[0] in folders and ".test_" in name)
    ]
    assert not wrong
