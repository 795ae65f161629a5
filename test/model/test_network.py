"""What pins the network's mechanisms without trained weights (METHODS 1, 2, 4)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.small_model import small_model, small_scene
from spatial3d_ros.errors import FrameError, QueryError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.model.batch import prepare_view, stack_views
from spatial3d_ros.model.config import PositionConfig, StructureConfig, VisionConfig
from spatial3d_ros.model.heads import GroundingHead
from spatial3d_ros.model.position import RayCode, coordinate_code, patch_centroids, pool_views
from spatial3d_ros.model.relations import front_geometry, label_matches, pair_geometry
from spatial3d_ros.model.structure import StructureEnhanced
from spatial3d_ros.model.tokens import identifier
from spatial3d_ros.research.training.losses import grounding_loss
from spatial3d_ros.tasks.prompt import clean_query


class TestStructure:
    def test_zero_init_is_an_exact_identity(self):
        module = StructureEnhanced(16, StructureConfig(heads=2)).eval()
        x = torch.randn(2, 3, 9, 16)
        assert torch.equal(module(x, torch.ones(2, 3, dtype=torch.bool)), x)

    def reach(self, changed, order="inter_intra", step=None):
        """Which (view, patch) outputs move when one input does, through one step or the whole
        module.
        """
        torch.manual_seed(0)
        module = StructureEnhanced(16, StructureConfig(heads=2, init="default", order=order)).eval()
        valid = torch.ones(1, 3, dtype=torch.bool)
        tokens = valid[..., None].expand(1, 3, 9)
        run = {
            None: lambda x: module(x, valid),
            "inter": lambda x: module._inter(x, tokens),
            "intra": lambda x: module._intra(x, tokens),
        }[step]
        x = torch.randn(1, 3, 9, 16)
        y = x.clone()
        y[0, changed[0], changed[1]] += torch.randn(16)
        return (run(x) - run(y)).abs().amax(-1)[0] > 1e-6

    def test_inter_view_mixes_the_same_patch_of_all_views_only(self):
        moved = self.reach((1, 4), step="inter")
        assert moved[:, 4].all() and moved.sum() == 3

    def test_intra_view_mixes_all_patches_of_one_view_only(self):
        moved = self.reach((1, 4), step="intra")
        assert moved[1].all() and moved.sum() == 9

    def test_order_decides_how_far_one_patch_reaches(self):
        assert self.reach((1, 4)).all()
        assert self.reach((1, 4), order="intra_inter").all()

    def test_padded_views_are_not_seen(self):
        torch.manual_seed(0)
        module = StructureEnhanced(16, StructureConfig(heads=2, init="default")).eval()
        x = torch.randn(1, 3, 9, 16)
        valid = torch.tensor([[True, True, False]])
        y = x.clone()
        y[:, 2] = 7.0
        assert torch.equal(module(x, valid)[:, :2], module(y, valid)[:, :2])
        alone = module(x[:, :2], valid[:, :2])
        torch.testing.assert_close(module(x, valid)[:, :2], alone)


class TestPosition:
    def test_code_of_a_known_voxel(self):
        """(0, 0, 0) m is index 150, 150, 50; seven channels are two an axis and one zero."""
        code = coordinate_code(torch.zeros(3), 7)
        expected = [np.sin(150), np.cos(150), np.sin(150), np.cos(150), np.sin(50), np.cos(50), 0]
        np.testing.assert_allclose(code, expected, atol=1e-4)

    def test_code_of_the_paper_width(self):
        code = coordinate_code(torch.tensor([1.0, -2.0, 0.5]), 3584)
        assert code.shape == (3584,) and (code[-2:] == 0).all()
        for axis, index in enumerate((160, 130, 55)):
            for i in (0, 1, 2, 1193):
                angle = index * 10000.0 ** (-2 * (i // 2) / 1194)
                expected = np.sin(angle) if i % 2 == 0 else np.cos(angle)
                assert code[axis * 1194 + i] == pytest.approx(expected, abs=2e-4)

    def test_code_is_discrete_and_clipped(self):
        base = coordinate_code(torch.tensor([0.01, 0.0, 0.0]), 30)
        assert torch.equal(base, coordinate_code(torch.tensor([0.04, 0.0, 0.0]), 30))
        far = coordinate_code(torch.tensor([[99.0, 0, 0], [15.0, 0, 0]]), 30)
        assert torch.equal(far[0], far[1])

    def test_centroids_ignore_pixels_without_depth(self):
        points = torch.zeros(4, 4, 3)
        points[0, 0], points[0, 1] = torch.tensor([1.0, 2, 3]), torch.tensor([99.0, 99, 99])
        valid = torch.zeros(4, 4, dtype=torch.bool)
        valid[0, 0] = True
        centroid, usable = patch_centroids(points, valid, 2, 2)
        assert centroid[0].tolist() == [1, 2, 3]
        assert usable.tolist() == [True, False, False, False]

    def test_ray_code_is_zero_for_unknown_rays(self):
        code = RayCode(8, PositionConfig(ray_hidden=4))
        out = code(torch.tensor([[0.0, 0, 0], [0, 0, 1.0]]))
        assert (out[0] == 0).all() and (out[1] != 0).any()

    @pytest.mark.parametrize("mode", ["bilinear", "avg"])
    def test_pooling_keeps_a_constant_and_halves_the_grid(self, mode):
        pooled = pool_views(torch.ones(2, 3, 27 * 27, 5), 27, 14, mode)
        assert pooled.shape == (2, 3, 196, 5)
        torch.testing.assert_close(pooled, torch.ones_like(pooled))


class TestViews:
    def test_points_and_rays_of_a_known_camera(self):
        config = VisionConfig(
            image_size=16, patch_size=8, width=8, layers=1, heads=1, resize="stretch"
        )
        pose = np.eye(4)
        pose[:3, 3] = [10, 20, 30]
        depth = np.full((16, 16), 2.0, np.float32)
        depth[0, 0] = 0
        camera = Camera(16, 16, 8.0, 8.0, 7.5, 7.5)
        view = prepare_view(np.zeros((16, 16, 3), np.uint8), depth, camera, pose, config, 1)
        assert not view.valid[0, 0] and (view.points[0, 0] == 0).all()
        np.testing.assert_allclose(view.points[5, 13], [10 + 2 * 5.5 / 8, 20 - 2 * 2.5 / 8, 32])
        ray = np.array([0.5 / 8, 0.5 / 8, 1.0])
        np.testing.assert_allclose(view.rays[0], ray / np.linalg.norm(ray), atol=1e-6)
        assert (view.pixels == -1).all()

    def test_crop_keeps_the_centre(self):
        config = VisionConfig(image_size=16, patch_size=4, width=8, layers=1, heads=1)
        rgb = np.zeros((16, 32, 3), np.uint8)
        rgb[:, 8:24] = 255
        view = prepare_view(
            rgb,
            np.ones((16, 32), np.float32),
            Camera(32, 16, 16, 16, 15.5, 7.5),
            np.eye(4),
            config,
            2,
        )
        assert (view.pixels == 1).all()


class TestObjects:
    def test_pair_geometry_of_a_mug_on_a_table(self):
        boxes = torch.tensor([[[0.0, 0, 0.4, 1, 1, 0.8], [0.2, 0, 0.85, 0.1, 0.1, 0.1]]])
        edge = pair_geometry(boxes)[0, 0, 1]
        np.testing.assert_allclose(edge[:3] * 2, [0.2, 0, 0.45], atol=1e-6)
        assert edge[12] == pytest.approx(0.0, abs=1e-6)  # its bottom rests on the table's top


class TestHead:
    def test_several_targets_and_none(self):
        scores = torch.tensor([[1.0, 2.0, -torch.inf, 0.5]])
        both = torch.tensor([[True, True, False, False]])
        expected = -np.log((np.e + np.e**2) / (np.e + np.e**2 + np.e**0.5))
        assert grounding_loss(scores, both).item() == pytest.approx(expected, rel=1e-5)
        none = torch.tensor([[False, False, False, True]])
        assert grounding_loss(scores, none).item() > expected

    def test_scores_are_cosines_over_temperature_and_padding_cannot_win(self):
        from spatial3d_ros.model.config import HeadConfig

        head = GroundingHead(8, HeadConfig())
        valid = torch.tensor([[True, False]])
        scores = head(torch.randn(1, 8), torch.randn(1, 2, 8), valid)
        assert scores.shape == (1, 3) and scores[0, 1] == -torch.inf
        assert scores[0, [0, 2]].abs().max() <= 1 / 0.07 + 1e-4


def read(
    model,
    prompt,
    batch,
    phrases=("the red chair", "where is the blue lamp on the table?"),
    which=None,
):
    words = prompt.batch([prompt.grounding(p) for p in phrases], which or [0] * len(phrases))
    with torch.no_grad():
        return model(model.encode_scene(batch, prompt.tokens), words, prompt.tokens).scores


@pytest.mark.parametrize("identifier", ["token", "added"])
@pytest.mark.parametrize(("mode", "equivariant"), [("geo", True), ("causal", False)])
def test_permuted_objects_permute_scores(identifier, mode, equivariant, monkeypatch):
    """With equal identifiers and equal positions, scores depend on the order of objects only under
    a causal mask.
    """
    model, prompt = small_model(
        slim={"objects": mode, "k_min": 1, "k_max": 3},
        objects={"identifier": identifier, "relation_layers": 1, "relation_hidden": 8},
    )
    monkeypatch.setattr(
        "spatial3d_ros.model.network.position_ids", lambda real, start, *shared: real * 0 + start
    )
    same = replace(prompt.tokens, identifiers=torch.full_like(prompt.tokens.identifiers, 7))
    batch, order = small_scene(), torch.tensor([3, 0, 4, 1, 2])
    moved = replace(batch, boxes=batch.boxes[:, order])
    words = prompt.batch([prompt.grounding("the red chair")], [0])
    with torch.no_grad():
        scores, shuffled = (
            model(model.encode_scene(b, same), words, same).scores for b in (batch, moved)
        )
    expected = scores[:, torch.cat([order, torch.tensor([5])])]
    assert torch.allclose(shuffled, expected, atol=1e-4, rtol=1e-3) == equivariant
    assert (scores[:, :5] - scores[:, order]).abs().max() > 1e-2


def test_shared_positions_make_scores_independent_of_object_order():
    model, prompt = small_model(slim={"k_min": 1, "k_max": 3, "places": "shared"})
    same = replace(prompt.tokens, identifiers=torch.full_like(prompt.tokens.identifiers, 7))
    batch, order = small_scene(), torch.tensor([3, 0, 4, 1, 2])
    moved = replace(batch, boxes=batch.boxes[:, order])
    words = prompt.batch([prompt.grounding("the red chair")], [0])
    with torch.no_grad():
        scores, shuffled = (
            model(model.encode_scene(b, same), words, same).scores for b in (batch, moved)
        )
    expected = scores[:, torch.cat([order, torch.tensor([5])])]
    torch.testing.assert_close(shuffled, expected, atol=1e-4, rtol=1e-3)


def test_front_geometry_is_in_the_frame_of_the_object():
    boxes = torch.tensor([[[0.0, 0, 0, 1, 1, 1], [2.0, 0, 0, 1, 1, 1], [0.0, 3, 0, 1, 1, 1]]])
    fronts = torch.tensor([[[0.0, 1.0], [torch.nan, torch.nan], [1.0, 0.0]]])
    edges = front_geometry(boxes, fronts)
    right_of_me, before_me = edges[0, 0, 1], edges[0, 0, 2]
    torch.testing.assert_close(right_of_me, torch.tensor([0.0, 1, 1, 0, 0, 0]))
    torch.testing.assert_close(before_me[:3], torch.tensor([1.0, 0, 1]))
    # Who looks along +x from (0, 3) has the origin on the right.
    torch.testing.assert_close(before_me[3:], torch.tensor([0.0, 1, 1]))
    torch.testing.assert_close(edges[0, 1, 0], right_of_me[[3, 4, 5, 0, 1, 2]])
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    moved = boxes.clone()
    moved[..., :2] = boxes[..., :2] @ turn.T
    torch.testing.assert_close(front_geometry(moved, fronts @ turn.T), edges)


def test_fronts_change_scores_only_if_the_configuration_uses_them():
    fronts = torch.tensor([[[0.0, 1.0]] * 5])
    for reads in (True, False):
        model, prompt = small_model(objects={"fronts": reads})
        known_scores = read(model, prompt, replace(small_scene(), fronts=fronts))
        without = read(model, prompt, small_scene())
        unknown = read(model, prompt, replace(small_scene(), fronts=fronts * torch.nan))
        torch.testing.assert_close(unknown, without)
        assert (not torch.equal(known_scores, without)) == reads


def test_label_matches_of_single_tokens_and_whole_labels():
    labels = torch.tensor([[[5, 6, -1], [6, -1, -1], [-1, -1, -1], [5, 9, -1]]])
    ids = torch.tensor([[5, 1, 5, 6, 2, 9]])
    single, whole = label_matches(labels, ids)
    assert single[0].int().tolist() == [
        [1, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 1]
    ]  # fmt: skip
    assert whole[0].int().tolist() == [
        [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]
    ]  # fmt: skip


def test_label_bias_changes_only_the_objects_with_that_label():
    objects = {"relation_layers": 0, "decoder_bias": False, "label_bias": True}
    head = {"object_source": "hidden", "relation_layers": 0}
    model, prompt = small_model(objects=objects, head=head, slim={"objects": "diagonal"})
    labels = prompt.name_ids(["table", "chair", "shelf", "lamp", "blue"])[None]
    batch = replace(small_scene(), labels=labels[:, :, None])
    words = prompt.batch([prompt.grounding("the red chair")], [0])
    states = []
    with torch.no_grad():
        for louder in (0.0, 1.0):
            model.label_bias.weight[:] = louder
            scene = model.encode_scene(batch, prompt.tokens)
            states.append(model(scene, words, prompt.tokens).contextual_objects[0])
    moved = (states[1] - states[0]).abs().amax(-1)
    assert moved[1] > 1e-2 and moved[[0, 2, 3, 4]].max() == 0


def test_label_bias_matches_identifiers_without_any_label():
    objects = {"relation_layers": 0, "decoder_bias": False, "label_bias": True}
    head = {"object_source": "hidden", "relation_layers": 0}
    model, prompt = small_model(objects=objects, head=head, slim={"objects": "diagonal"})
    words = prompt.batch([prompt.free_form(f"describe {identifier(3)}")], [0])
    states = []
    with torch.no_grad():
        for louder in (0.0, 1.0):
            model.label_bias.identifier[:] = louder
            scene = model.encode_scene(small_scene(), prompt.tokens)
            states.append(model(scene, words, prompt.tokens).contextual_objects[0])
    moved = (states[1] - states[0]).abs().amax(-1)
    assert moved[3] > 1e-2 and moved[[0, 1, 2, 4]].max() == 0


@pytest.mark.parametrize("form", ["masked", "rows", "shared"])
def test_label_bias_is_the_same_in_every_form_of_attention(form):
    model, prompt = small_model(objects={"label_bias": True, "identifier": "token"})
    model.label_bias.weight.data += 0.3
    batch = replace(
        small_scene(),
        labels=prompt.name_ids(["red chair", "lamp", "shelf"] + ["table"] * 2)[None, :, None],
    )
    expected = read(model, prompt, batch)
    model.attention = form
    torch.testing.assert_close(read(model, prompt, batch), expected, atol=1e-4, rtol=1e-4)
    model.label_bias.weight.data.zero_()
    assert (read(model, prompt, batch) - expected).abs()[expected.isfinite()].max() > 1e-3


def test_several_questions_in_one_pass_equal_one_by_one():
    model, prompt = small_model()
    batch = small_scene()
    phrases = ["the red chair", "where is the blue lamp on the table?", "find the table"]
    together = read(model, prompt, batch, phrases)
    for i, phrase in enumerate(phrases):
        torch.testing.assert_close(
            together[i : i + 1], read(model, prompt, batch, [phrase]), atol=1e-4, rtol=1e-4
        )


def test_the_cached_prefix_is_not_changed_by_a_question():
    model, prompt = small_model()
    words = prompt.batch([prompt.grounding("the red chair")], [0])
    with torch.no_grad():
        scene = model.encode_scene(small_scene(), prompt.tokens)
        first = model(scene, words, prompt.tokens).scores
        second = model(scene, words, prompt.tokens).scores
    assert torch.equal(first, second)


def test_padded_objects_and_views_do_not_change_scores():
    model, prompt = small_model()
    batch = small_scene()
    padded = replace(
        batch,
        boxes=torch.cat([batch.boxes, torch.full((1, 2, 6), 5.0)], 1),
        object_valid=torch.tensor([[True] * 5 + [False] * 2]),
    )
    scores, with_padding = read(model, prompt, batch), read(model, prompt, padded)
    torch.testing.assert_close(scores[:, :5], with_padding[:, :5], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(scores[:, 5], with_padding[:, 7], atol=1e-4, rtol=1e-3)


def test_boxes_without_pixels_are_read_too():
    model, prompt = small_model()
    boxes = small_scene().boxes
    labels = prompt.name_ids(["chair", "table", "chair", "lamp", ""])[None, :, None]
    from spatial3d_ros.model.batch import SceneBatch

    batch = SceneBatch(boxes, torch.ones(1, 5, dtype=torch.bool), labels=labels)
    scores = read(model, prompt, batch)
    renamed = replace(
        batch, labels=prompt.name_ids(["table", "table", "chair", "lamp", ""])[None, :, None]
    )
    assert scores.isfinite().all()
    assert not torch.allclose(scores, read(model, prompt, renamed))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("", "empty"), ("  \n ", "empty"), ("x" * 2000, "2000 characters"), ("où? 你好", "letters")],
)
def test_unusable_queries(text, complaint):
    if text.startswith("où"):
        text = "你好 1234"
    with pytest.raises(QueryError, match=complaint):
        clean_query(text)


def test_views_that_do_not_belong_together_are_refused():
    batch = small_scene()
    none = {name: getattr(batch, name)[:, :0] for name in ("pixels", "points", "valid", "rays")}
    with pytest.raises(FrameError, match="views: none"):
        replace(batch, **none, view_valid=batch.view_valid[:, :0])
    with pytest.raises(FrameError, match="views: none"):
        stack_views([], np.zeros(3))
    poses = torch.eye(4).expand(1, 2, 4, 4)
    with pytest.raises(FrameError, match="poses: 2 views, but points has 3"):
        replace(batch, poses=poses)
    with pytest.raises(FrameError, match="pixels: 2 views, but points has 3"):
        replace(batch, pixels=batch.pixels[:, :2])
