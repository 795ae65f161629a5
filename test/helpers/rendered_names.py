"""All names of rendered rooms, and a small convolutional tower."""

from spatial3d_ros.categories import COLORS, LOOKS
from spatial3d_ros.research.rooms.kinds import kinds

NAMES = {
    "classes": list(kinds()), "colors": list(COLORS),
    "looks": {what: list(names) for what, names in LOOKS.items()},
}  # fmt: skip
VISION = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 1, "stem": "conv",
          "resize": "stretch"}  # fmt: skip
