"""Setup of a training run: tokenizer, network, rendered rooms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.checkpoint import CONFIG, TOKENIZER, model_folder
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.objects import label_embeddings
from spatial3d_ros.model.tokens import (
    load_tokenizer,
    special_tokens,
    with_special_tokens,
)
from spatial3d_ros.research.datasets.annotations import read_annotations
from spatial3d_ros.research.datasets.scan_views import ScanViews, fill_cache, tower_key
from spatial3d_ros.research.homes.referring_expressions import all_nouns, expression_corpus
from spatial3d_ros.research.language.qa_generator import answer_corpus
from spatial3d_ros.research.language.questions import vocabulary_corpus
from spatial3d_ros.research.rooms.catalog import Catalog
from spatial3d_ros.research.rooms.view_store import ViewStore
from spatial3d_ros.research.training.checkpoints import load_matching_weights
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.objective import Objective
from spatial3d_ros.research.training.presets import Preset
from spatial3d_ros.research.training.pretrained import load_pretrained
from spatial3d_ros.research.training.reconstruction import load_guidance
from spatial3d_ros.research.training.room_features import RoomFeatures
from spatial3d_ros.research.training.tokenizer import extend_tokenizer, train_tokenizer
from spatial3d_ros.research.training.validation import VALIDATION_FIRST
from spatial3d_ros.tasks.prompt import ANSWER_TASK, END, GROUND_TASK, OBJECTS, START, SYSTEM, Prompt

TOWER = ("vision.", "objects.appearance.", "crop_names.")
"""Names of the tensors that the stages before the joint one train."""
READS_TOWER = ("feature_norm.", "projector.")
"""Names of the tensors that fit one tower only; with another they start from random weights."""


def initial_network(
    config: TrainConfig, recipe: Preset, out: Path
) -> tuple[SpatialModel, Tokenizer]:
    """The network that training starts from, and its tokenizer.

    `config.init` is a model folder, or a folder of public weights (pretrained.py). Without it,
    weights are random and a tokenizer is trained on the sentences of the questions. `config.tower`
    is the model folder of the first stage.
    Raises ConfigError if the vocabulary of the configuration is smaller than the tokenizer's.
    """
    shape = recipe.configure(load_config(config.model)).trained_for(config.tasks)
    folder = None if config.init is None else model_folder(config.init)
    if folder is not None and not (folder / CONFIG).is_file():
        number = torch.float32 if config.precision == "no" else torch.bfloat16
        public = load_pretrained(folder, shape, number)
        start_names(public.model, public.tokenizer)
        return public.model, public.tokenizer
    tokenizer, replaced = _tokenizer(config, shape, folder, out)
    words = tokenizer.get_vocab_size()
    if words > shape.text.vocab:
        raise ConfigError(
            f"{config.model}: text.vocab {shape.text.vocab}, but the tokenizer of {folder or out} "
            f"has {words} words; set it to at least {words}"
        )
    model = SpatialModel(shape)
    fresh = {n: t.clone() for n, t in model.state_dict().items() if n.startswith(READS_TOWER)}
    if folder is not None:
        load_matching_weights(model, folder, config.init_parts)
        table = model.decoder.embed.weight.data
        # A new token starts as the scaled sum of the tokens that it replaces.
        for token, parts in replaced.items():
            table[token] = table[parts].sum(0) / len(parts) ** 0.5
    if config.tower is not None:
        load_matching_weights(model, model_folder(config.tower), TOWER)
        model.load_state_dict(fresh, strict=False)
    start_names(model, tokenizer)
    return model, tokenizer


def start_names(model: SpatialModel, tokenizer: Tokenizer) -> None:
    """Names of heads that are all zero start from the token embeddings of their words."""
    prompt = Prompt(tokenizer, model.config.s2.category_mode)
    for head, namer in model.names.items():
        if not namer.names.any():
            ids = prompt.name_ids(model.config.names.heads[head])
            embeddings = label_embeddings(ids, model.decoder.embed)[1]
            namer.names.data.copy_(embeddings.detach())


def room_stores(config: TrainConfig) -> tuple[ViewStore | None, ViewStore | None]:
    """Rendered rooms for training and held-out ones. A room is rendered when it is first read."""
    rendered, held_out = config.rendered, config.validation
    if not rendered.batch:
        return None, None
    folder, of = Path(rendered.folder), (rendered.size, rendered.catalog, rendered.objects)
    return (
        ViewStore(folder, rendered.rooms, rendered.views, rendered.first, *of),
        ViewStore(folder, held_out.rooms, held_out.views, VALIDATION_FIRST, *of),
    )


def start_guidance(config: TrainConfig, recipe: Preset, objective: Objective) -> None:
    """Load the trained branch of reconstruction guidance, if the run has one.

    Raises ConfigError if the preset freezes a decoder that was not trained: it would only pass
    noise to the network.
    """
    trained = any(value.requires_grad for value in objective.model.parameters())
    alone = not trained or not any(w for name, w in objective.weights.items() if name != "guide")
    objective.only_guidance = alone and objective.guidance is not None
    if config.guidance is not None and objective.guidance is not None:
        load_guidance(Path(config.guidance), objective.guidance)
    elif objective.guidance is not None and "guidance.decoder" in recipe.frozen:
        raise ConfigError(
            f"guidance: the preset {recipe.name} freezes the decoder of guidance, so it needs a "
            "trained one; train it with the preset guidance, then give its guidance.safetensors"
        )


def with_cached_scans(
    config: TrainConfig, model: SpatialModel, device: torch.device
) -> TrainConfig:
    """The same run, with the tower's features of all scenes in a folder of this tower's own below
    `scans.cache`; those that it lacks are computed.

    Raises ConfigError if a part of the tower is trained, so that its features change; StorageError
    if the disk is too small.
    """
    scans = config.scans
    assert scans.cache is not None
    if any(value.requires_grad for value in model.vision.parameters()):
        raise ConfigError(
            f"scans.cache: {scans.cache}: the preset {config.preset} trains a part of the vision "
            "tower, so its features change; freeze `vision` and leave it out of lora.parts, or "
            "remove the cache"
        )
    folder = Path(scans.cache) / tower_key(model.vision)
    config = config.model_copy(update={"scans": scans.model_copy(update={"cache": str(folder)})})
    views = ScanViews(Path(scans.folder), model.config, scans.views, scans.choice, folder)
    asked = [*read_annotations(scans.train), *read_annotations(scans.held_out)]
    fill_cache(views, sorted({one.scene_id for one in asked}), model.vision.to(device), device)
    return config


def with_cached_rooms(
    config: TrainConfig, model: SpatialModel, stores: Sequence[ViewStore | None]
) -> TrainConfig:
    """The same run, with the tower's features of all stored rooms in a folder of their own below
    `rendered.cache`; those that it lacks are computed on the CPU.

    Raises ConfigError if a part of the tower is trained, or if the network sees a part of each
    picture only (`vision.resize: crop`) or crops of objects.
    """
    rendered, vision = config.rendered, model.config.vision
    assert rendered.cache is not None
    if any(value.requires_grad for value in model.vision.parameters()):
        raise ConfigError(
            f"rendered.cache: {rendered.cache}: the preset {config.preset} trains the vision "
            "tower, so its features change; freeze `vision`, or remove the cache"
        )
    if vision.resize != "stretch" or "crops" in model.config.objects.channels:
        raise ConfigError("rendered.cache: needs vision.resize: stretch and no channel crops")
    names = {store.name for store in stores if store is not None}
    if len(names) > 1:
        raise ConfigError(
            f"rendered.cache: training and validation differ: {', '.join(sorted(names))}; "
            "give validation.views the number of rendered.views"
        )
    folder = Path(rendered.cache) / f"{tower_key(model.vision)}_{vision.image_size}" / names.pop()
    for store in stores:
        if store is not None:
            RoomFeatures(folder).fill(store, model.vision, vision)
    cached = rendered.model_copy(update={"cache": str(folder)})
    return config.model_copy(update={"rendered": cached})


def _tokenizer(
    config: TrainConfig, model: ModelConfig, folder: Path | None, out: Path
) -> tuple[Tokenizer, dict[int, list[int]]]:
    """The tokenizer of a run, and new token id -> ids of the tokens that it replaces.

    The tokenizer of `init` is extended by the words of home rooms up to the vocabulary size.
    """
    # The first stage has no words.
    folder = None if folder is None or not (folder / TOKENIZER).is_file() else folder
    path = out / TOKENIZER if folder is None or config.homes.batch else folder / TOKENIZER
    homes = config.homes.batch and not path.is_file()
    sentences = list(expression_corpus(config.homes.sentences, config.seed)) if homes else []
    if homes:
        sentences += [f" {noun}" for noun in all_nouns() for _ in range(3)]
    if folder is not None and homes:
        old = load_tokenizer(folder / TOKENIZER)
        tokenizer, replaced = extend_tokenizer(old, sentences, model.text.vocab)
        tokenizer.save(str(path))
        return with_special_tokens(tokenizer, special_tokens(model)), replaced
    if folder is None and not path.is_file():
        fixed = [
            START,
            SYSTEM,
            END,
            OBJECTS,
            GROUND_TASK,
            "user\n",
            "assistant\n",
            "system\n",
            " nothing here fits",
        ]
        fixed += [
            f" the {color} {name}" for color in model.names.colors for name in model.names.classes
        ]
        asked_of = config.rendered.catalog
        catalog: Catalog = "full" if asked_of == "both" else asked_of
        asked = list(vocabulary_corpus(config.tokenizer_sentences, config.seed, catalog=catalog))
        if config.answers.questions:
            asked += [ANSWER_TASK] * 50
            asked += answer_corpus(config.tokenizer_sentences, config.seed, catalog)
        train_tokenizer([*fixed * 50, *asked, *sentences], model.text.vocab).save(str(path))
    return with_special_tokens(load_tokenizer(path), special_tokens(model)), {}
