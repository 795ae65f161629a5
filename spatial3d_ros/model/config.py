"""One configuration for every size of the network; `config/models/*.yaml` holds the values.

Keys under `s2`, `slim` and `psa` carry the names of the three papers' switches. An unknown key
or an impossible value raises `ConfigError` with the file, the key and what is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.resources import config_path
from spatial3d_ros.storage import read_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VisionConfig(_Strict):
    """SigLIP-style tower. `layers` are the ones that run: the last layer of the public tower is
    left out (1.2).
    """

    image_size: int = Field(384, ge=16)
    patch_size: int = Field(14, ge=4)
    width: int = 1152
    mlp: int = 4304
    layers: int = 26
    heads: int = 16
    resize: Literal["crop", "stretch"] = "crop"
    """`crop` as in the release (centre square); `stretch` keeps the whole field of view."""

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size


class TextConfig(_Strict):
    """Qwen2-style decoder."""

    width: int = 3584
    mlp: int = 18944
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    vocab: int = 152064
    rope_theta: float = 1_000_000.0
    max_positions: int = 32768
    tie_embeddings: bool = False


class StructureConfig(_Strict):
    """Structure-enhanced module, S2-MLLM (METHODS 1.3)."""

    enabled: bool = True
    grouping: Literal["clean", "release"] = "clean"
    """`release` groups tokens as the public code does, which is not what the paper describes."""
    order: Literal["inter_intra", "intra_inter"] = "inter_intra"
    init: Literal["zero", "default"] = "zero"
    heads: int = 12
    drop_path: float = Field(0.1, ge=0.0, lt=1.0)


class PositionConfig(_Strict):
    """Multi-level position encoding, S2-MLLM (METHODS 1.5)."""

    coord: bool = True
    coord_scale: float = Field(1.0, gt=0.0)
    """Factor of the code; 1 as published, where features are much longer than the code."""
    ray: bool = True
    ray_scale: float = 5.0
    ray_scale_learnt: bool = False
    ray_hidden: int = 512
    pool: Literal["bilinear", "avg"] = "bilinear"


class GuidanceConfig(_Strict):
    """Reconstruction guidance, S2-MLLM (METHODS 1.9): a branch that exists in training only."""

    enabled: bool = False
    backend: Literal["own", "external"] = "own"
    """`external`: the branch ends in a linear layer to `width`; what follows is plugged in."""
    weight: float = Field(0.3, ge=0.0)
    local: bool = False
    """Also reconstruct every view in its own camera's frame."""
    width: int = 256
    layers: int = Field(4, ge=1)
    heads: int = 8
    alpha: float = Field(0.2, gt=0.0)
    """Weight of the confidence's logarithm, which keeps it from falling to its floor."""


class LanguageConfig(_Strict):
    """Language loss, S2-MLLM (METHODS 1.10)."""

    weight: float = Field(1.0, ge=0.0)


class S2Config(_Strict):
    """S2-MLLM (METHODS 1)."""

    se: StructureConfig = StructureConfig()
    mpe: PositionConfig = PositionConfig()
    sg: GuidanceConfig = GuidanceConfig()
    lang: LanguageConfig = LanguageConfig()
    category_mode: Literal["none", "generate", "given"] = "none"
    """What stands before `<ground>`: nothing; the class that the network itself writes; or the true
    one, which is for diagnosis only (1.12).
    """


class SlimConfig(_Strict):
    """Attention masks of 3D-SLIM (METHODS 2)."""

    objects: Literal["causal", "full", "diagonal", "fixed_n", "geo"] = "geo"
    inst: bool = True
    places: Literal["sequence", "shared"] = "sequence"
    """Positions of objects in the decoder: one behind the other as published, or the same for all,
    so that their order is not heard (the identifiers still tell it).
    """
    k_min: int = Field(2, ge=0)
    k_max: int = Field(10, ge=0)
    fixed_n: int = Field(5, ge=0)
    space: Literal["normalized", "metric"] = "normalized"
    density: Literal["mean_distance", "gaussian"] = "mean_distance"
    sigma: float | None = Field(None, gt=0.0)
    """Reach of the gaussian density, in the unit of `space`."""
    robust: bool = False
    """Clip the density at the scene's 5th and 95th percentile, so that no outlier rules it."""

    @model_validator(mode="after")
    def _ordered(self) -> SlimConfig:
        if self.k_min > self.k_max:
            raise ValueError(f"k_min ({self.k_min}) must not exceed k_max ({self.k_max})")
        return self


class AwarenessConfig(_Strict):
    """Progressive spatial awareness, Spatial 3D-LLM (METHODS 3.2). With all three stages off, the
    referents are seeds chosen by farthest point sampling.
    """

    enabled: bool = False
    source: Literal["patches", "points"] = "patches"
    """Seeds from the network's own patches, or from coloured points through an encoder of their
    own.
    """
    intra: bool = True
    inter: Literal["none", "gcn", "edgeconv"] = "gcn"
    context: bool = True
    points: int = Field(40_000, ge=1)
    """Points that the encoder reads (`points` only)."""
    seeds: int = Field(1024, ge=4)
    referents: int = Field(256, ge=1)
    tokens: int = Field(64, ge=0)
    """At most so many referents stand in the sequence, the likeliest objects first; 0: none."""
    width: int = Field(256, ge=8)
    heads: int = Field(8, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> AwarenessConfig:
        if self.referents > self.seeds:
            raise ValueError(f"referents ({self.referents}) are chosen among seeds ({self.seeds})")
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self

    @property
    def places(self) -> int:
        """Most places of referents, and of the scene token, in the sequence."""
        return min(self.tokens, self.referents) + (self.context and self.tokens > 0)


class ObjectConfig(_Strict):
    """Object tokens (METHODS 1.7, 4) and what they carry besides pixels."""

    max_objects: int = Field(100, ge=1, le=1000)
    member_fraction: float = Field(0.5, gt=0.0, le=1.0)
    """Share of a patch's pixels inside the box from which the patch belongs to the object."""
    identifier: Literal["token", "added"] = "token"
    """Whether the slot's identifier, and with it the referent's feature, is a token of its own, or
    all is added up to the object's only token.
    """
    relation_layers: int = Field(2, ge=0)
    """All-pairs layers over objects with a learnt bias from offset, distance and size ratio."""
    relation_hidden: int = 64
    decoder_bias: bool = True
    """Add the same kind of bias to the decoder's object-to-object attention."""
    label_bias: bool = False
    """Let objects hear the words of their own label in a question louder, as far as is learnt."""
    fronts: bool = False
    """Read where an object's front points, where that is known."""


class HeadConfig(_Strict):
    """Grounding head (METHODS 1.8); candidates are the features before or after the decoder."""

    object_source: Literal["input", "hidden"] = "hidden"
    relation_layers: int = Field(0, ge=0)
    """All-pairs layers over the objects' final states, after they have heard the question (`hidden`
    only).
    """
    width: int | None = None
    temperature: float = Field(0.07, gt=0.0)


class NamesConfig(_Strict):
    """The words in which objects are named before any question; questions are not limited to
    them.
    """

    classes: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()


class IoConfig(_Strict):
    """How the network's text holds places (METHODS 3.3)."""

    loc_format: Literal["text", "tokens"] = "text"
    """Numbers of two decimals, which any tokenizer has, or 1000 tokens of 2 cm."""


Task = Literal["ground", "distance", "ask", "caption"]


class ModelConfig(_Strict):
    """Everything that decides the shapes of the weights and the computation."""

    name: str
    tasks: tuple[Task, ...] = ("ground",)
    """What the weights were trained to answer; training writes it down. distance: metres in the
    network's own words. ask: questions answered in words. caption: what an object is.
    """
    vision: VisionConfig = VisionConfig()
    text: TextConfig = TextConfig()
    s2: S2Config = S2Config()
    slim: SlimConfig = SlimConfig()
    psa: AwarenessConfig = AwarenessConfig()
    objects: ObjectConfig = ObjectConfig()
    object_tokens: Literal["none", "object", "object+referent"] = "object"
    """`none`: objects meet the decoder only in the head, as S2-MLLM was published (0.1);
    `object+referent`: objects also hear the referents next to them (4).
    """
    head: HeadConfig = HeadConfig()
    names: NamesConfig = NamesConfig()
    io: IoConfig = IoConfig()

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        if self.object_tokens == "none" and self.head.object_source == "hidden":
            raise ValueError("object_tokens: none needs head.object_source: input")
        if self.object_tokens == "object+referent" and not self.psa.enabled:
            raise ValueError("object_tokens: object+referent needs psa.enabled: true")
        if self.object_tokens == "none" and self.answers:
            raise ValueError("object_tokens: none can be trained for tasks: [ground] only")
        return self

    def trained_for(self, tasks: Sequence[str]) -> ModelConfig:
        """The same network, trained for these tasks. Raises ConfigError where it cannot be."""
        return parse_config(self.model_dump() | {"tasks": tuple(tasks)}, self.name)

    @property
    def answers(self) -> bool:
        """Whether it answers in words: then it has the part for it (answering.py)."""
        return self.tasks != ("ground",)

    @property
    def tokens_per_object(self) -> int:
        """Places that one object takes in the sequence (c in METHODS 4)."""
        if self.object_tokens == "none":
            return 0
        if self.objects.identifier == "added":
            return 1
        return 2 if self.object_tokens == "object" else 3

    @property
    def pooled_grid(self) -> int:
        """Tokens along one side of a view after pooling (27 -> 14, 14 -> 7)."""
        return -(-self.vision.grid // 2)


def parse_config(values: dict, source: str) -> ModelConfig:
    """Validate a plain dictionary. `source` names the file in the error."""
    try:
        return ModelConfig(**values)
    except (ValidationError, TypeError) as error:
        raise ConfigError(f"{source}: {_readable(error)}") from error


def load_config(path: str | Path) -> ModelConfig:
    """Read a model configuration from YAML. Raises ConfigError when missing, unreadable or
    invalid.
    """
    path = Path(path)
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of configuration keys")
    return parse_config(values, str(path))


def named_config(model: str) -> ModelConfig:
    """A shipped configuration by its name (`config/models/`), or a YAML file by its path."""
    return load_config(model if model.endswith(".yaml") else config_path(f"models/{model}.yaml"))


def _readable(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'configuration'}: {e['msg']}" for e in error.errors()
    )
