"""The training loop of `spatial3d train config/train/joint.yaml`. Stopped runs resume.

The result does not depend on the number of processes: the rooms of a step are distributed, every
loss is divided by the count over all processes, and gradients are summed (METHODS 1.10, 1.11).
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import set_seed
from rich.logging import RichHandler
from torch.distributed.fsdp import register_fsdp_forward_method
from torch.utils.data import DataLoader

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.training.activation_checkpointing import enable_activation_checkpointing
from spatial3d_ros.research.training.checkpoints import MODEL, ModelSaver, resume_state, save_state
from spatial3d_ros.research.training.config import TrainConfig, load_train_config
from spatial3d_ros.research.training.crop_stage import CropsConfig, train_crops
from spatial3d_ros.research.training.eyes_trainer import (
    EyesConfig,
    load_stage,
    read_stage,
    train_eyes,
)
from spatial3d_ros.research.training.feature_monitor import FeatureMonitor
from spatial3d_ros.research.training.metrics_log import MetricsLog, StepProgress, console
from spatial3d_ros.research.training.objective import Objective, count_items
from spatial3d_ros.research.training.optimizer import make_optimizer, set_rate
from spatial3d_ros.research.training.presets import apply_preset, load_preset
from spatial3d_ros.research.training.sample import Sample
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.research.training.setup import (
    initial_network,
    room_stores,
    start_guidance,
    with_cached_rooms,
    with_cached_scans,
)
from spatial3d_ros.research.training.validation import (
    Scores,
    evaluate,
    score_names,
    validation_samples,
)
from spatial3d_ros.tasks.prompt import Prompt

log = logging.getLogger(__name__)
MEMORY = "memory.json"
"""Memory of a finished run, in its folder."""


def train(config: TrainConfig) -> Path:
    """Run to `config.steps`; returns the folder of the trained model."""
    run = _Run(config)
    with run.progress:
        for step, micro_batches in enumerate(run.loader, start=run.start + 1):
            run.step(step, micro_batches)
            last = step == config.steps
            saves = step % config.save_every == 0 or last
            if step % config.log_every == 0 or saves:
                run.log_metrics(step)
            if step % config.evaluate_every == 0 or last:
                run.validate(step)
            if saves:
                save_state(run.accelerator, run.out, step)
                run.saver.save(run.objective, run.out / MODEL)
    if run.accelerator.is_main_process:
        (run.out / MEMORY).write_text(json.dumps(_memory(run.objective)) + "\n")
    return run.out / MODEL


def _memory(objective: torch.nn.Module) -> dict[str, float]:
    """Peak memory of this process, on the GPU if there is one; what is trained, in millions of
    parameters and in bytes of their gradients and the two states of AdamW.
    """
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    else:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = 1024 * next(int(s.split()[1]) for s in lines if s.startswith("VmHWM"))
    trained = sum(p.numel() for p in objective.parameters() if p.requires_grad)
    return {
        "peak memory, MiB": round(peak / 2**20, 1),
        "trained, M": round(trained / 1e6, 3),
        "gradients and states, MiB": round(12 * trained / 2**20, 1),
    }


class _Run:
    """One process of a run, at the step where it starts or resumes."""

    def __init__(self, config: TrainConfig) -> None:
        set_seed(config.seed)
        self.config, self.out = config, Path(config.out)
        self.out.mkdir(parents=True, exist_ok=True)
        # Steps without pixels leave the vision parameters unused.
        uneven = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(
            mixed_precision=_precision(config.precision), kwargs_handlers=[uneven]
        )
        if not self.accelerator.is_main_process:
            logging.getLogger("spatial3d_ros").setLevel(logging.WARNING)
        self.recipe = load_preset(config.preset)
        with self.accelerator.main_process_first():
            model, tokenizer = initial_network(config, self.recipe, self.out)
            store, held_out = room_stores(config)
        if self.accelerator.is_main_process:
            (self.out / "train.json").write_text(config.model_dump_json(indent=2))
        shape = model.config
        self.prompt = Prompt(tokenizer, shape.s2.category_mode)
        objective, groups = self._objective(model)
        start_guidance(config, self.recipe, objective)
        if config.scans.batch and config.scans.cache is not None:
            with self.accelerator.main_process_first():
                config = self.config = with_cached_scans(config, model, self.accelerator.device)
        if config.rendered.cache is not None and store is not None:
            with self.accelerator.main_process_first():
                config = self.config = with_cached_rooms(config, model, (store, held_out))
        self.held_out = validation_samples(config, shape, self.prompt, held_out)
        _check_score(config.score, self.held_out)
        if config.checkpointing:
            enable_activation_checkpointing(model)
        optimizer = make_optimizer(groups, config.lr, config.optimizer_bits)
        if self.accelerator.is_fsdp2:  # only autocast, as without FSDP: positions stay float32
            self.accelerator.state.fsdp_plugin.mixed_precision_policy = None
        self.monitor = None
        if config.sees and not objective.only_guidance:
            self.monitor = FeatureMonitor(model)
        objective.monitor = self.monitor
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        for method in ("hits", "answered"):
            register_fsdp_forward_method(self.objective, method)
        self.start = resume_state(self.accelerator, self.out)
        rank = (self.accelerator.process_index, self.accelerator.num_processes)
        self.loader = DataLoader(
            Samples(config, shape, self.prompt, store, start=self.start, share=rank),
            batch_size=None,
            num_workers=config.workers,
            prefetch_factor=4 if config.workers else None,
        )
        self.saver = ModelSaver(
            self.accelerator,
            self.out,
            lambda: self._objective(SpatialModel(shape))[0],
            config.score,
        )
        self.names = ["loss", *(n for o in config.origins for n in objective.metric_names(o))]
        main = self.accelerator.is_main_process
        self.names += [] if self.monitor is None else self.monitor.names
        self.log = MetricsLog(self.out, self.names, self.start) if main else None
        self.progress = StepProgress(self.start, config.steps, shown=main)
        self.sums: dict[str, torch.Tensor] = {}
        self.seen: Counter[str] = Counter()
        self.objective.train()

    def _objective(self, model: SpatialModel) -> tuple[Objective, list[dict]]:
        objective = Objective(model, self.prompt, self.config.weights)
        objective.answers_as_text = self.config.answers.as_text
        values = {"lr": self.config.lr, "weight_decay": self.config.weight_decay}
        optimizer = self.recipe.optimizer.model_copy(update=values)
        return objective, apply_preset(
            objective, self.recipe.model_copy(update={"optimizer": optimizer})
        )

    def step(self, step: int, micro_batches: Sequence[Sequence[Sample]]) -> None:
        """One step of the optimiser over all micro-batches of all processes."""
        accelerator, world = self.accelerator, self.accelerator.num_processes
        torch.manual_seed(_seed(self.config.seed, step, accelerator.process_index))
        totals = self._totals([sample for micro_batch in micro_batches for sample in micro_batch])
        for i, micro_batch in enumerate(micro_batches, start=1):
            sync = nullcontext() if i == len(micro_batches) else accelerator.no_sync(self.objective)
            with sync:
                micro_batch = [sample.to(accelerator.device) for sample in micro_batch]
                loss, metrics = self.objective(micro_batch, totals)
                accelerator.backward(loss * world)  # gradients are averaged over processes
            for name, value in metrics.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self.seen.update(metrics.keys())
        if self.monitor is not None:
            self._log_features(step, self.monitor)
        accelerator.clip_grad_norm_(self.objective.parameters(), self.config.clip)
        for group in self.optimizer.param_groups:
            set_rate(group, self.config.lr * group["factor"] * _lr_factor(step, self.config))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step(step)

    def _totals(self, samples: Sequence[Sample]) -> dict[str, int]:
        """Number of items that each metric averages in this step, over all processes."""
        counts = count_items(samples)
        local = torch.tensor([counts[name] for name in self.names], device=self.accelerator.device)
        return dict(zip(self.names, self.accelerator.reduce(local).tolist(), strict=True))

    def _log_features(self, step: int, monitor: FeatureMonitor) -> None:
        """Add the step's feature statistics, which are equal in all processes, to the metrics."""
        sums = self.accelerator.reduce(monitor.step_sums().to(self.accelerator.device))
        for name, value in monitor.end_step(step, sums).items():
            share = torch.tensor(value, device=self.accelerator.device)
            share = share / self.accelerator.num_processes
            self.sums[name] = self.sums.get(name, 0.0) + share
            self.seen[name] += 1

    def log_metrics(self, step: int) -> None:
        """Log the mean metrics of the steps since the last log."""
        names = [name for name in self.names if self.seen[name]]
        local = torch.stack([self.sums[name] / self.seen[name] for name in names])
        means = dict(zip(names, self.accelerator.reduce(local).tolist(), strict=True))
        self.sums.clear()
        self.seen.clear()
        if self.log is not None:
            self.log.add(step, means)
        self.progress.row(step, means)

    def validate(self, step: int) -> Scores:
        """Evaluate on the held-out questions, log the scores, and save the best model."""
        objective = self.accelerator.unwrap_model(self.objective)
        if objective.only_guidance:
            return {}
        with self.accelerator.autocast():
            scores = evaluate(objective, self.held_out, self.accelerator)
        self.objective.train()
        if self.log is not None:
            path = self.out / f"validation_{step:06d}.json"
            path.write_text(json.dumps(scores, indent=2))
            log.info("validation at step %d: %s", step, scores)
            accuracy = {name: score["accuracy"] for name, score in scores.items()}
            self.log.show(step, accuracy, "validation/")
        self.saver.save_best(self.objective, step, scores)
        return scores


def _lr_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine schedule to 2 %."""
    if step < config.warmup:
        return step / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _seed(*key: int) -> int:
    """A seed that depends only on the key, so that dropout is the same after a resume."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def _check_score(score: str, samples: Sequence[Sample]) -> None:
    known = {name for sample in samples for names in score_names(sample) for name in names}
    if score not in known:
        raise ConfigError(
            f"best: there is no score {score}; the scores are {', '.join(sorted(known))}"
        )


def _precision(setting: str) -> str:
    if setting != "auto":
        return setting
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    return "bf16" if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else "no"


def main(path: str) -> None:
    """Entry point of `spatial3d train`."""
    handler = RichHandler(console=console, show_path=False) if console.is_terminal else None
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s" if handler else "%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[handler] if handler else None,
    )
    stage = read_stage(path)
    if stage == "eyes":
        print(train_eyes(load_stage(EyesConfig, path)))
    elif stage == "crops":
        print(train_crops(load_stage(CropsConfig, path)))
    else:
        print(train(load_train_config(path)))
