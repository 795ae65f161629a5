"""`spatial3d assemble`: merges public weights and an adapter into one model folder."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, print_status


class Format(str, Enum):
    """Number formats of stored weights."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


def assemble(
    base: Annotated[Path, typer.Argument(help="Folder of LLaVA-Video-7B-Qwen2.")],
    folder: Annotated[Path, typer.Argument(help="Model folder to write.")],
    adapter: Annotated[
        Path | None, typer.Option(help="Adapter folder that training wrote for this base.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Configuration: a name or a YAML file [the adapter's config.yaml, without one "
            "llava_video_7b]."
        ),
    ] = None,
    dtype: Annotated[Format, typer.Option(help="Number format of the weights.")] = Format.bfloat16,
) -> None:
    """Make one model folder of public weights and an adapter, for `model:=FOLDER` of the node.

    spatial3d assemble models/llava_video_7b models/robot --adapter runs/lite/model
    """
    import torch

    from spatial3d_ros.model.checkpoint import CONFIG, save_model
    from spatial3d_ros.model.config import named_config
    from spatial3d_ros.research.training.pretrained import load_pretrained

    number = getattr(torch, dtype.value)
    if model is None:
        trained = adapter is not None and (adapter / CONFIG).is_file()
        model = str(adapter / CONFIG) if trained else "llava_video_7b"
    loaded = load_pretrained(base, named_config(model), number)
    if adapter is None:
        print_status(
            "no adapter: parts that the public weights lack stay untrained: answers are noise"
        )
    else:
        from spatial3d_ros.research.training.adapters import (  # needs peft
            load_adapter,
            merge_adapter,
        )

        load_adapter(adapter, loaded.model)
        merge_adapter(loaded.model)
    save_model(folder, loaded.model, loaded.tokenizer, number)
    out.print(str(folder), soft_wrap=True)
