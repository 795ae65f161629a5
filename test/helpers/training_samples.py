"""Settings and samples of a small training run."""

import yaml

from helpers.small_model import small_config, small_tokenizer
from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.tasks.prompt import Prompt

NAMES = {"classes": list(CATEGORIES), "colors": list(COLORS)}
NETWORK = small_config(names=NAMES)


def settings(tmp_path, **changes):
    model = tmp_path / "model.yaml"
    model.write_text(yaml.safe_dump(small_config(names=NAMES).model_dump(mode="json")))
    values = {
        "model": str(model),
        "out": str(tmp_path / "out"),
        "steps": 4,
        "warmup": 1,
        "log_every": 1,
        "validation": {"rooms": 2, "questions": 3},
        "save_every": 2,
        "evaluate_every": 100,
        "workers": 0,
        "precision": "no",
        "tokenizer_sentences": 200,
        "rendered": {"batch": 0},
        "boxes": {"batch": 2, "questions": 3},
    }
    return TrainConfig(**(values | changes))


def samples(tmp_path, changes=None, store=None, **options):
    config = settings(tmp_path, **(changes or {}))
    return Samples(config, NETWORK, Prompt(small_tokenizer()), store, **options)
