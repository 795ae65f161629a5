"""The SROS 2 policy: well-formed, and exactly what the nodes create, under the names of a launch.

Compared with nodes that run: an interface that is added without a line in the policy fails here,
and so does a line that no node needs.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import yaml

from spatial3d_ros.resources import config_path

POLICY = config_path("security/policy.xml")
RULES = {"topics": ("publish", "subscribe"), "services": ("reply", "request"),
         "actions": ("execute", "call")}  # fmt: skip
NODES = ("grounding_node", "visualizer_node")


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
                assert name not in rights[role], f"{name} stands twice"
                rights[role].add(name)
    return found


def test_the_policy_is_well_formed_and_names_every_enclave_of_the_page():
    # a remark between enclaves ends `ros2 security generate_artifacts`
    keeping = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.parse(POLICY, keeping).getroot()
    assert (root.tag, root.get("version")) == ("policy", "0.2.0")
    (enclaves,) = root
    assert [part.tag for part in enclaves] == ["enclave"] * len(enclaves)
    enclaves = granted()
    assert set(enclaves) == {f"/spatial3d/{name}" for name in (*NODES, "person", "maintainer")}
    page = (POLICY.parents[2] / "docs" / "SECURITY_ROS.md").read_text()
    for path in enclaves:
        assert path in page


def test_who_asks_cannot_change_the_node_and_who_maintains_it_is_not_asked_for_more():
    person, maintainer = (granted()[f"/spatial3d/{name}"] for name in ("person", "maintainer"))
    node = granted()["/spatial3d/grounding_node"]
    words = ("clear", "change_state", "parameter", "edit_layout")
    assert not [name for name in person["request"] if any(word in name for word in words)]
    assert person["request"] | maintainer["request"] <= node["reply"]
    assert person["call"] == node["execute"]
    assert not maintainer["call"]
    published = node["publish"] | granted()["/spatial3d/visualizer_node"]["publish"]
    assert person["subscribe"] | maintainer["subscribe"] <= published


@pytest.fixture
def created():
    """What a node creates, by role and full name, when started with these ROS arguments."""
    bench = pytest.importorskip("ros_bench", reason="rclpy or the interfaces are not here")
    from fake_engine import FakeEngine

    from spatial3d_ros.nodes.grounding_node import GroundingNode
    from spatial3d_ros.nodes.visualizer_node import VisualizerNode

    def names(node_name, *arguments):
        world = bench.Bench(*arguments)
        if node_name == "grounding_node":
            node = world.add(GroundingNode(lambda _: FakeEngine(), context=world.context))
            active = bench.eventually(lambda: node._refresher)
        else:
            node = world.add(VisualizerNode(context=world.context))
            active = True
        found = {
            "publish": node.get_publisher_names_and_types_by_node(node_name, "/"),
            "subscribe": node.get_subscriber_names_and_types_by_node(node_name, "/"),
            "reply": node.get_service_names_and_types_by_node(node_name, "/"),
        }
        world.close()  # before the next of the same name
        assert active
        roles = {role: {name for name, _ in pairs} for role, pairs in found.items()}
        parts = {name for names in roles.values() for name in names if "/_action/" in name}
        roles["execute"] = {name.split("/_action/")[0] for name in parts}
        return {role: names - parts for role, names in roles.items()}

    return names


def remapped(preset="generic"):
    """ROS arguments of the topics of a camera, as the launch file makes them."""
    topics = yaml.safe_load(config_path(f"cameras/{preset}.yaml").read_text())["remappings"]
    topics["rgb/image/compressed"] = f"{topics['rgb/image']}/compressed"
    topics["depth/image/compressedDepth"] = f"{topics['depth/image']}/compressedDepth"
    topics["depth/camera_info"] = f"{topics['depth/image'].rpartition('/')[0]}/camera_info"
    return [word for name, topic in topics.items() for word in ("-r", f"{name}:={topic}")]


def test_the_grounding_node_is_granted_what_it_creates_and_nothing_else(created):
    ways = [
        ("-p", "use_sim_time:=true"),
        ("-p", "pose_source:=odom", "-p", "color_transport:=compressed"),
        ("-p", "depth_transport:=compressedDepth"),
    ]
    granted_now = granted()["/spatial3d/grounding_node"]
    try:
        import tf2_msgs  # noqa: F401
    except ImportError:  # comes with ROS, not with its wheels
        granted_now["subscribe"] -= {"/tf", "/tf_static"}
    else:
        ways.append(("-p", "pose_source:=tf"))
    needed = {}
    for way in ways:
        for role, names in created("grounding_node", *remapped(), *way).items():
            assert names <= granted_now[role], f"{role}, with {way}: add to {POLICY}"
            needed[role] = needed.get(role, set()) | names
    assert {role: names for role, names in granted_now.items() if names} == needed


def test_the_visualizer_is_granted_what_it_creates_and_nothing_else(created):
    needed = created("visualizer_node", "-p", "use_sim_time:=true")
    granted_now = granted()["/spatial3d/visualizer_node"]
    assert {role: names for role, names in granted_now.items() if names} == {
        role: names for role, names in needed.items() if names
    }
