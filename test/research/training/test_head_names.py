"""Names that both sides of the grounding head tell; answers of which nothing is learnt."""

from types import SimpleNamespace

import numpy as np
import torch
import yaml

from helpers.small_model import small_config, small_tokenizer
from spatial3d_ros.model.config import HeadConfig
from spatial3d_ros.model.heads import GroundingHead
from spatial3d_ros.model.names_config import NamesConfig
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.head_names import HeadNames
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.tasks.prompt import Prompt

NAMES = NamesConfig(classes=("bin", "box"), colors=("red",), looks={"pattern": ("plain", "dotted")})


def sample():
    """Two questions about one room of three objects, the last of an unknown class."""
    return SimpleNamespace(
        targets=torch.tensor([[True, False, False, False], [False, False, True, False]]),
        names={"class": torch.tensor([[0, 1, -100]]), "pattern": torch.tensor([[1, 0, -100]])},
        asked={"pattern": torch.tensor([1, 2])},
        words=SimpleNamespace(scene=torch.tensor([0, 0])),
    )


def test_questions_and_candidates_learn_the_same_names():
    torch.manual_seed(0)
    head, names = GroundingHead(16, HeadConfig()), HeadNames(16, NAMES)
    query, candidates = torch.randn(2, 16), torch.randn(1, 3, 16)
    assert names.names["pattern"].shape == (3, 16) and names.names["class"].shape == (2, 16)
    optimizer = torch.optim.Adam([*head.parameters(), *names.parameters()], lr=0.01)
    losses = []
    for _ in range(60):
        loss = names(head, query, candidates, sample())
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]
    # Never trained to match, but trained to tell the same names.
    valid = torch.ones(1, 3, dtype=torch.bool)
    scores = head(query[:1], candidates, valid)[0]
    assert scores[0] > scores[1]


def test_an_unknown_class_teaches_nothing():
    torch.manual_seed(0)
    head, names = GroundingHead(16, HeadConfig()), HeadNames(16, NAMES)
    query = torch.randn(2, 16)
    candidates = torch.randn(1, 3, 16, requires_grad=True)
    names(head, query, candidates, sample()).backward()
    moved = candidates.grad.abs().sum(-1)[0]
    assert moved[0] > 0 and moved[1] > 0 and moved[2] == 0


def test_an_answer_of_which_nothing_is_learnt_is_left_out(tmp_path):
    lengths = {}
    for weight in (0.0, 0.3):
        model = small_config(s2={"lang": {"weight": weight}})
        path = tmp_path / "model.yaml"
        path.write_text(yaml.safe_dump(model.model_dump(mode="json")))
        config = TrainConfig(model=str(path), out=str(tmp_path), boxes={"questions": 4})
        samples = Samples(config, model, Prompt(small_tokenizer()), None)
        words = samples.collate([samples.boxes_room(7, np.random.default_rng(0))]).words
        lengths[weight] = words.real.sum(1) - 1 - words.ground
    assert (lengths[0.0] == 0).all() and (lengths[0.3] > 0).all()
