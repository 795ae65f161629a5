"""The learnt weights of the terms that say which object a description refers to.

`spatial3d fit-resolution` fits them on generated rooms (`resource/resolution.yaml`). The score of
an object is the sum of its terms (`tasks/resolution.py`), each times its weight, in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.resources import resource_path
from spatial3d_ros.storage import read_yaml
from spatial3d_ros.tasks.query import PREDICATES

FILE = "resolution.yaml"
TERMS = (
    "network", "label", "detector_label", "color", "look", "size_word", "superlative", "relation",
    "network_nothing", "absent", "present", "other_color", "detector_network",
    "detector_network_nothing", "detector_absent", "detector_present", "detector_other_color",
)  # fmt: skip
"""look: of looks but the own colour. relation: of predicates without a weight of their own, which
are called "relation.on" etc. network_nothing, absent, present, other_color: of "nothing" alone: the
network's log probability of it, and that the label is absent, is there, or is there in other
colours only. detector_: the same where a recogniser labelled most objects; generated rooms have
none, so these keep their values.
"""


@dataclass(frozen=True)
class Weights:
    """Weights by name of the term; log scores are divided by `temperature`, so that confidences are
    probabilities.
    """

    terms: Mapping[str, float]
    temperature: float = 1.0

    def of(self, name: str) -> float:
        """The weight of a term; of a predicate without one that of all relations."""
        value = self.terms.get(name)
        return self.terms["relation"] if value is None else value

    def without(self, *names: str) -> Weights:
        """The same without some terms; "relation" stands for all predicates, "label" for
        "detector_label" too.
        """
        kept = {
            name: 0.0 if name.partition(".")[0].removeprefix("detector_") in names else value
            for name, value in self.terms.items()
        }
        return replace(self, terms=kept)


def read_weights(path: Path) -> Weights:
    """Weights from a file. Raises ConfigError that names it and the field."""
    data = read_yaml(path)
    try:
        terms = {str(name): float(value) for name, value in data["terms"].items()}
        temperature = float(data["temperature"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: terms or temperature: no number ({error})") from error
    known = {*TERMS, *(f"relation.{name}" for name in PREDICATES)}
    wrong = (terms.keys() ^ set(TERMS)) - known | (set(TERMS) - terms.keys())
    if wrong or temperature <= 0:
        raise ConfigError(
            f"{path}: {', '.join(sorted(wrong)) or 'temperature'}: unknown, missing or not "
            "positive; write the file with `spatial3d fit-resolution`"
        )
    return Weights(terms, temperature)


@lru_cache(maxsize=1)
def shipped_weights() -> Weights:
    """Those that `spatial3d fit-resolution` wrote for the shipped network."""
    return read_weights(resource_path(FILE))
