"""`spatial3d train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.errors import ConfigError


def train(
    config: Annotated[Path, typer.Argument(help="YAML file, such as config/train/tiny.yaml.")],
) -> None:
    """Train a network on generated rooms. Started again, it goes on where it stopped.

    spatial3d train config/train/tiny.yaml

    On several GPUs, or machines, the same losses come out; weights may be sharded (FSDP):

    accelerate launch --config_file config/accelerate/fsdp.yaml -m spatial3d_ros train CONFIG
    """
    if not config.is_file():
        raise ConfigError(f"{config}: no such file; config/train/ has the shipped ones")
    from spatial3d_ros.research.training import trainer

    trainer.main(str(config))
