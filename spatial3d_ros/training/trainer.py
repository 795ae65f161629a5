"""The training loop: `spatial3d train config/train/tiny.yaml`. Resumes by itself from its last
checkpoint.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

from spatial3d_ros.data.language import vocabulary_corpus
from spatial3d_ros.data.view_store import ViewStore, render_store
from spatial3d_ros.model.checkpoint import TOKENIZER, load_model, model_folder, save_model
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.tokens import load_tokenizer, train_tokenizer
from spatial3d_ros.tasks.prompt import END, GROUND_TASK, OBJECTS, START, SYSTEM, Prompt
from spatial3d_ros.training.config import TrainConfig, load_train_config
from spatial3d_ros.training.objective import Objective, chosen_right
from spatial3d_ros.training.samples import Sample, Samples

log = logging.getLogger(__name__)
VALIDATION_FIRST = 850_000


def train(config: TrainConfig) -> Path:
    """Run to `config.steps`; returns the folder of the trained model."""
    set_seed(config.seed)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "train.json").write_text(config.model_dump_json(indent=2))
    model_config = load_config(config.model)
    precision = (
        ("bf16" if _has_bf16() else "no") if config.precision == "auto" else config.precision
    )
    accelerator = Accelerator(mixed_precision=precision)
    prompt = Prompt(_tokenizer(config, model_config, out))
    model = SpatialModel(model_config)
    if config.init:
        model.load_state_dict(load_model(model_folder(config.init))[0].state_dict())
    store, held_out = _stores(config, model_config)
    optimizer = torch.optim.AdamW(
        _groups(model, config.weight_decay),
        lr=config.lr,
        betas=(0.9, 0.98),
        fused=torch.cuda.is_available(),
    )
    objective = Objective(model, prompt, config.weights)
    objective, optimizer = accelerator.prepare(objective, optimizer)
    start = _resume(accelerator, out)
    share = (accelerator.process_index, accelerator.num_processes)
    samples = Samples(config, model_config, prompt, store, start=start, share=share)
    loader = DataLoader(
        samples,
        batch_size=None,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )
    validation = _validation(config, model_config, prompt, held_out)

    began, totals = time.monotonic(), defaultdict(list)
    objective.train()
    for step, parts in enumerate(loader, start=start + 1):
        with accelerator.autocast():
            loss, figures = objective(parts)
        accelerator.backward(loss)
        for name, value in figures.items():
            totals[name].append(value)
        accelerator.clip_grad_norm_(objective.parameters(), config.clip)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _rate(step, config)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if not accelerator.is_main_process:
            continue
        last = step == config.steps
        if step % 20 == 0:
            pace = (time.monotonic() - began) / (step - start)
            row = {"step": step, "seconds": round(time.monotonic() - began, 1)}
            row |= {name: round(sum(v) / len(v), 4) for name, v in totals.items()}
            _append(out / "metrics.csv", row)
            left = pace * (config.steps - step) / 60
            log.info(
                "step %d of %d, %.2f s a step, %.0f min left, %s",
                step,
                config.steps,
                pace,
                left,
                row,
            )
            totals.clear()
        if step % config.evaluate_every == 0 or last:
            report = evaluate(accelerator.unwrap_model(objective), validation)
            (out / f"validation_{step:06d}.json").write_text(json.dumps(report, indent=2))
            log.info("validation at step %d: %s", step, report)
            objective.train()
        if step % config.save_every == 0 or last:
            accelerator.save_state(str(out / "last"), safe_serialization=True)
            (out / "last" / "step").write_text(str(step))
            save_model(out / "model", model, prompt.tokenizer, torch.bfloat16)
    return out / "model"


@torch.no_grad()
def evaluate(objective: Objective, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Top-1 accuracy by source and kind of question on held-out rooms and wordings."""
    objective.eval()
    right: dict[str, list[bool]] = defaultdict(list)
    for sample in samples:
        reading = objective.read(sample)[1]
        hits = chosen_right(reading.scores, sample.targets).tolist()
        for kind, partly, hit in zip(sample.kinds, sample.partly, hits, strict=True):
            for name in ("", f"/{kind.split('/')[0]}", f"/{kind}", *["/partly"] * partly):
                right[sample.origin + name].append(hit)
    return {
        name: {"accuracy": round(sum(v) / len(v), 4), "n": len(v)}
        for name, v in sorted(right.items())
    }


def _rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then cosine to 2 %."""
    if step < config.warmup:
        return step / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _groups(model: SpatialModel, weight_decay: float) -> list[dict]:
    """Matrices decay, biases, norms and embeddings do not."""
    decayed = [p for n, p in model.named_parameters() if p.dim() > 1 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.dim() <= 1 or "embed" in n]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def _stores(config: TrainConfig, model: ModelConfig) -> tuple[ViewStore | None, ViewStore | None]:
    if not config.rendered.batch:
        return None, None
    size, views = model.vision.image_size, config.rendered.views
    folder, workers = Path(config.rendered.folder), max(1, config.workers)
    return (
        render_store(
            folder / "train",
            rooms=config.rendered.rooms,
            views=views,
            size=size,
            first=config.rendered.first,
            workers=workers,
        ),
        render_store(
            folder / "validation",
            rooms=config.validation.rooms,
            views=config.validation.views,
            size=size,
            first=VALIDATION_FIRST,
            workers=workers,
        ),
    )


def _validation(
    config: TrainConfig, model: ModelConfig, prompt: Prompt, store: ViewStore | None
) -> list[Sample]:
    """Held-out rooms with undisturbed boxes and the held-out wordings."""
    asked = config.validation
    boxes = config.boxes.model_copy(
        update={"first": VALIDATION_FIRST, "batch": asked.rooms, "questions": asked.questions}
    )
    rendered = config.rendered.model_copy(update={"batch": 0, "questions": asked.questions})
    samples = Samples(
        config.model_copy(update={"boxes": boxes, "rendered": rendered, "steps": 1}),
        model,
        prompt,
        None,
        split="test",
    )
    made = [part for i in range(len(samples)) for part in samples[i]]
    if store is not None:
        rng = np.random.default_rng(config.seed)
        for first in range(0, len(store), 4):
            rooms = [
                samples.rendered_room(store[i], rng, config.rendered.views)
                for i in range(first, min(first + 4, len(store)))
            ]
            made.append(samples.collate(rooms, rng))
    return made


def _tokenizer(config: TrainConfig, model: ModelConfig, out: Path) -> Tokenizer:
    path = out / TOKENIZER
    if config.init:
        path = model_folder(config.init) / TOKENIZER
    elif not path.is_file():
        fixed = [
            START,
            SYSTEM,
            END,
            OBJECTS,
            GROUND_TASK,
            "user\n",
            "assistant\n",
            "system\n",
            " nothing here fits",
        ]
        fixed += [
            f" the {color} {name}" for color in model.names.colors for name in model.names.classes
        ]
        corpus = [*fixed * 50, *vocabulary_corpus(config.tokenizer_sentences, config.seed)]
        tokenizer = train_tokenizer(corpus, model.text.vocab)
        tokenizer.save(str(path))
    return load_tokenizer(path)


def _resume(accelerator: Accelerator, out: Path) -> int:
    marker = out / "last" / "step"
    if not marker.is_file():
        return 0
    accelerator.load_state(str(out / "last"))
    step = int(marker.read_text())
    log.info("resumed from step %d", step)
    return step


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def main(path: str) -> None:
    """Entry point of `spatial3d train`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    print(train(load_train_config(path)))
