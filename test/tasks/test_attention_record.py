"""What attends to what: recorded weights are those that the network used, and add up."""

import pytest
import torch

from helpers.engine_scene import with_scene
from helpers.small_model import small_model, small_scene
from helpers.uncached_decoding import question
from spatial3d_ros.demo.explanation import Explanation
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import NoSceneError, QueryError
from spatial3d_ros.model.attention import ATTENTION_NAME
from spatial3d_ros.scene.buffer import Snapshot
from spatial3d_ros.tasks.attention_record import record_attention, recorded_attention
from spatial3d_ros.tasks.model_runner import ModelRunner

QUESTION = "the red box next to the blue box"


@pytest.fixture(scope="module")
def recorded():
    engine = Spatial3D(EngineConfig())
    engine.load()
    with_scene(engine)
    state = engine.scene()
    runner = ModelRunner.load("tiny", "cpu")
    frames = [view.frame for view in state.aligned_views.views]
    record = record_attention(runner, state.aligned_views, state.objects, QUESTION)
    return runner, state, record, frames


def test_recording_changes_no_score_and_weights_add_up():
    model, prompt = small_model()
    batch, words = small_scene(), question(prompt)
    model.attention = "masked"
    with torch.no_grad(), recorded_attention(model) as passes:
        scene = model.encode_scene(batch, prompt.tokens)
        output = model(scene, words, prompt.tokens)
    assert len(passes) == 2 and len(passes[1]) == len(model.decoder.qwen.layers)
    assert model.decoder.qwen.config._attn_implementation == ATTENTION_NAME
    for layers in passes:
        for weights in layers:
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
    plain = small_model()[0]
    with torch.no_grad():
        again = plain(plain.encode_scene(batch, prompt.tokens), words, prompt.tokens)
    torch.testing.assert_close(again.scores, output.scores, atol=1e-4, rtol=1e-4)


def test_masked_objects_get_no_weight():
    slim = {"objects": "geo", "inst": False, "k_min": 1, "k_max": 2}
    model, prompt = small_model(slim=slim)
    words = question(prompt, ("the red chair",))
    with torch.no_grad(), recorded_attention(model) as passes:
        scene = model.encode_scene(small_scene(objects=8), prompt.tokens)
        model(scene, words, prompt.tokens)
    each, start = model.config.tokens_per_object, passes[0][0].shape[-1]
    rows = passes[1][-1][0, : 8 * each, start : start + 8 * each]
    by_object = rows.unflatten(0, (8, each)).unflatten(2, (8, each)).sum((1, 3))
    assert (by_object[~scene.object_mask[0]] == 0).all()
    assert (by_object[scene.object_mask[0]] > 0).all()


def test_the_shares_of_a_record_are_parts_of_one(recorded):
    _, state, record, _ = recorded
    count = len(record.objects)
    assert len(record.scores) == count + 1 == len(state.objects) + 1
    assert record.words == ("find:", *QUESTION.split())
    whole = record.to_words.sum(1) + record.to_objects.sum(1) + record.to_views
    assert (whole > 0.1).all() and (whole <= 1.0 + 1e-4).all()
    views = len(record.patches)
    assert record.patches.shape == (views, record.side**2, views, record.side**2)
    later = torch.ones(views, views, dtype=torch.bool).triu(1)
    assert not record.patches.sum((1, 3))[later].any()
    assert record.same.diagonal(dim1=0, dim2=2).any() and record.of_object.any()
    assert record.allowed.shape == (count, count) and record.allowed.diagonal().all()
    assert record.block is not None and record.block.shape[1:] == (views, views)
    torch.testing.assert_close(record.block.sum(-1), torch.ones(record.block.shape[:2]))


def test_the_page_and_its_pictures(recorded, tmp_path):
    _, _, record, frames = recorded
    parts = Explanation(record, frames, QUESTION).write(tmp_path, "The red box")
    names = ["patch.png", "answer.png", "geo.png", "referents.png"]
    assert [part.picture.name for part in parts] == names
    page = (tmp_path / "explanation.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and QUESTION in page
    for part in parts:
        assert part.picture.stat().st_size > 5_000 and part.title in page
        assert "nan" not in part.text


def test_what_cannot_be_asked_is_named(recorded):
    runner, state, _, _ = recorded
    with pytest.raises(QueryError, match="empty"):
        record_attention(runner, state.aligned_views, state.objects, "  ")
    with pytest.raises(NoSceneError, match="no object"):
        record_attention(runner, Snapshot(0, state.aligned_views.views), (), "the box")
