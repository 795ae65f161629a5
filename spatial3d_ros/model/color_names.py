"""Colors as distributions over color names: how much each name fits, by distance in CIE Lab."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spatial3d_ros.categories import COLORS

SPREAD = 14.0
"""Distance in Lab at which a name fits by exp(-1/2)."""
UNKNOWN = 40.0
"""Distance in Lab at which a color is as likely none of the names."""
_WHITE = (0.95047, 1.0, 1.08883)  # D65
_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


def lab(rgb: Tensor) -> Tensor:
    """sRGB (..., 3) in [0, 1] -> CIE Lab (..., 3) under D65."""
    rgb = rgb.float().clamp(0.0, 1.0)
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ rgb.new_tensor(_XYZ).float().T / rgb.new_tensor(_WHITE).float()
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def color_shares(rgb: Tensor, names: Sequence[str]) -> Tensor:
    """Probability of each of the color names, "unknown" last: rgb (..., 3) in [0, 1] -> (...,
    len(names) + 1). NaN stays NaN. Raises KeyError for a name that is not in categories.COLORS.
    """
    known = lab(rgb.new_tensor([COLORS[name] for name in names]) / 255)
    away = torch.cdist(lab(rgb).flatten(0, -2), known).unflatten(0, rgb.shape[:-1])
    away = torch.cat([away, torch.full_like(away[..., :1], UNKNOWN)], -1)
    return (-0.5 * (away / SPREAD) ** 2).softmax(-1)
