"""`spatial3d train`, `train-reader`, `fit-proposals` and `fit-resolution`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from spatial3d_ros.cli.output import out, print_json, print_status
from spatial3d_ros.errors import ConfigError


def train(
    config: Annotated[Path, typer.Argument(help="YAML file, such as config/train/joint.yaml.")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Estimate memory, time and days; train nothing.")
    ] = False,
    card: Annotated[
        str, typer.Option(help="With --plan: A100, H100, H200, L40S or RTX4090.")
    ] = "H100",
    cards: Annotated[int, typer.Option(min=1, help="With --plan: how many.")] = 1,
    sharded: Annotated[
        bool, typer.Option("--sharded", help="With --plan: weights distributed by FSDP.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --plan: print JSON.")] = False,
) -> None:
    """Train a network on generated rooms or on ScanNet. A stopped run resumes from its last
    checkpoint.

    spatial3d train config/train/joint.yaml

    spatial3d train config/train/llava_video_7b_lite.yaml --plan --card H100 --cards 8

    On several GPUs, or machines, the same losses come out; weights may be sharded (FSDP):

    accelerate launch --config_file config/accelerate/fsdp.yaml -m spatial3d_ros train CONFIG
    """
    if not config.is_file():
        raise ConfigError(f"{config}: no such file; config/train/ has the shipped ones")
    if plan:
        _show_plan(config, card, cards, sharded, json)
        return
    from spatial3d_ros.research.training import trainer

    trainer.main(str(config))


def _show_plan(config: Path, card: str, cards: int, sharded: bool, json: bool) -> None:
    from spatial3d_ros.research.training.config import load_train_config
    from spatial3d_ros.research.training.plan import UTILISATION
    from spatial3d_ros.research.training.plan import plan as plan_run

    found = plan_run(load_train_config(config), card, cards, sharded)
    if json:
        print_json(found.json())
        return
    table = Table(
        title=f"{config.name} on {cards} x {card}", title_justify="left", show_footer=True
    )
    table.add_column("memory of one card", footer="fits" if found.fits else "DOES NOT FIT")
    table.add_column("GiB", footer=f"{found.gib:.1f}", justify="right")
    for part, size in found.bytes.items():
        table.add_row(part, f"{size / 2**30:.2f}")
    table.caption = (
        f"{found.seconds:.1f} s a step at {UTILISATION:.0%} of the card's peak, "
        f"{found.days:.2f} days in all. Weights to states are exact, the rest is an estimate"
    )
    out.print(table)


def train_reader(
    weights: Annotated[Path, typer.Argument(help="File to write, .safetensors.")],
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 5000,
    batch: Annotated[int, typer.Option(min=1, help="Sentences a step.")] = 128,
    rate: Annotated[float, typer.Option(min=0.0, help="Highest learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Of sentences and weights.")] = 0,
    start: Annotated[Path | None, typer.Option(help="Weights to go on from.")] = None,
    favour: Annotated[
        str, typer.Option(help="Slots whose frames make half of the sentences, e.g. purp,code.")
    ] = "",
    all_frames: Annotated[bool, typer.Option(help="Train on the held-out frames too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train the reader of sentences on generated ones. The shipped weights come from the defaults.
    Reports its accuracy on sentences that training could draw (train), of held-out frames (frames),
    and of held-out frames and phrases (test).

        spatial3d train-reader runs/reader.safetensors
    """
    from spatial3d_ros.research.query.training import evaluate_reader
    from spatial3d_ros.research.query.training import train_reader as run
    from spatial3d_ros.tasks.query_network import load_reader

    weights.parent.mkdir(parents=True, exist_ok=True)
    split = "all" if all_frames else "train"
    run(
        weights, steps=steps, batch=batch, rate=rate, seed=seed, split=split, start=start,
        favoured=favour.split(",") if favour else (), say=print_status,
    )  # fmt: skip
    reader = load_reader(weights)
    scores = {split: evaluate_reader(reader, 4096, split) for split in ("train", "frames", "test")}
    if json:
        print_json(scores)
        return
    for split, shares in scores.items():
        shown = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
        out.print(f"{split}: {shown}")


def fit_proposals(
    weights: Annotated[Path, typer.Argument(help="File to write, .safetensors.")],
    folder: Annotated[Path, typer.Option(help="Folder for recordings of rooms.")] = Path(
        "runs/proposals"
    ),
    rooms: Annotated[int, typer.Option(min=1, help="Number of rooms.")] = 64,
    seed: Annotated[int, typer.Option(help="The first room.")] = 800_000,
    merging: Annotated[
        bool, typer.Option("--merging", help="Fit scene/region_merging.py too; prints its table.")
    ] = False,
) -> None:
    """Fit the weights by which proposals are chosen, on generated rooms.

    spatial3d fit-proposals resource/proposals.safetensors
    """
    import numpy as np
    from safetensors.numpy import save_file

    from spatial3d_ros.research.training import proposal_weights
    from spatial3d_ros.scene.proposals import ProposalConfig
    from spatial3d_ros.scene.region_merging import WEIGHTS

    config = ProposalConfig()
    examples = []
    for number in range(seed, seed + rooms):
        examples += proposal_weights.room_examples(folder, number, config)
        print_status(f"room {number}: {len(examples)} scenes")
    merges = np.array([*WEIGHTS.values()])
    if merging:
        merges = proposal_weights.fit_merging(examples, print_status)
        for name, value in zip(WEIGHTS, merges, strict=True):
            out.print(f'    "{name}": {value:.2f},', highlight=False)
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_file(proposal_weights.fit_proposals(examples, config, merges, print_status), weights)


def fit_resolution(
    weights: Annotated[Path, typer.Argument(help="File to write, .yaml.")],
    folder: Annotated[Path, typer.Option(help="Folder for recordings of rooms.")] = Path(
        "runs/evaluation"
    ),
    rooms: Annotated[int, typer.Option(min=1, help="Number of rooms.")] = 12,
    seed: Annotated[int, typer.Option(help="The first room.")] = 850_000,
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
) -> None:
    """Fit the weights by which the network's scores, labels, colours and geometry are combined, and
    the temperature of confidences, on generated rooms. To be repeated for each new network.

    spatial3d fit-resolution resource/resolution.yaml
    """
    from spatial3d_ros.engine import EngineConfig, Spatial3D
    from spatial3d_ros.research.evaluation.rooms import load_or_record
    from spatial3d_ros.research.experiments import resolution_weights
    from spatial3d_ros.research.rooms.catalog import catalog_of_room

    engine = Spatial3D(EngineConfig(model=model))
    engine.load()
    questions = []
    for number in range(seed, seed + rooms):
        recorded = load_or_record(folder, number, catalog_of_room("both", number))
        resolution_weights.observe(engine, recorded)
        questions += resolution_weights.ask(engine, recorded)
        print_status(f"room {number}: {len(questions)} questions")
    fitted = resolution_weights.fit_weights(questions, engine.weights, print_status)
    weights.parent.mkdir(parents=True, exist_ok=True)
    resolution_weights.write_weights(weights, fitted)
