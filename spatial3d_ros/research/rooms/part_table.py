"""Parts of the kinds as lines of a table, read from `kinds.yaml` and built into meshes.

A line reads `shape bounds color [texture] [@name] [?condition] [!condition] [option=value]`; bounds
are x0 x1 y0 y1 z0 z1 in fractions of the box, x from back to front and y across in -0.5 .. 0.5, z
in 0 .. 1, each with centimetres added ("1-4c"). Shapes:

    slab box, blob cushion (p: 1 ball .. 0 box), cyl cylx cyly cylinder along an axis, cone (t:
    radius of the top to that of the bottom, sq: four sides), tube open cylinder, ring ringx ringy
    hoop around an axis, turn (profile r,z ...) lathe, legs (w: cm) four posts at the corners, grid
    (n: cells along the two longest axes, up first; gap), bar (w: cm) beam from the first to the
    second corner, panel board across y, from (x0, z0) to (x1, z1), leaf upright board from (x0, y0)
    to (x1, y1) (t: cm), leaves foliage, balls (size) many small ones, bars (n) a ring of rods

Colors: c of the object, m l d shades of it, B many, others fixed (`FIXED`). `?round` needs a shape,
a state, "top" or "hung"; `curved` is round or oval; `!` forbids it. `@seat` names a part that may
have a color of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.rooms import shapes

TEXTURES = {
    "wood": shapes.WOOD, "metal": shapes.METAL, "fabric": shapes.FABRIC,
    "leather": shapes.LEATHER, "plastic": shapes.PLASTIC, "glass": shapes.GLASS,
    "ceramic": shapes.CERAMIC, "paper": shapes.PAPER, "cardboard": shapes.CARTON,
    "wicker": shapes.WICKER, "stone": shapes.STONE, "leaf": shapes.LEAF, "glow": shapes.GLOW,
    "mirror": shapes.MIRROR,
}  # fmt: skip
FIXED: dict[str, tuple[int, int, int]] = {
    "k": (40, 40, 42), "K": (84, 84, 88), "w": (238, 236, 230), "a": (150, 150, 150),
    "s": (178, 182, 188), "b": (112, 76, 48), "t": (188, 150, 106), "n": (22, 24, 30),
    "g": (196, 212, 218), "h": (168, 196, 214), "p": (240, 236, 224), "q": (72, 52, 40),
    "f": (66, 122, 58), "R": (192, 44, 40), "u": (52, 92, 176), "Y": (226, 188, 60),
    "P": (206, 120, 168), "O": (236, 132, 40), "Q": (70, 44, 30), "G": (120, 230, 150),
    "E": (84, 140, 214), "F": (255, 206, 110), "S": (186, 216, 242), "T": (206, 160, 130),
}  # fmt: skip
SHADES = {"c": 1.0, "m": 0.86, "d": 0.62, "l": 0.0}
_NUMBER = re.compile(r"([+-]?\d*\.?\d+)(c?)")


@dataclass(frozen=True)
class PartLine:
    """One part. bounds: six (fraction of the box, metres), or empty for a lathe with its `profile`
    of (radius, height) fractions; texture: None for that of the object's material.
    """

    shape: str
    bounds: tuple[tuple[float, float], ...]
    profile: tuple[tuple[float, float], ...]
    color: str
    texture: int | None = None
    name: str = ""
    needs: frozenset[str] = frozenset()
    forbids: frozenset[str] = frozenset()
    options: dict[str, str] = field(default_factory=dict, hash=False)

    def holds(self, conditions: frozenset[str]) -> bool:
        """Whether an object of this shape, state and place has the part."""
        return self.needs <= conditions and not self.forbids & conditions

    def number(self, name: str, default: float) -> float:
        return float(self.options.get(name, default))


def parse_part(line: str) -> PartLine:
    """Raises ConfigError, naming the line, where it is malformed."""
    try:
        return _parse(line.split())
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigError(f"kinds.yaml: part '{line}' is malformed ({error})") from error


def _parse(words: list[str]) -> PartLine:
    shape, rest = words[0], words[1:]
    bounds: tuple[tuple[float, float], ...] = ()
    profile: tuple[tuple[float, float], ...] = ()
    if shape == "turn":
        count = next(i for i, word in enumerate(rest) if "," not in word)
        pairs = (word.split(",") for word in rest[:count])
        profile = tuple((float(r), float(z)) for r, z in pairs)
    else:
        count = 6
        bounds = tuple(map(_length, rest[:6]))
    color, rest = rest[count], rest[count + 1 :]
    if color not in SHADES and color not in FIXED and color != "B":
        raise ValueError(f"color {color}")
    textures = [TEXTURES[word] for word in rest if word[0] not in "@?!" and "=" not in word]
    return PartLine(
        shape,
        bounds,
        profile,
        color,
        textures[0] if textures else None,
        next((word[1:] for word in rest if word[0] == "@"), ""),
        frozenset(word[1:] for word in rest if word[0] == "?"),
        frozenset(word[1:] for word in rest if word[0] == "!"),
        {word.split("=")[0]: word.split("=")[1] for word in rest if "=" in word},
    )


def _length(text: str) -> tuple[float, float]:
    """ "1-4c" -> (1.0, -0.04)."""
    if _NUMBER.sub("", text):
        raise ValueError(f"number {text}")
    fraction = metres = 0.0
    for number, centimetres in _NUMBER.findall(text):
        if centimetres:
            metres += float(number) / 100
        else:
            fraction += float(number)
    return fraction, metres
