"""What an experiment measures in a network besides right answers: whether a part does what its
paper says it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from spatial3d_ros.errors import LocationError
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.model.generation import generate
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.position import patch_centroids
from spatial3d_ros.research.language.location_text import LocationCodec
from spatial3d_ros.research.training.objective import REFERENT_IOU, Objective, overlaps
from spatial3d_ros.research.training.sample import Sample

NEAR_M = 0.25
"""Patches of two views show the same place if their mean points are this close."""
_RIDGE = 1.0
_BOX_TOKENS = 48

Mediator = Callable[[Objective, Sequence[Sample], Sequence[Tensor]], dict[str, float]]


def depth_probe(
    objective: Objective, samples: Sequence[Sample], projected: Sequence[Tensor]
) -> dict[str, float]:
    """R2 of a ridge regression of the mean depth of each patch on its projected features, on the
    last quarter of the rooms, fitted on the others. Does guidance bring depth into the features?
    """
    features, depths = [], []
    vision = objective.model.config.vision
    for sample, tokens in zip(samples, projected, strict=True):
        views, poses = sample.scenes.views, sample.scenes.poses
        assert poses is not None
        centroid, usable = patch_centroids(
            views.points, views.valid, vision.patch_size, vision.grid
        )
        offset = centroid - poses[:, :, None, :3, 3]
        depth = torch.einsum("bvpi,bvi->bvp", offset, poses[:, :, :3, 2])
        features.append(tokens[usable].float())
        depths.append(depth[usable])
    cut = max(1, len(features) * 3 // 4)
    if cut == len(features):
        return {}
    x, y = torch.cat(features[:cut]), torch.cat(depths[:cut])
    center, scale, middle = x.mean(0), x.std(0).clamp(min=1e-6), y.mean()
    x = (x - center) / scale
    weights = torch.linalg.solve(x.T @ x + _RIDGE * torch.eye(x.shape[1]), x.T @ (y - middle))
    held, truth = torch.cat(features[cut:]), torch.cat(depths[cut:])
    guess = ((held - center) / scale) @ weights + middle
    missed = (guess - truth).square().sum() / (truth - truth.mean()).square().sum()
    return {"depth R2": float(1 - missed)}


def correspondence(
    objective: Objective, samples: Sequence[Sample], projected: Sequence[Tensor]
) -> dict[str, float]:
    """Share of the inter-view attention of the structure block on patches of other views that show
    the same place, and the share that equal attention to all keys would have there. Only patches
    with a true correspondence among their keys count.
    """
    model = objective.model
    structure = model.structure
    if structure is None:
        return {}
    mass, equal, count = 0.0, 0.0, 0
    for sample in samples:
        views = sample.scenes.views
        patches = sample.scenes.patches
        if patches is None:
            patches = model.encode_views(views.pixels)
        weights = structure.inter_view_attention(patches)
        true = true_correspondences(model, sample)
        rows = true.any(-1)
        mass += float((weights * true).sum(-1)[rows].sum())
        equal += float(true.float().mean(-1)[rows].sum())
        count += int(rows.sum())
    if not count:
        return {"corresponding patches": 0.0}
    return {
        "attention to the same place": mass / count,
        "the same if equal": equal / count,
        "corresponding patches": float(count),
    }


def true_correspondences(model: SpatialModel, sample: Sample) -> Tensor:
    """Bool (groups, keys, keys): which keys of each group of inter-view attention show the same
    place in another view, by depth.
    """
    structure, vision = model.structure, model.config.vision
    assert structure is not None
    views = sample.scenes.views
    centroid, usable = patch_centroids(views.points, views.valid, vision.patch_size, vision.grid)
    place = structure.grouped(centroid).flatten(0, 1)
    known = structure.grouped(usable).flatten(0, 1)
    view = torch.arange(usable.shape[1])[None, :, None].expand(usable.shape)
    view = structure.grouped(view).flatten(0, 1)
    true = (place[:, :, None] - place[:, None]).norm(dim=-1) < NEAR_M
    return true & known[:, :, None] & known[:, None] & (view[:, :, None] != view[:, None])


def vote_spread(
    objective: Objective, samples: Sequence[Sample], projected: Sequence[Tensor]
) -> dict[str, float]:
    """Standard deviation (m) of the shifts that seeds vote for, 0 if all are alike; and the mean
    distance (m) of the votes of seeds on objects to the object's centre, and of the seeds.
    """
    psa = objective.model.psa
    if psa is None:
        return {}
    shifts, missed, before = [], [], []
    for sample, tokens in zip(samples, projected, strict=True):
        referents, boxes = psa(sample.scenes, tokens), sample.scenes.boxes
        seeds, valid = referents.seeds.points[0], referents.seeds.valid[0]
        votes = referents.votes[0]
        shifts.append((votes - seeds)[valid])
        inside = (seeds[:, None] - boxes[0, None, :, :3]).abs() <= boxes[0, None, :, 3:] / 2
        holds = inside.all(-1) & sample.scenes.object_valid[0]
        volume = boxes[0, :, 3:].prod(-1).masked_fill(~holds, torch.inf)
        on = holds.any(-1) & valid
        center = boxes[0, volume.argmin(-1), :3]
        missed.append((votes - center).norm(dim=-1)[on])
        before.append((seeds - center).norm(dim=-1)[on])
    return {
        "vote spread, m": float(torch.cat(shifts).std(0).norm()),
        "votes to centres, m": float(torch.cat(missed).mean()),
        "seeds to centres, m": float(torch.cat(before).mean()),
    }


def box_text(
    objective: Objective, samples: Sequence[Sample], projected: Sequence[Tensor]
) -> dict[str, float]:
    """Share of questions after whose `<ground>` the network writes a `<box>` that can be read, and
    that overlaps the target by REFERENT_IOU.
    """
    read = right = asked = 0
    prompt, codec = objective.prompt, LocationCodec()
    for sample in samples:
        scene = objective.model.encode_scene(sample.scenes, prompt.tokens)
        words, last = sample.words, int(sample.words.ground.max()) + 1
        upto = torch.arange(last) <= words.ground[:, None]
        words = type(words)(
            words.ids[:, :last], words.real[:, :last] & upto, words.instruction[:, :last],
            words.ground, words.scene,
        )  # fmt: skip
        written = generate(objective.model, scene, words, prompt.tokens, max_new_tokens=_BOX_TOKENS)
        rows = sample.targets[:, :-1].int().argmax(-1)
        boxes = sample.scenes.boxes[words.scene, rows]
        for ids, box in zip(written, boxes, strict=True):
            asked += 1
            try:
                found = codec.read_box(prompt.text(ids))
            except LocationError:
                continue
            read += 1
            right += bool(overlaps(_row(found), box) >= REFERENT_IOU)
    return {"box text read": read / max(asked, 1), "box text right": right / max(asked, 1)}


def _row(box: Box3D) -> Tensor:
    return torch.tensor([*vector(box.center), *vector(box.size)])


def confidence(
    objective: Objective, samples: Sequence[Sample], projected: Sequence[Tensor]
) -> dict[str, float]:
    """Mean probability of the likeliest candidate, for each set of questions: is a network less
    sure where several objects fit, or none?
    """
    found: dict[str, list[float]] = {}
    for sample in samples:
        _, reading = objective.read(sample)
        best = reading.scores.softmax(-1).amax(-1).tolist()
        for kind, value in zip(sample.kinds, best, strict=True):
            found.setdefault(f"confidence, {kind.split('/')[0]}", []).append(value)
    return {name: sum(values) / len(values) for name, values in sorted(found.items())}


MEDIATORS: dict[str, Mediator] = {
    "depth": depth_probe,
    "correspondence": correspondence,
    "votes": vote_spread,
    "box_text": box_text,
    "confidence": confidence,
}
