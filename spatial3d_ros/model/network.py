"""The joint network (METHODS 4): views and boxes of a scene in, grounded objects and text out.

S2-MLLM contributes appearance, metric position and cross-view consistency; 3D-SLIM the attention
masks among objects and between objects and question; Spatial 3D-LLM the referents (features of
points in the room and their surroundings) and the geometry of pairs.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.answer_conditioning import AnswerCondition, AnswerContext, pair_code
from spatial3d_ros.model.attention import AttentionContext, AttentionForm, KeyValues
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.decoder import Decoder, position_ids
from spatial3d_ros.model.heads import GroundingHead, PredictedNames, name_directions, name_heads
from spatial3d_ros.model.object_channels import ObjectChannels
from spatial3d_ros.model.objects import (
    ObjectRelations,
    ObjectTokens,
    PooledObjects,
    pool_object_features,
)
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
from spatial3d_ros.model.sequence import (
    EncodedScene,
    ModelOutput,
    PromptTokens,
    QuestionBatch,
    check_sequence_length,
)
from spatial3d_ros.model.slim_mask import object_mask, sequence_mask
from spatial3d_ros.model.structure import StructureEnhanced
from spatial3d_ros.model.vision import Projector, VisionTower, feature_norm


class SpatialModel(nn.Module):
    """`encode_views` runs once for each view, `encode_scene` for each map version, `forward` for
    each batch of questions. `attention` selects the form of attention (attention.py).
    """

    attention: AttentionForm = "auto"

    # The attribute names are tensor names in the weight files.
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, edge = config.text.width, config.objects.relation_hidden
        self.vision = VisionTower(config.vision)
        se = config.s2.se
        self.structure = StructureEnhanced(config.vision.width, se) if se.enabled else None
        self.feature_norm = feature_norm(config.vision)
        self.projector = Projector(config.vision.width, width)
        self.ray = RayCode(width, config.s2.mpe) if config.s2.mpe.ray else None
        self.newline = nn.Parameter(torch.randn(width) * 0.02)
        self.decoder = Decoder(config.text)
        self.head = GroundingHead(width, config.head)
        self.answers: AnswerContext | None = None
        self.predicted: PredictedNames | None = None
        self.names = nn.ModuleDict()
        if config.object_tokens != "none":
            self._build_objects(config, width, edge)
        # Last, so that all other parts start from the same weights with it and without.
        self.psa = SpatialAwareness(config) if config.psa.enabled else None

    def _build_objects(self, config: ModelConfig, width: int, edge: int) -> None:
        self.objects: ObjectTokens | ObjectChannels = (
            ObjectChannels(config) if config.objects.channels else ObjectTokens(config)
        )
        self.edges = EdgeEncoder(edge)
        self.fronts = FrontEncoder(edge) if config.objects.fronts else None
        self.relations = ObjectRelations(config, config.objects.relation_layers)
        heads = config.text.heads
        self.bias = AttentionBias(edge, heads) if config.objects.decoder_bias else None
        self.label_bias = LabelBias(heads) if config.objects.label_bias else None
        self.readout = ObjectRelations(config, config.head.relation_layers)
        self.roles = nn.Linear(width, 2)
        self.names = name_heads(width, config.names)
        if config.objects.predicted_names:
            self.predicted = PredictedNames(width, config.names, heads)
        self.answers = AnswerContext(width) if config.answers else None

    def encode_views(self, pixels: Tensor) -> Tensor:
        """Features of single views, independent of other views: (..., 3, S, S) -> (..., P, C)."""
        return self.vision(pixels)

    def encode_crops(self, pixels: Tensor) -> Tensor:
        """Crops of objects (..., 3, s, s) -> mean of the tower's patch features (..., C)."""
        return self.vision(pixels).mean(-2)

    def _with_crops(self, batch: SceneBatch) -> SceneBatch:
        """The batch with features of its crops; those of missing crops are zero."""
        pixels, valid = batch.crop_pixels, batch.crop_valid
        if batch.crops is not None or pixels is None or valid is None:
            return batch
        found = self.encode_crops(pixels[valid])
        crops = found.new_zeros(*valid.shape, found.shape[-1])
        return replace(batch, crops=crops.masked_scatter(valid[..., None], found))

    def project_views(self, batch: SceneBatch) -> Tensor:
        """Features (B, V, P, D) of all views after cross-view attention and projector, no codes."""
        views = batch.views
        patches = self.encode_views(views.pixels) if batch.patches is None else batch.patches
        return self.project_patches(patches, views.view_valid)

    def project_patches(self, patches: Tensor, view_valid: Tensor) -> Tensor:
        """The same from features of the vision tower (B, V, P, C), view_valid (B, V)."""
        if self.structure is not None:
            patches = self.structure(patches, view_valid)
        return self.projector(self.feature_norm(patches))

    def encode_scene(
        self, batch: SceneBatch, prompt_tokens: PromptTokens, projected: Tensor | None = None
    ) -> EncodedScene:
        """Everything that does not depend on a question; cached for each map version.

        `projected`: result of `project_views` on the batch, if the caller already has it. Objects
        with a non-finite box are left out (METHODS 2.5). Raises ConfigError if views and objects
        exceed the decoder's positions.
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
        pooled = pool_object_features(batch, features, self.config)
        if self.config.objects.channels:
            assert isinstance(self.objects, ObjectChannels)
            batch, pooled = self.objects.dropped(self._with_crops(batch), pooled)
        prefix_valid, embeddings = self._prefix(batch, tokens, referents, prompt_tokens)
        check_sequence_length(self.config, prefix_valid, batch.object_valid, prompt_tokens)
        prefix = self.decoder.encode_prefix(embeddings, prefix_valid)
        return self.with_prefix(prefix, prefix_valid, referents, batch, pooled)

    def with_prefix(
        self,
        prefix: KeyValues,
        prefix_valid: Tensor,
        referents: Referents | None,
        batch: SceneBatch,
        pooled: PooledObjects,
    ) -> EncodedScene:
        """The objects of a batch, with their `pooled` features, behind an encoded prefix."""
        features, embeddings, edges, tokens, shares = self._encode_objects(batch, pooled, referents)
        made = self.objects if self.config.objects.channels else None
        count = features.shape[1] if self.config.answers else 0
        looks = made.appearance_vectors(batch) if isinstance(made, ObjectChannels) else None
        return EncodedScene(
            prefix=prefix,
            prefix_valid=prefix_valid,
            object_embeddings=embeddings,
            visual=pooled.visual,
            object_features=features,
            valid=batch.object_valid,
            edges=edges,
            object_mask=object_mask(batch.boxes[..., :3], batch.object_valid, self.config.slim),
            pair_codes=pair_code(batch.boxes if self.config.answers else batch.boxes[:, :0]),
            labels=batch.label_ids,
            name_shares=shares,
            label_shares=None if batch.labels is None else batch.shares_of_labels,
            appearance=looks,
            name_embeddings=name_directions(self.names, features[:, :count]),
            referent_tokens=tokens,
            referents=referents,
        )

    def propose(self, batch: SceneBatch) -> tuple[SceneBatch, Tensor]:
        """The same scenes with their referents as objects (METHODS 4), for use without another
        source of proposals, and the objectness (B, N) in [0, 1]. The boxes of `batch` are not read.
        Raises ConfigError without `psa` or without views.
        """
        if self.psa is None or not batch.has_views:
            raise ConfigError(
                f"model '{self.config.name}': referents can only be objects with psa.enabled: true "
                "and views; give proposals instead"
            )
        referents = self.psa(batch, self.project_views(batch))
        return with_referent_objects(batch, referents, self.config.objects.max_objects)

    def _scene_tokens(self, batch: SceneBatch, features: Tensor) -> tuple[Tensor, Tensor]:
        """Patch features with their coordinate code (B, V * P, D) and the pooled scene tokens with
        newline tokens (B, V * T, D).
        """
        vision, mpe, views = self.config.vision, self.config.s2.mpe, batch.views
        if mpe.coord:
            centroid, usable = patch_centroids(
                views.points, views.valid, vision.patch_size, vision.grid
            )
            code = coordinate_code(centroid, features.shape[-1]) * usable[..., None]
            features = features + mpe.coord_scale * code.to(features.dtype)
        side = self.config.pooled_grid
        pooled = pool_views(features, vision.grid, side, mpe.pool)
        if self.ray is not None:
            pooled = pooled + self.ray(views.rays)
        rows = pooled.unflatten(-2, (side, side))
        newline = self.newline.expand(*rows.shape[:-2], 1, -1)
        return features.flatten(1, 2), torch.cat([rows, newline], dim=-2).flatten(1, 3)

    def _encode_objects(
        self, batch: SceneBatch, pooled: PooledObjects, referents: Referents | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """Object features and decoder inputs (B, N, D), edge features (B, N, N, E), the referent
        tokens (B, N, D) if objects have such, and `EncodedScene.name_shares`.
        """
        if self.config.object_tokens == "none":
            edges = batch.boxes.new_empty(*batch.boxes.shape[:2], 0, 0)
            return pooled.visual, pooled.visual, edges, None, None
        tokens = added = None
        if self.config.object_tokens == "object+referent":
            assert self.psa is not None
            tokens = self.psa.referent_tokens(batch.boxes, referents)
            if self.config.objects.identifier == "added":
                tokens, added = None, tokens
        features = self.objects(batch, pooled, self.decoder.embed, added)
        edges = self.edges(pair_geometry(batch.boxes))
        if self.fronts is not None:
            fronts = batch.boxes[..., :2] * torch.nan if batch.fronts is None else batch.fronts
            edges = edges + self.fronts(front_geometry(batch.boxes, fronts))
        named, shares = features, None
        if self.predicted is not None:
            named, shares = self.predicted(features, self.names)
        embeddings = self.relations(named, edges, batch.object_valid)
        return features, embeddings, edges, tokens, shares

    def _prefix(
        self,
        batch: SceneBatch,
        tokens: Tensor | None,
        referents: Referents | None,
        prompt_tokens: PromptTokens,
    ) -> tuple[Tensor, Tensor]:
        """[ system | views | referents | P0 ]: valid (B, S), embeddings (B, S, D)."""
        count = len(batch.boxes)
        before = self.decoder.embed(prompt_tokens.before).expand(count, -1, -1)
        after = self.decoder.embed(prompt_tokens.after).expand(count, -1, -1)
        always = torch.ones(count, 1, dtype=torch.bool, device=before.device)
        parts, valid = [before], [always.expand(-1, before.shape[1])]
        if tokens is not None:
            view_valid = batch.views.view_valid
            parts.append(tokens)
            valid.append(view_valid.repeat_interleave(tokens.shape[1] // view_valid.shape[1], 1))
        if referents is not None and self.psa is not None:
            referent_tokens, referent_valid = self.psa.sequence_tokens(referents)
            parts.append(referent_tokens)
            valid.append(referent_valid)
        parts.append(after)
        valid.append(always.expand(-1, after.shape[1]))
        return torch.cat(valid, dim=1), torch.cat(parts, dim=1)

    def forward(
        self, scene: EncodedScene, questions: QuestionBatch, prompt_tokens: PromptTokens
    ) -> ModelOutput:
        """Run Q questions in one pass behind the prefix. Raises QueryError if one is too long."""
        index, per_object = questions.scene, self.config.tokens_per_object
        valid, edges = scene.valid[index], scene.edges[index]
        objects = self._object_tokens(scene, index, prompt_tokens)
        span = objects.shape[1]
        text = self.decoder.embed(questions.ids).to(objects.dtype)
        real = torch.cat([valid.repeat_interleave(per_object, 1), questions.real], dim=1)
        prefix_valid = scene.prefix_valid[index]
        check_sequence_length(self.config, prefix_valid, valid, prompt_tokens, questions.real)
        context = AttentionContext(
            mask=sequence_mask(
                scene.object_mask[index],
                real,
                F.pad(questions.instruction & self.config.slim.inst, (span, 0)),
                prefix_valid[:, :0],
                per_object,
                causal=self.config.slim.objects == "causal",
            ),
            prefix=scene.prefix,
            prefix_valid=scene.prefix_valid,
            scenes=index,
            bias=self._bias(scene, questions, text, prompt_tokens) if per_object else None,
            object_length=span,
            form=self.attention,
        )
        shared = span if self.config.slim.places == "shared" else 0
        positions = position_ids(real, prefix_valid.sum(1, keepdim=True), shared, per_object)
        states = self.decoder(torch.cat([objects, text], dim=1), positions, context)
        text_states = states[:, span:]
        query = text_states[torch.arange(len(states), device=states.device), questions.ground]
        candidates, roles, contextual = scene.visual[index], None, None
        if per_object:
            object_states = states[:, per_object - 1 : span : per_object]
            roles = self.roles(object_states)
            hidden = self.config.head.object_source == "hidden"
            if hidden or self.config.answers:
                contextual = self.readout(object_states, edges, valid)
                candidates = contextual if hidden else candidates
        scores = self.head(query, candidates, valid)
        if self.predicted is not None and scene.name_shares is not None:
            named = scene.name_shares[index], self.names, text, questions.instruction
            scores = scores + self.predicted.evidence(*named)
        return ModelOutput(scores, text_states, roles, contextual, real, context)

    def _bias(
        self, scene: EncodedScene, questions: QuestionBatch, text: Tensor, tokens: PromptTokens
    ) -> Tensor | None:
        """Learned additive bias of object rows on object columns and, with `label_bias`, on text
        columns: (Q, heads, N * c, N * c or N * c + L); text (Q, L, D), the embedded questions.
        """
        index, per_object = questions.scene, self.config.tokens_per_object
        bias = None
        if self.bias is not None:
            bias = self.bias(scene.edges[index])
            bias = bias.repeat_interleave(per_object, 2).repeat_interleave(per_object, 3)
        if self.label_bias is None:
            return bias
        identifiers = tokens.slot_identifiers(scene.valid.shape[1])
        text_bias = self.label_bias(
            scene.labels[index],
            None if scene.label_shares is None else scene.label_shares[index],
            identifiers,
            questions.ids,
            questions.instruction,
        )
        if self.predicted is not None and scene.name_shares is not None:
            named = scene.name_shares[index], self.names, text, questions.instruction
            text_bias = text_bias + self.predicted.bias(*named)
        text_bias = text_bias.repeat_interleave(per_object, 2)
        if bias is None:
            bias = text_bias.new_zeros(*text_bias.shape[:3], text_bias.shape[2])
        return torch.cat([bias, text_bias.to(bias.dtype)], -1)

    def condition_answers(
        self,
        scene: EncodedScene,
        questions: QuestionBatch,
        output: ModelOutput,
        prompt_tokens: PromptTokens,
        true_objects: Tensor | None = None,
    ) -> AnswerCondition:
        """What the answers are conditioned on, from the output of the pass over the questions.
        `true_objects` (Q, N) bool replaces the network's own estimate in training.
        """
        assert self.answers is not None
        index = questions.scene
        identifiers = prompt_tokens.slot_identifiers(scene.valid.shape[1])
        named = identifiers[:, None] == questions.ids[:, None]
        rows = torch.arange(len(index), device=index.device)
        return self.answers(
            output.contextual_objects,
            output.states[rows, questions.last],
            scene.object_features[index],
            scene.name_embeddings[index],
            scene.pair_codes[index],
            (named & questions.instruction[:, None]).any(-1),
            scene.valid[index],
            true_objects,
        )

    def token_logits(self, states: Tensor, condition: AnswerCondition | None) -> Tensor:
        """Next-token logits after hidden states (Q, D) or (Q, T, D): (..., vocab). In an answer,
        with `condition`, the copy head adds what is known of its objects.
        """
        if condition is not None:
            assert self.answers is not None
            states = self.answers.recital(states, condition.candidates)
        return self.decoder.logits(states)

    def _object_tokens(
        self, scene: EncodedScene, index: Tensor, prompt_tokens: PromptTokens
    ) -> Tensor:
        """Decoder inputs of the objects of each question's scene: (Q, N * c, D), for each object
        its identifier, its referent token if it has one, and itself. The object comes last, where
        its state is read.
        """
        objects = scene.object_embeddings[index]
        if self.config.object_tokens == "none":
            return objects[:, :0]
        identifiers = self.decoder.embed(prompt_tokens.slot_identifiers(objects.shape[1]))
        identifiers = identifiers.expand_as(objects)
        if self.config.objects.identifier == "added":
            return objects + identifiers
        parts = [identifiers, objects]
        if scene.referent_tokens is not None:
            parts.insert(1, scene.referent_tokens[index])
        return torch.stack([part.to(objects.dtype) for part in parts], dim=2).flatten(1, 2)
