"""Checkpoints of a run: its state to resume from, and the model.

A state is written under another name and renamed when it is complete.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.model.checkpoint import WEIGHTS, read_tensors, save_config, save_model
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.training.adapters import save_adapter
from spatial3d_ros.research.training.objective import Objective
from spatial3d_ros.research.training.reconstruction import save_guidance

log = logging.getLogger(__name__)
LAST, OLDER, MODEL, BEST = "last", "last.old", "model", "best"


def save_state(accelerator: Accelerator, out: Path, step: int) -> None:
    """Write the state that the next step depends on. All processes must call it."""
    part = out / f"{LAST}.part"
    if accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(part), safe_serialization=True)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (part / "step").write_text(str(step))
        shutil.rmtree(out / OLDER, ignore_errors=True)
        if (out / LAST).exists():
            (out / LAST).rename(out / OLDER)
        part.rename(out / LAST)
        shutil.rmtree(out / OLDER, ignore_errors=True)
    accelerator.wait_for_everyone()


def resume_state(accelerator: Accelerator, out: Path) -> int:
    """Read the newest complete state, if there is one, and return its step (0 without)."""
    for folder in (out / LAST, out / OLDER):
        if (folder / "step").is_file():
            accelerator.load_state(str(folder))
            step = int((folder / "step").read_text())
            log.info("resumed from step %d", step)
            return step
    return 0


class ModelSaver:
    """Writes the current network to `out`/model and the best one to `out`/best.

    build: makes the same objective with fresh weights. With weights sharded over processes no
    process has a whole network to save; a fresh one is filled with the gathered tensors.
    """

    def __init__(
        self, accelerator: Accelerator, out: Path, build: Callable[[], Objective], score: str
    ) -> None:
        self.accelerator, self.out, self.build, self.score = accelerator, out, build, score

    def save(self, objective: Objective, folder: Path) -> None:
        """Write a model folder, or adapter and configuration if the preset has an adapter, or the
        branch of guidance if only that is trained.

        All processes call it.
        """
        tensors = self.accelerator.get_state_dict(objective)
        if not self.accelerator.is_main_process:
            return
        with torch.device("meta"):
            whole = self.build()
        whole.load_state_dict(tensors, assign=True)
        if self.accelerator.unwrap_model(objective).only_guidance:
            assert whole.guidance is not None
            save_guidance(folder, whole.guidance)
        elif any(".lora_" in name for name in tensors):
            save_adapter(folder, whole.model, torch.bfloat16)
            save_config(folder, whole.model.config)
        else:
            save_model(folder, whole.model, whole.prompt.tokenizer, torch.bfloat16)

    def save_best(self, objective: Objective, step: int, scores: Mapping[str, dict]) -> None:
        """Save the model if it is better than the best one. All processes call it."""
        found = {"step": step, "score": self.score, **scores[self.score]}
        path = self.out / BEST / "score.json"
        best = json.loads(path.read_text()) if path.is_file() else {}
        if best.get("score") == self.score and best["accuracy"] >= found["accuracy"]:
            return
        self.save(objective, self.out / BEST)
        if self.accelerator.is_main_process:
            path.write_text(json.dumps(found, indent=2) + "\n")
        self.accelerator.wait_for_everyone()


def load_matching_weights(
    model: SpatialModel, folder: Path, prefixes: tuple[str, ...] = ("",)
) -> None:
    """Load every tensor of another model with the same name and shape, if its name begins with one
    of the prefixes; log the others.

    Raises CheckpointError if no tensor fits.
    """
    found, own = read_tensors(folder / WEIGHTS), model.state_dict()
    own = {name: tensor for name, tensor in own.items() if name.startswith(prefixes)}
    fitting = {n: t for n, t in found.items() if n in own and own[n].shape == t.shape}
    if not fitting:
        raise CheckpointError(f"{folder / WEIGHTS}: no tensor fits '{model.config.name}'")
    model.load_state_dict(fitting, strict=False)
    log.info(
        "%s: %d of %d tensors taken; new: %s; not used: %s",
        folder,
        len(fitting),
        len(own),
        _listed(own, fitting),
        _listed(found, fitting),
    )


def _listed(names: Mapping[str, Tensor], without: Mapping[str, Tensor]) -> str:
    return ", ".join(sorted(names.keys() - without.keys())) or "none"
