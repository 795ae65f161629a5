"""The joint network (METHODS 4): views and boxes of a scene in, grounded objects and words out.

S2-MLLM gives appearance, metric position and cross-view consistency; 3D-SLIM decides how objects
exchange information in the decoder and how the question reaches them; Spatial 3D-LLM gives
referents, places of the room that know their surroundings, and the geometry of pairs.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.errors import ConfigError, QueryError
from spatial3d_ros.model.answer_conditioning import AnswerContext, Subject, pair_code
from spatial3d_ros.model.attention import AttentionContext, Form
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.decoder import Decoder, positions
from spatial3d_ros.model.heads import GroundingHead, Namer
from spatial3d_ros.model.objects import ObjectRelations, ObjectTokens, see_objects
from spatial3d_ros.model.position import RayCode, coordinate_code, patch_centroids, pool_views
from spatial3d_ros.model.referents import Referents, SpatialAwareness, with_referent_objects
from spatial3d_ros.model.relations import (
    AttentionBias,
    EdgeEncoder,
    FrontEncoder,
    LabelBias,
    front_geometry,
    pair_geometry,
)
from spatial3d_ros.model.sequence import EncodedScene, ModelOutput, PromptTokens, QuestionBatch
from spatial3d_ros.model.slim_mask import object_mask, sequence_mask
from spatial3d_ros.model.structure import StructureEnhanced
from spatial3d_ros.model.vision import Projector, VisionTower


class SpatialModel(nn.Module):
    """`encode_views` once for each view, `encode_scene` once for each memory version, `forward` for
    each question. `attention` is the form of a question's attention (attention.py).
    """

    attention: Form = "auto"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, edge = config.text.width, config.objects.relation_hidden
        self.vision = VisionTower(config.vision)
        self.structure = (
            StructureEnhanced(config.vision.width, config.s2.se) if config.s2.se.enabled else None
        )
        self.projector = Projector(config.vision.width, width)
        self.ray = RayCode(width, config.s2.mpe) if config.s2.mpe.ray else None
        self.newline = nn.Parameter(torch.randn(width) * 0.02)
        self.decoder = Decoder(config.text)
        self.head = GroundingHead(width, config.head)
        if config.object_tokens != "none":
            self._build_objects(config, width, edge)
        # Last, so that all other parts start from the same weights with it and without.
        self.psa = SpatialAwareness(config) if config.psa.enabled else None

    def _build_objects(self, config: ModelConfig, width: int, edge: int) -> None:
        self.objects = ObjectTokens(config)
        self.edges = EdgeEncoder(edge)
        self.fronts = FrontEncoder(edge) if config.objects.fronts else None
        self.relations = ObjectRelations(config, config.objects.relation_layers)
        heads = config.text.heads
        self.bias = AttentionBias(edge, heads) if config.objects.decoder_bias else None
        self.label_bias = LabelBias(heads) if config.objects.label_bias else None
        self.readout = ObjectRelations(config, config.head.relation_layers)
        self.roles = nn.Linear(width, 2)
        self.name_class = Namer(width)
        self.name_color = Namer(width)
        self.answers = AnswerContext(width) if config.answers else None

    def encode_views(self, pixels: Tensor) -> Tensor:
        """Vision features of single views, which nothing later changes: (..., 3, S, S) -> (..., P,
        C).
        """
        return self.vision(pixels)

    def project_views(self, batch: SceneBatch) -> Tensor:
        """What all views say together, before any place is added: (B, V, P, D)."""
        patches = self.encode_views(batch.pixels) if batch.patches is None else batch.patches
        if self.structure is not None:
            patches = self.structure(patches, batch.view_valid)
        return self.projector(patches)

    def encode_scene(
        self, batch: SceneBatch, opening: PromptTokens, projected: Tensor | None = None
    ) -> EncodedScene:
        """All that does not depend on the question: encoded in the background, cached per version.

        `projected`: what `project_views` said of the batch, where the caller has it already.
        Objects with a non-finite box are left out (METHODS 2.5). Raises ConfigError when views and
        objects alone are more than the decoder takes.
        """
        finite = batch.boxes.isfinite().all(-1)
        batch = replace(
            batch,
            boxes=torch.where(finite[..., None], batch.boxes, 0.0),
            object_valid=batch.object_valid & finite,
        )
        features = tokens = referents = None
        if batch.has_views:
            projected = self.project_views(batch) if projected is None else projected
            features, tokens = self._scene_tokens(batch, projected)
            referents = None if self.psa is None else self.psa(batch, projected)
        seen = see_objects(batch, features, self.config)
        prefix_valid, embeddings = self._prefix(batch, tokens, referents, opening)
        self.require_places(prefix_valid, batch.object_valid, opening)
        objects = named = seen.visual
        edges = batch.boxes.new_empty(*batch.boxes.shape[:2], 0, 0)
        beside = added = None
        if self.config.object_tokens == "object+referent":
            beside = self.psa.beside(batch.boxes, referents)
            if self.config.objects.identifier == "added":
                beside, added = None, beside
        if self.config.object_tokens != "none":
            named = self.objects(batch, seen, self.decoder.embed, added)
            edges = self.edges(pair_geometry(batch.boxes))
            if self.fronts is not None:
                fronts = batch.boxes[..., :2] * torch.nan if batch.fronts is None else batch.fronts
                edges = edges + self.fronts(front_geometry(batch.boxes, fronts))
            objects = self.relations(named, edges, batch.object_valid)
        return EncodedScene(
            prefix=self.decoder.encode_prefix(embeddings, prefix_valid),
            prefix_valid=prefix_valid,
            objects=objects,
            visual=seen.visual,
            named=named,
            valid=batch.object_valid,
            edges=edges,
            among=object_mask(batch.boxes[..., :3], batch.object_valid, self.config.slim),
            pairs=pair_code(batch.boxes if self.config.answers else batch.boxes[:, :0]),
            labels=_labels(batch),
            aspects=self._aspects(named),
            beside=beside,
            referents=referents,
        )

    def propose(self, batch: SceneBatch) -> tuple[SceneBatch, Tensor]:
        """The same scenes with their referents as objects, where nothing else proposes any (methods
        4), and how likely each is one (B, N), 0 .. 1; the boxes of `batch` are not read. Raises
        ConfigError without `psa` or views.
        """
        if self.psa is None or not batch.has_views:
            raise ConfigError(
                f"model '{self.config.name}': referents can only be objects with psa.enabled: true "
                "and views; give proposals instead"
            )
        referents = self.psa(batch, self.project_views(batch))
        return with_referent_objects(batch, referents, self.config.objects.max_objects)

    def _scene_tokens(self, batch: SceneBatch, features: Tensor) -> tuple[Tensor, Tensor]:
        """Patch features with their place (B, V * P, D) and the pooled scene tokens (B, V * T,
        D).
        """
        vision, mpe = self.config.vision, self.config.s2.mpe
        if mpe.coord:
            centroid, usable = patch_centroids(
                batch.points, batch.valid, vision.patch_size, vision.grid
            )
            code = coordinate_code(centroid, features.shape[-1]) * usable[..., None]
            features = features + mpe.coord_scale * code.to(features.dtype)
        side = self.config.pooled_grid
        pooled = pool_views(features, vision.grid, side, mpe.pool)
        if self.ray is not None:
            pooled = pooled + self.ray(batch.rays)
        rows = pooled.unflatten(-2, (side, side))
        newline = self.newline.expand(*rows.shape[:-2], 1, -1)
        return features.flatten(1, 2), torch.cat([rows, newline], dim=-2).flatten(1, 3)

    def _prefix(
        self,
        batch: SceneBatch,
        tokens: Tensor | None,
        referents: Referents | None,
        opening: PromptTokens,
    ) -> tuple[Tensor, Tensor]:
        """[ system | views | referents | P0 ]: which places are real (B, S), embeddings (B, S,
        D).
        """
        count = len(batch.boxes)
        before = self.decoder.embed(opening.before).expand(count, -1, -1)
        after = self.decoder.embed(opening.after).expand(count, -1, -1)
        real = torch.ones(count, 1, dtype=torch.bool, device=before.device)
        parts, valid = [before], [real.expand(-1, before.shape[1])]
        if tokens is not None:
            each = tokens.shape[1] // batch.view_valid.shape[1]
            parts.append(tokens)
            valid.append(batch.view_valid.repeat_interleave(each, dim=1))
        if referents is not None:
            for part, found in zip((parts, valid), self.psa.tokens(referents), strict=True):
                part.append(found)
        parts.append(after)
        valid.append(real.expand(-1, after.shape[1]))
        return torch.cat(valid, dim=1), torch.cat(parts, dim=1)

    def forward(
        self, scene: EncodedScene, words: QuestionBatch, opening: PromptTokens
    ) -> ModelOutput:
        """Answer Q questions about their scenes in one pass of objects and words behind the shared
        prefix. Raises QueryError when a question is more than the decoder takes.
        """
        which, places = words.scene, self.config.tokens_per_object
        valid, edges = scene.valid[which], scene.edges[which]
        beside = None if scene.beside is None else scene.beside[which]
        slots = self._object_places(scene.objects[which], beside, opening)
        span = slots.shape[1]
        embeddings = torch.cat([slots, self.decoder.embed(words.ids).to(slots.dtype)], dim=1)
        real = torch.cat([valid.repeat_interleave(places, 1), words.real], dim=1)
        prefix_valid = scene.prefix_valid[which]
        self.require_places(prefix_valid, valid, opening, words.real)
        sight = AttentionContext(
            keep=sequence_mask(
                scene.among[which],
                real,
                F.pad(words.instruction & self.config.slim.inst, (span, 0)),
                prefix_valid[:, :0],
                places,
                causal=self.config.slim.objects == "causal",
            ),
            prefix=scene.prefix,
            prefix_valid=scene.prefix_valid,
            scenes=which,
            bias=self._bias(scene, words, opening) if places else None,
            objects=span,
            form=self.attention,
        )
        states = self.decoder(embeddings, self._places(real, span, prefix_valid), sight)
        said = states[:, span:]
        query = said[torch.arange(len(said), device=said.device), words.ground]
        candidates, roles, heard = scene.visual[which], None, None
        if places:
            objects = states[:, places - 1 : span : places]
            roles = self.roles(objects)
            hidden = self.config.head.object_source == "hidden"
            if hidden or self.config.answers:
                heard = self.readout(objects, edges, valid)
            candidates = heard if hidden else candidates
        return ModelOutput(self.head(query, candidates, valid), said, roles, heard, real, sight)

    def _bias(
        self, scene: EncodedScene, words: QuestionBatch, opening: PromptTokens
    ) -> Tensor | None:
        """What is learnt about how objects hear each other, and the words that name them: (Q,
        heads, N * c, N * c or N * c + L).
        """
        which, places = words.scene, self.config.tokens_per_object
        bias = None
        if self.bias is not None:
            bias = self.bias(scene.edges[which])
            bias = bias.repeat_interleave(places, 2).repeat_interleave(places, 3)
        if self.label_bias is None:
            return bias
        names = opening.names(scene.valid.shape[1])
        heard = self.label_bias(scene.labels[which], names, words.ids, words.instruction)
        heard = heard.repeat_interleave(places, 2)
        if bias is None:
            bias = heard.new_zeros(*heard.shape[:3], heard.shape[2])
        return torch.cat([bias, heard.to(bias.dtype)], -1)

    def subject(
        self,
        scene: EncodedScene,
        words: QuestionBatch,
        reading: ModelOutput,
        opening: PromptTokens,
        told: Tensor | None = None,
    ) -> Subject:
        """What questions are about, from the pass that read them; `told` (Q, N) bool replaces what
        the network would find, in training.
        """
        which = words.scene
        names = opening.names(scene.valid.shape[1])
        said = (names[:, None] == words.ids[:, None]) & words.instruction[:, None]
        rows = torch.arange(len(which), device=which.device)
        return self.answers(
            reading.heard,
            reading.states[rows, words.real.sum(1) - 1],
            scene.named[which],
            scene.aspects[which],
            scene.pairs[which],
            said.any(-1),
            scene.valid[which],
            told,
        )

    def word_logits(self, states: Tensor, subject: Subject | None) -> Tensor:
        """Next-word scores behind states (Q, D) or (Q, T, D): (..., vocab); an answer takes up what
        is known of its subject.
        """
        if subject is not None:
            states = self.answers.recital(states, subject.facts)
        return self.decoder.logits(states)

    def _aspects(self, named: Tensor) -> Tensor:
        if not self.config.answers:
            return named.new_zeros(*named.shape[:2], 2, 0)
        return torch.stack([self.name_class.aspect(named), self.name_color.aspect(named)], 2)

    def _places(self, real: Tensor, span: int, prefix_valid: Tensor) -> Tensor:
        """Position of each place of objects and words (Q, span + L), padding not counted."""
        start, each = prefix_valid.sum(1, keepdim=True), self.config.tokens_per_object
        place = positions(real, start)
        if span and self.config.slim.places == "shared":
            middle = (real[:, :span].sum(1, keepdim=True) // each - 1).clamp(min=0) // 2 * each
            within = torch.arange(span, device=real.device) % each
            place[:, :span] = start + middle + within
        return place

    def require_places(
        self,
        prefix_valid: Tensor,
        object_valid: Tensor,
        opening: PromptTokens,
        words: Tensor | None = None,
        new: int = 0,
    ) -> None:
        """Nothing is ever cut (METHODS 2.5): raise QueryError (ConfigError without words) when
        prefix, objects, words (all bool, padded) and `new` words are more places than there are.
        """
        limit, each = self.config.text.max_positions, self.config.tokens_per_object
        parts = (prefix_valid, object_valid, object_valid[:, :0] if words is None else words)
        if parts[0].shape[1] + each * parts[1].shape[1] + parts[2].shape[1] + new <= limit:
            return
        counts = torch.stack([part.sum(1) for part in parts], 1)
        totals = (counts * counts.new_tensor([1, each, 1])).sum(1) + new
        if totals.max() <= limit:
            return
        prefix, objects, length = counts[totals.argmax()].tolist()
        fixed = len(opening.before) + len(opening.after)
        fixed += 0 if self.psa is None else self.config.psa.places
        views = -((fixed - prefix) // (self.config.pooled_grid * (self.config.pooled_grid + 1)))
        raise (ConfigError if words is None else QueryError)(
            f"{int(totals.max())} places are needed, but the decoder of '{self.config.name}' has "
            f"{limit} (text.max_positions): {views} views and the opening take {prefix}, {objects} "
            f"objects {each * objects}, the words {length + new}; keep fewer views (max_views) or "
            "fewer objects (objects.max_objects), or ask a shorter question"
        )

    def _object_places(
        self, objects: Tensor, beside: Tensor | None, opening: PromptTokens
    ) -> Tensor:
        """Object vectors (Q, N, D) with the identifiers of their slots, and what the referents
        beside them say -> places in the sequence (Q, N * c, D). The object itself comes last, where
        its state is read. Where there are more slots than identifiers, these begin anew.
        """
        if self.config.object_tokens == "none":
            return objects[:, :0]
        names = self.decoder.embed(opening.names(objects.shape[1])).expand_as(objects)
        if self.config.objects.identifier == "added":
            return objects + names
        parts = [names, objects] if beside is None else [names, beside, objects]
        return torch.stack([part.to(objects.dtype) for part in parts], dim=2).flatten(1, 2)


def _labels(batch: SceneBatch) -> Tensor:
    if batch.labels is not None:
        return batch.labels
    return batch.object_valid.new_zeros(*batch.object_valid.shape, 0, dtype=torch.long)
