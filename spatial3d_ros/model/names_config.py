"""Names with which objects are named: the part of the configuration that data and heads share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictConfig(BaseModel):
    """Settings that cannot be changed, and refuse unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LooksConfig(StrictConfig):
    """Names of how objects look, by attribute (`categories.LOOKS`)."""

    material: tuple[str, ...] = ()
    pattern: tuple[str, ...] = ()
    shape: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    second_color: tuple[str, ...] = ()


class NamesConfig(StrictConfig):
    """Classes, colors and looks with which objects are named independently of questions. Questions
    may use any other words.
    """

    classes: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    looks: LooksConfig = LooksConfig()
    from_views: bool = False
    """Train the heads on pooled view features where there are no other object features."""

    @property
    def heads(self) -> dict[str, tuple[str, ...]]:
        """The names of each head that has any: "class", "color", and the attributes of looks."""
        found = {"class": self.classes, "color": self.colors, **dict(self.looks)}
        return {head: names for head, names in found.items() if names}
