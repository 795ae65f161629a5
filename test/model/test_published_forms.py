"""Forms of the network that the papers have and the shipped one has not: Chat-Scene's tokens and
answers, masks on view tokens, learnt bounds, referents as candidates, names from pooled views.
"""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from helpers.small_model import small_config, small_model, small_scene
from helpers.uncached_decoding import question
from spatial3d_ros.model.slim_mask import LearntBounds, object_mask
from spatial3d_ros.model.view_tokens import view_mask
from spatial3d_ros.research.training.objective import chosen_targets, overlaps
from spatial3d_ros.research.training.sample import Sample

CHAT = {
    "object_tokens": "chat_scene", "head": {"object_source": "identifier"},
    "objects": {"relation_layers": 0, "decoder_bias": False, "member_fraction": 0.25},
    "s2": {"se": {"heads": 2}, "mpe": {"coord": False, "ray": False}, "view_tokens": False},
    "names": {"classes": ["chair", "table"], "colors": ["red"], "from_views": True},
}  # fmt: skip
PUBLISHED = {
    "object_tokens": "none", "head": {"object_source": "input"},
    "objects": {"relation_layers": 0, "decoder_bias": False, "member_fraction": 0.25},
}  # fmt: skip
REFERENTS = PUBLISHED | {
    "head": {"object_source": "referents"}, "names": {"classes": ["chair", "table"]},
    "psa": {"enabled": True, "source": "points", "points": 256, "seeds": 32, "referents": 8,
            "tokens": 8, "width": 16, "heads": 2},
    "s2": {"se": {"enabled": False}, "mpe": {"ray": False}, "view_tokens": False},
}  # fmt: skip


def run(model, prompt, batch, phrases=("the red chair", "the blue lamp")):
    scene = model.encode_scene(batch, prompt.tokens)
    return scene, model(scene, question(prompt, phrases), prompt.tokens)


def moved(batch, shift):
    """The whole scene elsewhere."""
    boxes = batch.boxes + torch.tensor([*shift, 0.0, 0.0, 0.0])
    return replace(batch, boxes=boxes, points=batch.points + torch.tensor(shift))


class TestChatScene:
    def test_an_object_has_three_tokens_and_the_answer_is_its_identifier(self):
        model, prompt = small_model(**CHAT)
        batch = small_scene(objects=4)
        with torch.no_grad():
            scene, output = run(model, prompt, batch)
        assert model.config.tokens_per_object == 3
        assert output.real.shape[1] == 3 * 4 + question(prompt, ("the blue lamp",)).ids.shape[1]
        rows = torch.arange(2)
        words = question(prompt, ("the red chair", "the blue lamp"))
        logits = model.decoder.logits(output.states[rows, words.ground])
        slots = prompt.tokens.slot_identifiers(4)
        torch.testing.assert_close(output.scores[:, :4], logits[:, slots])
        torch.testing.assert_close(output.scores[:, 4], logits[:, prompt.tokens.stops[0]])
        assert output.roles is None and set(model.names) == {"class", "color"}
        assert scene.object_features.shape == scene.referent_tokens.shape

    def test_views_are_not_in_the_sequence_but_reach_the_objects(self):
        model, prompt = small_model(**CHAT)
        batch = small_scene()
        with torch.no_grad():
            scene, output = run(model, prompt, batch)
            _, other = run(model, prompt, replace(batch, pixels=-batch.pixels))
        fixed = len(prompt.tokens.before) + len(prompt.tokens.after)
        assert scene.prefix_valid.shape[1] == fixed
        assert not torch.allclose(output.scores, other.scores)

    def test_no_token_tells_where_an_object_is(self):
        model, prompt = small_model(**CHAT)
        batch = small_scene()
        sizes = torch.full_like(batch.boxes[..., 3:], 3.5)  # so that patches belong to them
        batch = replace(batch, boxes=torch.cat([batch.boxes[..., :3], sizes], -1))
        there = moved(batch, (3.0, -2.0, 0.5))
        with torch.no_grad():
            one, two = (model.encode_scene(b, prompt.tokens) for b in (batch, there))
        torch.testing.assert_close(one.object_embeddings, two.object_embeddings)
        torch.testing.assert_close(one.referent_tokens, two.referent_tokens, atol=1e-4, rtol=1e-4)
        coded, prompt = small_model(**CHAT | {"s2": CHAT["s2"] | {"mpe": {"ray": False}}})
        with torch.no_grad():
            one, two = (coded.encode_scene(b, prompt.tokens) for b in (batch, there))
        assert not torch.allclose(one.object_embeddings, two.object_embeddings)

    def test_geo_is_all_that_tells_places_apart(self):
        batch = small_scene(objects=8)
        boxes = batch.boxes.clone()
        boxes[0, :, :3] = torch.rand(8, 3, generator=torch.Generator().manual_seed(5)) * 5
        shuffled = replace(batch, boxes=boxes)
        for objects, differs in (("full", False), ("geo", True)):
            slim = {"objects": objects, "inst": False, "k_min": 1, "k_max": 2}
            model, prompt = small_model(**CHAT | {"slim": slim})
            blind = replace(batch, valid=batch.valid & False)
            with torch.no_grad():  # without depth no patch and no point belongs to a box
                _, one = run(model, prompt, blind)
                _, two = run(model, prompt, replace(shuffled, valid=batch.valid & False))
            assert torch.allclose(one.scores, two.scores) != differs

    @pytest.mark.parametrize(
        "wrong",
        [
            {"objects": {"identifier": "added"}},
            {"head": {"object_source": "hidden"}},
            {"tasks": ("ground", "ask")},
        ],
    )
    def test_what_does_not_fit_is_refused(self, wrong):
        with pytest.raises(ValidationError, match="chat_scene"):
            small_config(**CHAT | wrong)


class TestMaskedViews:
    def config(self, **slim):
        return PUBLISHED | {"slim": {"on": "views", "inst": False, **slim}}

    def test_a_token_attends_to_tokens_of_places_near_it(self):
        batch = small_scene()
        config = small_config(**self.config(objects="geo", k_min=1, k_max=2))
        real, mask = view_mask(batch, config)
        side, views = config.pooled_grid, batch.points.shape[1]
        assert real.shape == (1, views * side * (side + 1)) and real.all()
        assert mask.diagonal(dim1=1, dim2=2).all()
        counts = mask[0].sum(1).unflatten(0, (views, side, side + 1))
        assert (counts[..., :side] >= 2).all() and (counts[..., :side] <= 3).all()
        assert (counts[..., side] == 1).all()

    @pytest.mark.parametrize("objects", ["causal", "full", "geo"])
    def test_the_mask_and_the_instruction_change_scores(self, objects):
        batch = small_scene()
        found = []
        for inst in (False, True):
            model, prompt = small_model(**self.config(objects=objects, inst=inst))
            with torch.no_grad():
                scene, output = run(model, prompt, batch)
            assert scene.masked_views is not None and output.scores.isfinite().all()
            found.append(output.scores)
        assert not torch.allclose(*found)

    def test_it_needs_a_network_without_object_tokens(self):
        with pytest.raises(ValidationError, match=r"slim\.on: views needs"):
            small_config(slim={"on": "views"})


class TestLearntBounds:
    def test_wide_bounds_are_the_full_mask_and_narrow_ones_the_diagonal(self):
        batch = small_scene(objects=6)
        centers, valid = batch.boxes[..., :3], batch.object_valid
        wide = LearntBounds(small_config(slim={"k_min": 40, "k_max": 60}).slim)
        assert wide(centers, valid).abs().max() < 1e-6
        narrow = LearntBounds(small_config(slim={"k_min": 0, "k_max": 0}).slim)
        bias = narrow(centers, valid)[0]
        others = ~torch.eye(6, dtype=torch.bool)
        assert (bias.diagonal() > bias[others].view(6, 5).amax(1)).all()

    def test_bounds_start_where_the_configuration_says_and_nearer_objects_get_more(self):
        config = small_config(slim={"k_min": 2, "k_max": 5}).slim
        bounds = LearntBounds(config)
        torch.testing.assert_close(bounds.bounds, torch.tensor([2.0, 5.0]))
        batch = small_scene(objects=9)
        centers, valid = batch.boxes[..., :3], batch.object_valid
        bias = bounds(centers, valid)
        hard = object_mask(centers, valid, config)
        assert (bias.masked_fill(~hard, torch.inf).amin(-1)
                >= bias.masked_fill(hard, -torch.inf).amax(-1)).all()  # fmt: skip

    def test_the_loss_moves_them(self):
        slim = {"objects": "geo", "inst": False, "bounds": "learnt"}
        model, prompt = small_model(**CHAT | {"slim": slim})
        _, output = run(model, prompt, small_scene(objects=6))
        output.scores[:, 0].sum().backward()
        assert model.bounds.raw.grad.abs().min() > 0

    def test_padding_is_left_out(self):
        config = small_config(slim={"k_min": 1, "k_max": 3}).slim
        batch = small_scene(objects=5)
        padded = torch.nn.functional.pad(batch.boxes[..., :3], (0, 0, 0, 2))
        valid = torch.nn.functional.pad(batch.object_valid, (0, 2))
        bounds = LearntBounds(config)
        torch.testing.assert_close(
            bounds(padded, valid)[:, :5, :5], bounds(batch.boxes[..., :3], batch.object_valid)
        )


class TestReferents:
    def sample(self, batch, prompt):
        words = question(prompt, ("the red chair", "the blue lamp"))
        targets = torch.zeros(2, batch.boxes.shape[1] + 1, dtype=torch.bool)
        targets[0, 1] = targets[1, 2] = True
        return Sample(batch, words, targets, None, None, {}, {}, (), ())

    def test_candidates_are_referents_and_targets_those_that_overlap(self):
        model, prompt = small_model(**REFERENTS)
        batch = small_scene()
        with torch.no_grad():
            scene, output = run(model, prompt, batch)
        assert output.scores.shape == (2, scene.referents.boxes.shape[1] + 1)
        boxes = batch.boxes.clone()
        boxes[0, 1] = scene.referents.boxes[0, 3]
        boxes[0, 2] = torch.tensor([90.0, 90, 90, 1, 1, 1])
        sample = self.sample(replace(batch, boxes=boxes), prompt)
        strict = chosen_targets(sample, scene, model, strict=True)
        assert strict[0, 3] and not strict[1].any()
        trained = chosen_targets(sample, scene, model)
        assert trained[0, 3] and trained[1].tolist() == [False] * 8 + [True]

    def test_boxes_given_to_it_do_not_matter(self):
        model, prompt = small_model(**REFERENTS)
        batch = small_scene()
        with torch.no_grad():
            one = run(model, prompt, batch)[1].scores
            two = run(model, prompt, replace(batch, boxes=batch.boxes + 1.0))[1].scores
            patches = torch.randn(1, 3, 16, 16)
            three = run(model, prompt, replace(batch, patches=patches))[1].scores
        assert torch.equal(one, two) and torch.equal(one, three)

    def test_overlap_of_boxes(self):
        box = torch.tensor([0.0, 0, 0, 2, 2, 2])
        half = torch.tensor([1.0, 0, 0, 2, 2, 2])
        assert overlaps(box, box) == 1 and overlaps(box, half) == pytest.approx(1 / 3)
        assert overlaps(box, torch.tensor([5.0, 0, 0, 1, 1, 1])) == 0


def test_the_coordinate_code_can_be_on_views_or_objects_alone():
    batch, found = small_scene(), {}
    for on in (["views", "objects"], ["views"], ["objects"], []):
        s2 = {"se": {"heads": 2}, "mpe": {"ray_hidden": 8, "coord_on": on}}
        model, prompt = small_model(**PUBLISHED | {"s2": s2})
        with torch.no_grad():
            scene, _ = run(model, prompt, batch)
        found[tuple(on)] = scene.prefix[0][0], scene.visual
    both, neither = found[("views", "objects")], found[()]
    for part, alone in enumerate(("views", "objects")):
        assert torch.equal(found[(alone,)][part], both[part])
        assert torch.equal(found[(alone,)][1 - part], neither[1 - part])
        assert not torch.allclose(both[part], neither[part])


def test_names_from_views_are_heads_of_a_network_without_object_tokens():
    names = {"classes": ["chair", "table"], "colors": ["red"]}
    for from_views in (False, True):
        model, _ = small_model(**PUBLISHED | {"names": names | {"from_views": from_views}})
        assert bool(len(model.names)) == from_views and model.roles is None
