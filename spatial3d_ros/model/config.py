"""One configuration class for every size of the network; `config/models/*.yaml` holds the values.

Keys under `s2`, `slim` and `psa` are named after the switches of the three papers. An unknown key
or an invalid value raises `ConfigError` with the file, the key and what is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, ValidationError, model_validator

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.names_config import NamesConfig, StrictConfig
from spatial3d_ros.resources import config_path
from spatial3d_ros.storage import read_yaml


class VisionConfig(StrictConfig):
    """SigLIP-style vision tower (METHODS 1.2). `layers` counts the layers that run: the last one of
    the public tower is omitted.
    """

    image_size: int = Field(384, ge=16)
    patch_size: int = Field(14, ge=4)
    width: int = 1152
    mlp: int = 4304
    layers: int = 26
    heads: int = 16
    stem: Literal["patch", "conv"] = "patch"
    """`patch`: SigLIP, transformer layers over patches; `conv`: convolutions of stride 8, then
    `layers` dilated residual blocks (`mlp` and `heads` are not used).
    """
    resize: Literal["crop", "stretch"] = "crop"
    """`crop`: the centre square, as in the release; `stretch`: the whole field of view."""
    resample: Literal["area", "bicubic"] = "area"
    """Interpolation of images that shrink; `bicubic` with antialiasing, as SigLIP's processor."""
    feature_norm: Literal["none", "layer"] = "none"
    """Normalisation of the features before the projector. `none`: SigLIP's last-but-one layer as
    published (METHODS 1.2), for pretrained towers. `layer`: layer norm, for towers trained from
    random weights. Whether its absence killed the projector of `tiny` is not proven.
    """

    @model_validator(mode="after")
    def _stride(self) -> VisionConfig:
        if self.stem == "conv" and self.patch_size != 8:
            raise ValueError(f"stem: conv has patches of 8 pixels, not {self.patch_size}")
        return self

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size


class TextConfig(StrictConfig):
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


class StructureConfig(StrictConfig):
    """Structure-enhanced module, S2-MLLM (METHODS 1.3)."""

    enabled: bool = True
    grouping: Literal["clean", "release"] = "clean"
    """`clean` groups tokens as the paper describes, `release` as the public code does."""
    order: Literal["inter_intra", "intra_inter"] = "inter_intra"
    init: Literal["zero", "default"] = "zero"
    heads: int = 12
    drop_path: float = Field(0.1, ge=0.0, lt=1.0)


class PositionConfig(StrictConfig):
    """Multi-level position encoding, S2-MLLM (METHODS 1.5)."""

    coord: bool = True
    coord_on: tuple[Literal["views", "objects"], ...] = ("views", "objects")
    """What gets the coordinate code: tokens of views, features of objects."""
    coord_scale: float = Field(1.0, gt=0.0)
    """Factor of the coordinate code; 1 as published, with features of much larger norm."""
    ray: bool = True
    ray_scale: float = 5.0
    ray_scale_learnt: bool = False
    ray_hidden: int = 512
    pool: Literal["bilinear", "avg"] = "bilinear"


class GuidanceConfig(StrictConfig):
    """Reconstruction guidance, S2-MLLM (METHODS 1.9): a branch that is built in training only."""

    enabled: bool = False
    backend: Literal["own", "external"] = "own"
    """`external`: the branch ends in a linear layer to `width`; the caller passes the decoder."""
    weight: float = Field(0.3, ge=0.0)
    targets: Literal["own", "shuffled"] = "own"
    """`shuffled`: the points of another room of the batch, a control that teaches nothing."""
    local: bool = False
    """Also reconstruct every view in its own camera frame."""
    width: int = 256
    layers: int = Field(4, ge=1)
    heads: int = 8
    alpha: float = Field(0.2, gt=0.0)
    """Weight of the log-confidence term, which keeps the confidence above its minimum."""


class LanguageConfig(StrictConfig):
    """Language loss, S2-MLLM (METHODS 1.10)."""

    weight: float = Field(1.0, ge=0.0)


class S2Config(StrictConfig):
    """S2-MLLM (METHODS 1)."""

    se: StructureConfig = StructureConfig()
    mpe: PositionConfig = PositionConfig()
    sg: GuidanceConfig = GuidanceConfig()
    lang: LanguageConfig = LanguageConfig()
    view_tokens: bool = True
    """Tokens of the views in the sequence; without them patches reach the objects alone, as in
    Chat-Scene (METHODS 2.1).
    """
    category_mode: Literal["none", "generate", "given"] = "none"
    """Text before `<ground>` (METHODS 1.12): none; the class name that the network writes; or the
    true one, for diagnosis only.
    """


class SlimConfig(StrictConfig):
    """Attention masks of 3D-SLIM (METHODS 2)."""

    objects: Literal["causal", "full", "diagonal", "fixed_n", "geo"] = "geo"
    inst: bool = True
    on: Literal["objects", "views"] = "objects"
    """What the masks are of: `views` are the tokens of views, with the mean point of each as its
    centre, in a network without object tokens.
    """
    bounds: Literal["fixed", "learnt"] = "fixed"
    """`learnt`: k_min and k_max are only where training starts (`slim_mask.LearntBounds`)."""
    places: Literal["sequence", "shared"] = "sequence"
    """Positions of objects in the decoder: consecutive as published, or the same for all objects,
    so that only the identifiers depend on their order.
    """
    k_min: int = Field(2, ge=0)
    k_max: int = Field(10, ge=0)
    fixed_n: int = Field(5, ge=0)
    space: Literal["normalized", "metric"] = "normalized"
    density: Literal["mean_distance", "gaussian"] = "mean_distance"
    sigma: float | None = Field(None, gt=0.0, allow_inf_nan=False)
    """Standard length of the gaussian density, in the unit of `space`; None: 0.3 of the normalized
    cube, or 1 m.
    """
    robust: bool = False
    """Clip the density at the scene's 5th and 95th percentile, against outliers."""

    @model_validator(mode="after")
    def _ordered(self) -> SlimConfig:
        if self.k_min > self.k_max:
            raise ValueError(f"k_min ({self.k_min}) must not exceed k_max ({self.k_max})")
        if self.bounds == "learnt" and (self.objects, self.on) != ("geo", "objects"):
            raise ValueError("bounds: learnt needs objects: geo and on: objects")
        return self


class AwarenessConfig(StrictConfig):
    """Progressive spatial awareness, Spatial 3D-LLM (METHODS 3.2). Without its three stages, the
    referents are seeds chosen by farthest point sampling.
    """

    enabled: bool = False
    source: Literal["patches", "points"] = "patches"
    """Seeds are patch features of the vision tower, or colored points through a point encoder."""
    intra: bool = True
    inter: Literal["none", "gcn", "edgeconv"] = "gcn"
    context: bool = True
    points: int = Field(40_000, ge=1)
    """Points that the encoder reads (`points` only)."""
    seeds: int = Field(1024, ge=4)
    referents: int = Field(256, ge=1)
    tokens: int = Field(64, ge=0)
    """Most referents in the sequence, those of highest objectness; 0: none."""
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
    def max_tokens(self) -> int:
        """Most tokens of referents, scene token included, in the sequence."""
        return min(self.tokens, self.referents) + (self.context and self.tokens > 0)


ChannelName = Literal[
    "geometry", "patches", "crops", "points", "labels", "color", "front", "referents"
]
CHANNELS: tuple[ChannelName, ...] = get_args(ChannelName)


class ObjectConfig(StrictConfig):
    """Object tokens (METHODS 1.7, 4) and their inputs besides pixels."""

    channels: tuple[ChannelName, ...] = ()
    """Channels of docs/INTERFACES.md, section 1, each with a norm and an "absent" vector of its
    own; without any, the sum of patches, box, mean color and label of the first weights.
    """
    max_objects: int = Field(100, ge=1, le=1000)
    member_fraction: float = Field(0.5, gt=0.0, le=1.0)
    """Least fraction of a patch's pixels inside a box for the patch to belong to the object."""
    identifier: Literal["token", "added"] = "token"
    """`token`: the slot's identifier and the referent feature are tokens of their own; `added`:
    both are added to the object's single token.
    """
    relation_layers: int = Field(2, ge=0)
    """All-pairs layers over objects with a learned bias from offset, distance and size ratio."""
    relation_hidden: int = 64
    decoder_bias: bool = True
    """Add the same kind of bias to the decoder's object-to-object attention."""
    label_bias: bool = False
    """A learned attention bias links each object token to the query tokens that match its label."""
    fronts: bool = False
    """Use the direction of an object's front, if known, in the pair geometry."""
    predicted_names: bool = False
    """Add the names that the heads of `names` expect to the decoder's inputs."""
    crop_names: bool = False
    """Read names off the places of crops too (`model/crop_names.py`); needs the channel crops."""


class HeadConfig(StrictConfig):
    """Grounding head (METHODS 1.8); candidates are object features before or after the decoder."""

    object_source: Literal["input", "hidden", "identifier", "referents"] = "hidden"
    """`input`: features before the decoder; `hidden`: final states; `identifier`: logits of the
    identifiers as the next token after `<ground>`, as Chat-Scene answers; `referents`: the
    referents of `psa` in place of objects.
    """
    relation_layers: int = Field(0, ge=0)
    """All-pairs layers over the objects' final states, which depend on the question (`hidden`
    only).
    """
    width: int | None = None
    temperature: float = Field(0.07, gt=0.0)


class IoConfig(StrictConfig):
    """Format of coordinates in the network's text (METHODS 3.3)."""

    loc_format: Literal["text", "tokens"] = "text"
    """`text`: numbers of two decimals, for any tokenizer; `tokens`: 1000 tokens of 2 cm each."""


Task = Literal["ground", "distance", "ask", "caption"]


class ModelConfig(StrictConfig):
    """Everything that determines the shapes of the weights and the computation."""

    name: str
    tasks: tuple[Task, ...] = ("ground",)
    """Tasks the weights were trained for, recorded by training. ground: scores of objects.
    distance: metres written by the network. ask: free-form answers. caption: what an object is.
    """
    vision: VisionConfig = VisionConfig()
    text: TextConfig = TextConfig()
    s2: S2Config = S2Config()
    slim: SlimConfig = SlimConfig()
    psa: AwarenessConfig = AwarenessConfig()
    objects: ObjectConfig = ObjectConfig()
    object_tokens: Literal["none", "object", "object+referent", "chat_scene"] = "object"
    """`none`: objects are used by the head only, as S2-MLLM was published (METHODS 0.1);
    `object+referent`: objects also receive the referents near them (METHODS 4); `chat_scene`: an
    identifier, points and patches, without boxes (METHODS 2.1).
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
        if self.object_tokens == "chat_scene" and (
            self.objects.channels or self.objects.identifier != "token"
            or self.head.object_source in ("hidden", "referents") or self.answers
        ):  # fmt: skip
            raise ValueError(
                "object_tokens: chat_scene needs objects.identifier: token, no objects.channels, "
                "head.object_source: identifier or input, and tasks: [ground]"
            )
        if self.head.object_source == "identifier" and self.tokens_per_object < 2:
            raise ValueError("head.object_source: identifier needs objects.identifier: token")
        if self.head.object_source == "referents" and not (
            self.psa.enabled and self.object_tokens == "none" and not self.names.from_views
        ):
            raise ValueError(
                "head.object_source: referents needs psa.enabled: true, object_tokens: none and "
                "names.from_views: false"
            )
        if self.slim.on == "views" and not (self.object_tokens == "none" and self.s2.view_tokens):
            raise ValueError("slim.on: views needs object_tokens: none and s2.view_tokens: true")
        if self.objects.crop_names and "crops" not in self.objects.channels:
            raise ValueError("objects.crop_names: true needs crops in objects.channels")
        if self.objects.channels and self.objects.identifier != "added":
            raise ValueError("objects.channels needs objects.identifier: added")
        if self.object_tokens == "none" and self.answers:
            raise ValueError("object_tokens: none can be trained for tasks: [ground] only")
        return self

    def trained_for(self, tasks: Sequence[str]) -> ModelConfig:
        """The same configuration with these tasks. Raises ConfigError if they are not possible."""
        return parse_config(self.model_dump() | {"tasks": tuple(tasks)}, self.name)

    @property
    def answers(self) -> bool:
        """Whether the network answers in words and so has an `AnswerContext`."""
        return self.tasks != ("ground",)

    @property
    def tokens_per_object(self) -> int:
        """Positions that one object takes in the sequence (c in METHODS 4)."""
        if self.object_tokens == "none":
            return 0
        if self.object_tokens == "chat_scene":
            return 3
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
