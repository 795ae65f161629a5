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
from torch import Tensor
from torch.utils.data import DataLoader

from spatial3d_ros.data.language import vocabulary_corpus
from spatial3d_ros.data.view_store import ViewStore, render_store
from spatial3d_ros.model.checkpoint import TOKENIZER, save_model
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.objects import mean_words
from spatial3d_ros.model.tokens import load_tokenizer, train_tokenizer
from spatial3d_ros.tasks.prompt import END, GROUND_TASK, OBJECTS, START, SYSTEM, Prompt
from spatial3d_ros.training.config import TrainConfig, load_train_config
from spatial3d_ros.training.losses import grounding_loss, language_loss, naming_loss
from spatial3d_ros.training.samples import Sample, Samples

log = logging.getLogger(__name__)
VALIDATION_FIRST = 850_000
VALIDATION_ROOMS = 24


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
    store, held_out = _stores(config, model_config)
    optimizer = torch.optim.AdamW(
        _groups(model, config.weight_decay),
        lr=config.lr,
        betas=(0.9, 0.98),
        fused=torch.cuda.is_available(),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config))
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    start = _resume(accelerator, out)
    samples = Samples(config, model_config, prompt, store, start=start)
    loader = DataLoader(
        samples,
        batch_size=None,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )
    validation = _validation(config, model_config, prompt, held_out)

    began, totals = time.monotonic(), defaultdict(list)
    model.train()
    for step, parts in enumerate(loader, start=start + 1):
        for part in parts:
            with accelerator.autocast():
                losses, scores = sample_losses(model, part, prompt)
                total = sum(getattr(config.weights, name) * value for name, value in losses.items())
            accelerator.backward(total)
            origin = "rendered" if part.scenes.has_views else "boxes"
            for name, value in losses.items():
                totals[f"{origin}/{name}"].append(value.item())
            totals[f"{origin}/accuracy"].append(_right(scores, part.targets).float().mean().item())
        accelerator.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
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
        if step % config.evaluate_every == 0 or step == config.steps:
            report = evaluate(accelerator.unwrap_model(model), validation, prompt)
            (out / f"validation_{step:06d}.json").write_text(json.dumps(report, indent=2))
            log.info("validation at step %d: %s", step, report)
            model.train()
        if step % config.save_every == 0 or step == config.steps:
            accelerator.save_state(str(out / "last"), safe_serialization=True)
            (out / "last" / "step").write_text(str(step))
            save_model(
                out / "model", accelerator.unwrap_model(model), prompt.tokenizer, torch.bfloat16
            )
    return out / "model"


def sample_losses(
    model: SpatialModel, sample: Sample, prompt: Prompt
) -> tuple[dict[str, Tensor], Tensor]:
    """The losses of one batch by name, and the grounding scores (Q, N + 1)."""
    scene = model.encode_scene(sample.scenes, prompt.opening)
    reading = model(scene, sample.words, prompt.opening)
    labelled = sample.labels >= 0
    logits = model.decoder.logits(reading.states[labelled])
    named_class, named_color = name_objects(model, scene.named, prompt)
    losses = {
        "ground": grounding_loss(reading.scores, sample.targets),
        "lang": language_loss(logits, sample.labels[labelled]),
        "name": naming_loss(named_class, sample.classes) + naming_loss(named_color, sample.colors),
    }
    return losses, reading.scores


def name_objects(model: SpatialModel, objects: Tensor, prompt: Prompt) -> tuple[Tensor, Tensor]:
    """Class and colour logits of object vectors (B, N, D) over the training vocabulary of names."""
    return tuple(
        namer(objects, mean_words(prompt.name_ids(names), model.decoder.embed)[1])
        for namer, names in (
            (model.name_class, model.config.names.classes),
            (model.name_color, model.config.names.colors),
        )
    )


@torch.no_grad()
def evaluate(
    model: SpatialModel, samples: list[Sample], prompt: Prompt
) -> dict[str, dict[str, float]]:
    """Top-1 accuracy by source and kind of question on held-out rooms and wordings."""
    model.eval()
    right: dict[str, list[bool]] = defaultdict(list)
    for sample in samples:
        _, scores = sample_losses(model, sample, prompt)
        origin = "rendered" if sample.scenes.has_views else "boxes"
        for kind, hit in zip(sample.kinds, _right(scores, sample.targets).tolist(), strict=True):
            for name in (origin, f"{origin}/{kind.split('/')[0]}", f"{origin}/{kind}"):
                right[name].append(hit)
    return {
        name: {"accuracy": round(sum(v) / len(v), 4), "n": len(v)}
        for name, v in sorted(right.items())
    }


def _right(scores: Tensor, targets: Tensor) -> Tensor:
    return targets.gather(1, scores.argmax(-1, keepdim=True))[:, 0]


def _rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then cosine to 2 %."""
    if step < config.warmup:
        return (step + 1) / config.warmup
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
            rooms=VALIDATION_ROOMS,
            views=views,
            size=size,
            first=VALIDATION_FIRST,
            workers=workers,
        ),
    )


def _validation(
    config: TrainConfig, model: ModelConfig, prompt: Prompt, store: ViewStore | None
) -> list[Sample]:
    """Held-out rooms with undisturbed boxes and the held-out wordings."""
    boxes = config.boxes.model_copy(
        update={"first": VALIDATION_FIRST, "batch": 12, "questions": 12}
    )
    rendered = config.rendered.model_copy(update={"batch": 0})
    samples = Samples(
        config.model_copy(update={"boxes": boxes, "rendered": rendered, "steps": 2}),
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
                samples.rendered_room(store[i], rng, len(store[i].rgb))
                for i in range(first, min(first + 4, len(store)))
            ]
            made.append(samples.collate(rooms, rng))
    return made


def _tokenizer(config: TrainConfig, model: ModelConfig, out: Path) -> Tokenizer:
    path = out / TOKENIZER
    if not path.is_file():
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
