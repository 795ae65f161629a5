"""A small network with referents, after progressive spatial awareness."""

import torch

from helpers.small_model import small_model

WIDTH, ROOM = 12, torch.tensor([5.0, 4.0, 2.0])
PSA = {
    "enabled": True, "points": 300, "seeds": 24, "referents": 8, "tokens": 5, "width": WIDTH,
    "heads": 2,
}  # fmt: skip
OBJECTS = {"relation_layers": 1, "relation_hidden": 8, "member_fraction": 0.25}


def model_with_referents(identifier="token", **psa):
    return small_model(
        psa=PSA | psa,
        object_tokens="object+referent",
        objects=OBJECTS | {"identifier": identifier},
    )
