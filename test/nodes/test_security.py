"""SECURITY.md: no code executes foreign input, and the SROS 2 policy matches the nodes.

The policy is compared with running nodes: an interface without a rule fails, and so does a rule
that no node needs.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.nodes.optional_messages import have_vision_messages
from spatial3d_ros.resources import config_path

POLICY = config_path("security/policy.xml")
RULES = {"topics": ("publish", "subscribe"), "services": ("reply", "request"),
         "actions": ("execute", "call")}  # fmt: skip
NODES = ("grounding_node", "visualizer_node", "web_node")


ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "spatial3d_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")])
UNPICKLE = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "cloudpickle"}
RUN = {"eval", "exec", "compile", "os.system", "os.popen", "torch.load", "yaml.load",
       "yaml.unsafe_load", "yaml.full_load"}  # fmt: skip
FLAGS = {"shell", "trust_remote_code", "allow_pickle"}


def risks(path):
    """Lines of a file that could execute foreign input."""
    for part in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(part, ast.Import):
            names = [alias.name for alias in part.names]
        elif isinstance(part, ast.ImportFrom):
            names = [part.module or ""]
        if any(name.split(".")[0] in UNPICKLE for name in names):
            yield f"{path.name}:{part.lineno} unpickles"
        if isinstance(part, ast.Call):
            if ast.unparse(part.func) in RUN:
                yield f"{path.name}:{part.lineno} {ast.unparse(part.func)}"
            for keyword in part.keywords:
                given = ast.unparse(keyword.value)
                if keyword.arg in FLAGS and given != "False":
                    yield f"{path.name}:{part.lineno} {keyword.arg}={given}"


def test_no_code_unpickles_evaluates_or_starts_a_shell(tmp_path):
    assert not [risk for path in SOURCES for risk in risks(path)]
    bad = tmp_path / "bad.py"
    bad.write_text("import pickle\neval(x)\nrun(y, shell=True)\ntorch.load(z)\n")
    assert len(list(risks(bad))) == 4


def granted():
    """{enclave: {"publish": names, ...}} with full names."""
    found = {}
    for enclave in ElementTree.parse(POLICY).getroot().iter("enclave"):
        (profile,) = enclave.iter("profile")
        own = f"{profile.get('ns').rstrip('/')}/{profile.get('node')}"
        rights = found[enclave.get("path")] = {role: set() for rs in RULES.values() for role in rs}
        for group in profile:
            ((role, word),) = group.attrib.items()
            assert word == "ALLOW"
            assert role in RULES[group.tag]
            for entry in group:
                assert entry.tag == group.tag[:-1]
                name = re.sub("^~", own, entry.text)
                assert re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", name), name
                assert name not in rights[role], f"{name} is listed twice"
                rights[role].add(name)
    return found


def test_policy_is_well_formed_and_documents_every_enclave():
    # a comment between enclaves ends `ros2 security generate_artifacts`
    keeping = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.parse(POLICY, keeping).getroot()
    assert (root.tag, root.get("version")) == ("policy", "0.2.0")
    (enclaves,) = root
    assert [part.tag for part in enclaves] == ["enclave"] * len(enclaves)
    enclaves = granted()
    assert set(enclaves) == {f"/spatial3d/{name}" for name in (*NODES, "client", "maintainer")}
    page = (POLICY.parents[2] / "docs" / "SECURITY_ROS.md").read_text()
    for path in enclaves:
        assert path in page


def test_client_cannot_change_the_node_and_maintainer_has_only_its_services():
    client, maintainer = (granted()[f"/spatial3d/{name}"] for name in ("client", "maintainer"))
    node = granted()["/spatial3d/grounding_node"]
    words = ("clear", "change_state", "parameter", "edit_", "set_regions", "_map")
    assert not [name for name in client["request"] if any(word in name for word in words)]
    assert client["request"] | maintainer["request"] <= node["reply"]
    assert client["call"] == node["execute"]
    assert not maintainer["call"]
    published = node["publish"] | granted()["/spatial3d/visualizer_node"]["publish"]
    assert client["subscribe"] | maintainer["subscribe"] <= published


@pytest.fixture
def created():
    """The interfaces of a node by role and full name, if started with these ROS arguments."""
    bench = pytest.importorskip("helpers.ros_bench", reason="rclpy or the interfaces are not here")
    from helpers.fake_engine import FakeEngine
    from spatial3d_ros.nodes.grounding_node import GroundingNode
    from spatial3d_ros.nodes.visualizer_node import VisualizerNode
    from spatial3d_ros.nodes.web_node import WebNode

    runs = itertools.count()

    def names(node_name, *arguments):
        # one namespace each: the graph keeps a node of the same name for a while
        space = f"/run{next(runs)}"
        world = bench.Bench("-r", f"__ns:={space}", *arguments)
        if node_name == "grounding_node":
            node = world.add(GroundingNode(lambda _: FakeEngine(), context=world.context))
            active = bench.eventually(lambda: node._refresher, 30.0)
        elif node_name == "web_node":
            node = world.add(WebNode(context=world.context))
            with contextlib.suppress(NotAvailableError):
                node.queries.view()
            active = True
        else:
            node = world.add(VisualizerNode(context=world.context))
            active = True
        found = {
            "publish": node.get_publisher_names_and_types_by_node(node_name, space),
            "subscribe": node.get_subscriber_names_and_types_by_node(node_name, space),
            "reply": node.get_service_names_and_types_by_node(node_name, space),
            "request": node.get_client_names_and_types_by_node(node_name, space),
        }
        world.close()
        assert active
        roles = {
            role: {name.removeprefix(space) for name, _ in pairs} for role, pairs in found.items()
        }
        for action, side in (("execute", ("publish", "reply")), ("call", ("subscribe", "request"))):
            parts = {name for role in side for name in roles[role] if "/_action/" in name}
            roles |= {role: roles[role] - parts for role in side}
            roles[action] = {name.split("/_action/")[0] for name in parts}
        return roles

    return names


def remapped(preset="generic"):
    """ROS arguments for the topics of a camera, as in the launch file."""
    topics = yaml.safe_load(config_path(f"cameras/{preset}.yaml").read_text())["remappings"]
    topics["rgb/image/compressed"] = f"{topics['rgb/image']}/compressed"
    topics["depth/image/compressedDepth"] = f"{topics['depth/image']}/compressedDepth"
    topics["depth/camera_info"] = f"{topics['depth/image'].rpartition('/')[0]}/camera_info"
    return [word for name, topic in topics.items() for word in ("-r", f"{name}:={topic}")]


def test_grounding_node_is_granted_exactly_its_interfaces(created):
    variants = [
        ("-p", "use_sim_time:=true"),
        ("-p", "pose_source:=odom", "-p", "color_transport:=compressed"),
        ("-p", "depth_transport:=compressedDepth"),
    ]
    granted_now = granted()["/spatial3d/grounding_node"]
    try:
        import tf2_msgs  # noqa: F401
    except ImportError:  # not in the pip wheels of ROS
        granted_now["subscribe"] -= {"/tf", "/tf_static"}
    else:
        variants.append(("-p", "pose_source:=tf"))
    if not have_vision_messages():  # not in the pip wheels of ROS
        granted_now["publish"] -= {"/grounding_node/detections"}
    needed = {}
    for arguments in variants:
        for role, names in created("grounding_node", *remapped(), *arguments).items():
            assert names <= granted_now[role], f"{role}, with {arguments}: add to {POLICY}"
            needed[role] = needed.get(role, set()) | names
    needed = {role: names for role, names in needed.items() if names}
    assert {role: names for role, names in granted_now.items() if names} == needed


@pytest.mark.parametrize("name", ["visualizer_node", "web_node"])
def test_other_nodes_are_granted_exactly_their_interfaces(created, name):
    if name == "web_node":
        pytest.importorskip("starlette", reason="the extra `web` is not installed")
    needed = created(name, "-p", "use_sim_time:=true", "-p", "port:=0")
    granted_now = granted()[f"/spatial3d/{name}"]
    granted_now["request"] |= {"/grounding_node/edit_objects"} & needed["request"]  # allow_edits
    assert {role: names for role, names in granted_now.items() if names} == {
        role: names for role, names in needed.items() if names
    }
