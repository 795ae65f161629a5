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
from spatial3d_ros.model.chat_scene import ChatSceneTokens
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.crop_names import CropNames, name_shares
from spatial3d_ros.model.decoder import Decoder, position_ids
from spatial3d_ros.model.heads import GroundingHead, PredictedNames, name_directions, name_heads
from spatial3d_ros.model.object_channels import ObjectChannels, with_crops
from spatial3d_ros.model.object_sequence import attention_bias, object_tokens
from spatial3d_ros.model.objects import (
    ObjectRelations,
    ObjectTokens,
    PooledObjects,
    pool_object_features,
)
from spatial3d_ros.model.position import RayCode
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
from spatial3d_ros.model.slim_mask import LearntBounds, object_mask, sequence_mask
from spatial3d_ros.model.structure import StructureEnhanced
from spatial3d_ros.model.view_tokens import view_mask, view_tokens
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
        self.crop_names: CropNames | None = None
        self.roles: nn.Linear | None = None
        self.bias: AttentionBias | None = None
        self.label_bias: LabelBias | None = None
        self.names = nn.ModuleDict()
        self.chat_scene: ChatSceneTokens | None = None
        if config.object_tokens not in ("none", "chat_scene"):
            self._build_objects(config, width, edge)
        elif config.names.from_views:
            self.names = name_heads(width, config.names)
        if config.object_tokens == "chat_scene":
            self.chat_scene = ChatSceneTokens(width)
        self.bounds = LearntBounds(config.slim) if config.slim.bounds == "learnt" else None
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
        if config.objects.crop_names:
            self.crop_names = CropNames(config.vision.width, config.names)
        self.answers = AnswerContext(width) if config.answers else None

    def encode_views(self, pixels: Tensor) -> Tensor:
        """Features of single views, independent of other views: (..., 3, S, S) -> (..., P, C)."""
        return self.vision(pixels)

    def encode_crops(self, crops: Tensor) -> Tensor:
        """Crops of objects (n, 4, s, s), as of `crops.cut_crop` -> (n, F): the mean of the tower's
        patch features, then what `crop_names` reads.
        """
        features = self.vision(crops[:, :3])
        mean = features.mean(-2)
        if self.crop_names is None:
            return mean
        return torch.cat([mean, self.crop_names.encoder(features, crops[:, 3])], -1)

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
        if self.config.head.object_source == "referents":
            batch, pooled = self._referents_as_objects(batch, referents)
        else:
            pooled = pool_object_features(batch, features, self.config)
        if self.config.objects.channels:
            assert isinstance(self.objects, ObjectChannels)
            batch, pooled = self.objects.dropped(with_crops(batch, self.encode_crops), pooled)
        masked = tokens if self.config.slim.on == "views" else None
        shown = tokens if self.config.s2.view_tokens and masked is None else None
        prefix_valid, embeddings = self._prefix(batch, shown, referents, prompt_tokens)
        check_sequence_length(self.config, prefix_valid, batch.object_valid, prompt_tokens)
        prefix = self.decoder.encode_prefix(embeddings, prefix_valid)
        scene = self.with_prefix(prefix, prefix_valid, referents, batch, pooled)
        if masked is None:
            return scene
        return replace(scene, masked_views=(masked, *view_mask(batch, self.config)))

    def _scene_tokens(self, batch: SceneBatch, features: Tensor) -> tuple[Tensor, Tensor]:
        return view_tokens(batch, features, self.config, self.newline, self.ray)

    def _referents_as_objects(
        self, batch: SceneBatch, referents: Referents | None
    ) -> tuple[SceneBatch, PooledObjects]:
        """Referents in place of the objects of a batch. Raises ConfigError without views."""
        if referents is None or self.psa is None:
            raise ConfigError("head.object_source: referents needs views")
        boxes, valid = referents.boxes.detach(), referents.valid
        batch = replace(batch, boxes=boxes, object_valid=valid, labels=None, colors=None)
        visual = self.psa.project(referents.features)
        return batch, PooledObjects(visual, valid, boxes[..., :3] * torch.nan)

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
        centers = batch.boxes[..., :3]
        return EncodedScene(
            prefix=prefix,
            prefix_valid=prefix_valid,
            object_embeddings=embeddings,
            visual=pooled.visual,
            object_features=features,
            valid=batch.object_valid,
            edges=edges,
            object_mask=object_mask(centers, batch.object_valid, self.config.slim),
            pair_codes=pair_code(batch.boxes if self.config.answers else batch.boxes[:, :0]),
            labels=batch.label_ids,
            name_shares=shares,
            label_shares=None if batch.labels is None else batch.shares_of_labels,
            appearance=looks,
            name_embeddings=name_directions(self.names, features[:, :count]),
            referent_tokens=tokens,
            referents=referents,
            mask_bias=None if self.bounds is None else self.bounds(centers, batch.object_valid),
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

    def _encode_objects(
        self, batch: SceneBatch, pooled: PooledObjects, referents: Referents | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """Object features and decoder inputs (B, N, D), edge features (B, N, N, E), the tokens (B,
        N, D) of referents or points if objects have such, and `EncodedScene.name_shares`.
        """
        none = batch.boxes.new_empty(*batch.boxes.shape[:2], 0, 0)
        if self.config.object_tokens == "none":
            shares = name_shares(pooled.visual, self.names, batch)
            return pooled.visual, pooled.visual, none, None, shares
        if self.chat_scene is not None:
            patches, points = self.chat_scene(batch, pooled)
            return patches, patches, none, points, None
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
        named, shares = features, name_shares(features, self.names, batch, self.crop_names)
        if self.predicted is not None and shares is not None:
            named = self.predicted(features, shares, self.names)
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
        mask, masked = scene.object_mask[index], valid
        if scene.masked_views is None:
            objects = object_tokens(self.config, self.decoder.embed, scene, index, prompt_tokens)
        else:
            per_object = 1
            objects, masked, mask = (part[index] for part in scene.masked_views)
        span = objects.shape[1]
        text = self.decoder.embed(questions.ids).to(objects.dtype)
        real = torch.cat([masked.repeat_interleave(per_object, 1), questions.real], dim=1)
        prefix_valid = scene.prefix_valid[index]
        check_sequence_length(self.config, prefix_valid, valid, prompt_tokens, questions.real)
        context = AttentionContext(
            mask=sequence_mask(
                mask,
                real,
                F.pad(questions.instruction & self.config.slim.inst, (span, 0)),
                prefix_valid[:, :0],
                per_object,
                causal=self.config.slim.objects == "causal",
            ),
            prefix=scene.prefix,
            prefix_valid=scene.prefix_valid,
            scenes=index,
            bias=attention_bias(
                self.config,
                scene,
                questions,
                text,
                prompt_tokens,
                self.bias,
                self.label_bias,
                self.predicted,
                self.names,
            ),
            object_length=span,
            form=self.attention,
        )
        shared = span if self.config.slim.places == "shared" else 0
        positions = position_ids(real, prefix_valid.sum(1, keepdim=True), shared, per_object)
        states = self.decoder(torch.cat([objects, text], dim=1), positions, context)
        text_states = states[:, span:]
        query = text_states[torch.arange(len(states), device=states.device), questions.ground]
        candidates, roles, contextual = scene.visual[index], None, None
        if self.roles is not None:
            object_states = states[:, per_object - 1 : span : per_object]
            roles = self.roles(object_states)
            hidden = self.config.head.object_source == "hidden"
            if hidden or self.config.answers:
                contextual = self.readout(object_states, edges, valid)
                candidates = contextual if hidden else candidates
        if self.config.head.object_source == "identifier":
            scores = self._identifier_scores(query, valid, prompt_tokens)
        else:
            scores = self.head(query, candidates, valid)
        if self.predicted is not None and scene.name_shares is not None:
            named = scene.name_shares[index], self.names, text, questions.instruction
            scores = scores + self.predicted.evidence(*named)
        return ModelOutput(scores, text_states, roles, contextual, real, context)

    def _identifier_scores(
        self, query: Tensor, valid: Tensor, prompt_tokens: PromptTokens
    ) -> Tensor:
        """Logits of the objects' identifiers as the next token, of the end of the turn last."""
        slots = prompt_tokens.slot_identifiers(valid.shape[1])
        logits = self.decoder.logits(query)[:, torch.cat([slots, prompt_tokens.stops[:1]])]
        return logits.float().masked_fill(~F.pad(valid, (0, 1), value=True), -torch.inf)

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
