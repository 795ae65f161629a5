"""The settings of the engine; node parameters extend them. Imports neither torch nor ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from spatial3d_ros.model.quantize import Weights
    from spatial3d_ros.tasks.proposal_sources import ProposalSource


def parameter(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    effective: Literal["live", "activate", "configure", "start"] = "activate",
) -> Any:
    """A dataclass field with the information that `ros2 param describe` shows.

    `effective`: "live" parameters may change at any time, those of "start" are read when the node
    starts, the others take effect in that lifecycle transition.
    """
    limits = {"description": description, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata={**limits, "effective": effective})


@dataclass(frozen=True)
class EngineConfig:
    """The settings of `Spatial3D`. Each field is also a parameter of `grounding_node`."""

    model: str = parameter(
        "tiny", "Name of a shipped model, or path of a folder with weights.", effective="configure"
    )
    device: str = parameter(
        "auto", "Device of the network: auto, cpu, cuda, cuda:1, ...", effective="configure"
    )
    dtype: str = parameter(
        "auto",
        "Floating-point type of the network.",
        choices=("auto", "float32", "float16", "bfloat16"),
        effective="configure",
    )
    weights: Weights = parameter(
        "auto",
        "Weights of the decoder: auto (in dtype), or quantized to int8 or int4 to save memory.",
        choices=("auto", "int8", "int4"),
        effective="configure",
    )
    proposals: ProposalSource = parameter(
        "auto",
        "Source of object proposals: builtin (from depth), referents (of networks with psa), or "
        "auto: builtin, and if that finds nothing, referents if the network has them.",
        choices=("auto", "builtin", "referents"),
        effective="configure",
    )
    max_views: int = parameter(16, "Views kept in memory.", low=1, high=256, effective="configure")
    max_seconds: float = parameter(
        60.0,
        "Largest age of a view kept in memory [s].",
        low=1.0,
        high=86400.0,
        effective="configure",
    )
    max_megabytes: float = parameter(
        512.0,
        "Largest memory for the images of the views [MiB].",
        low=1.0,
        high=65536.0,
        effective="configure",
    )
    detection_min_hits: int = parameter(
        1,
        "Number of detections after which a tracked object enters the object map.",
        low=1,
        high=100,
        effective="configure",
    )

    memory_folder: str = parameter(
        "",
        "Folder in which objects are remembered across sessions; empty: nothing is stored.",
        effective="configure",
    )
    memory_origin: str = parameter(
        "same",
        "Origin of the map frame: same in each session, or new each time, in which case remembered "
        "objects are aligned by the objects seen.",
        choices=("same", "new"),
        effective="configure",
    )
    memory_empty_looks: int = parameter(
        3,
        "Views of the empty place of an object after which it is missing.",
        low=1,
        high=100,
        effective="configure",
    )
    memory_gone_hours: float = parameter(
        24.0,
        "Time after which a missing object is gone [h].",
        low=0.0,
        high=87600.0,
        effective="configure",
    )
    memory_max_days: float = parameter(
        365.0,
        "Largest age of what is remembered of past looks [days].",
        low=0.01,
        high=36500.0,
        effective="configure",
    )
    memory_max_megabytes: float = parameter(
        1000.0,
        "Largest size of the memory on disk [MiB]; the oldest looks are forgotten first.",
        low=1.0,
        high=1e6,
        effective="configure",
    )
    memory_pictures: int = parameter(
        0,
        "Small pictures of each object that are stored with the memory; 0: no image is stored.",
        low=0,
        high=20,
        effective="configure",
    )
    memory_pictures_megabytes: float = parameter(
        100.0,
        "Largest size of all stored pictures [MiB]; the oldest are forgotten first.",
        low=0.1,
        high=1e5,
        effective="configure",
    )

    @property
    def max_bytes(self) -> int:
        """`max_megabytes` in bytes."""
        return int(self.max_megabytes * 2**20)
