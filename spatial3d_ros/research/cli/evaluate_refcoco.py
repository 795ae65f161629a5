"""`spatial3d evaluate refcoco`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, print_json


def refcoco(
    references: Annotated[Path, typer.Argument(help="refs.json, or rows as JSON or JSON lines.")],
    images: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    model: Annotated[str, typer.Option(help="Folder with weights of a network that sees.")],
    instances: Annotated[Path | None, typer.Option(help="instances.json of refs.json.")] = None,
    split: Annotated[str | None, typer.Option(help="val, testA, ...; by default all.")] = None,
    limit: Annotated[int | None, typer.Option(help="First pictures only.", min=1)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Referring expressions for boxes of photographs (RefCOCO's format), without depth.

    The candidates are the annotated boxes of the picture. The network should be one that was
    trained on pictures as planes (config/experiments/open_planar.yaml).

        spatial3d evaluate refcoco refs.json --instances instances.json --images train2014
        --model runs/experiments/open_planar/picture/seed0/model --split testA
    """
    from spatial3d_ros.research.datasets.refcoco import read_refcoco
    from spatial3d_ros.research.experiments.refcoco import evaluate_refcoco

    photographs = read_refcoco(references, instances, split)[:limit]
    report = evaluate_refcoco(photographs, images, model).report
    if json:
        print_json(report)
        return
    for name, value in report.items():
        out.print(f"{name:10} {value:g}{'' if name == 'sentences' else ' %'}")
