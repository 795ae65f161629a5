"""The settings of the engine; node parameters extend them. Imports neither torch nor ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    live: bool = False,
    loaded: bool = False,
) -> Any:
    """A field with what `ros2 param describe` shows.

    A `live` one may change at any time, a `loaded` one takes effect when the node is configured,
    any other when it is activated.
    """
    limits = {"description": description, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata={**limits, "live": live, "loaded": loaded})


@dataclass(frozen=True)
class EngineConfig:
    """What `Spatial3D` is built from. Each field is also a parameter of `grounding_node`."""

    model: str = parameter(
        "tiny", "Name of a shipped model, or path of a folder with weights.", loaded=True
    )
    device: str = parameter(
        "auto", "Device of the network: auto, cpu, cuda, cuda:1, ...", loaded=True
    )
    dtype: str = parameter(
        "auto",
        "Number format of the network.",
        choices=("auto", "float32", "float16", "bfloat16"),
        loaded=True,
    )
    weights: Weights = parameter(
        "auto",
        "Weights of the decoder: auto (in dtype), or quantized to int8 or int4 to save memory.",
        choices=("auto", "int8", "int4"),
        loaded=True,
    )
    proposals: ProposalSource = parameter(
        "auto",
        "Source of object proposals: builtin (from depth), referents (of networks with psa), or "
        "auto: builtin, and if that finds nothing, referents if the network has them.",
        choices=("auto", "builtin", "referents"),
        loaded=True,
    )
    max_views: int = parameter(16, "Views kept in memory.", low=1, high=256, loaded=True)
    max_seconds: float = parameter(
        60.0, "Age of the oldest view kept [s].", low=1.0, high=86400.0, loaded=True
    )
    max_megabytes: float = parameter(
        512.0,
        "Memory that the images of the views may take [MiB].",
        low=1.0,
        high=65536.0,
        loaded=True,
    )
    detection_min_sightings: int = parameter(
        1,
        "Detections of an object that a detector must report before it enters the object map.",
        low=1,
        high=100,
        loaded=True,
    )

    @property
    def max_bytes(self) -> int:
        """`max_megabytes` in bytes."""
        return int(self.max_megabytes * 2**20)
