"""`spatial3d doctor`: checks this machine and names the command for what is missing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from spatial3d_ros.cli.output import out, print_json

MARKS = {
    "ok": "[green]ok      [/]",
    "missing": "[red]missing [/]",
    "degraded": "[yellow]degraded[/]",
    "optional": "[dim]optional[/]",
}


def doctor(
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    ros: Annotated[
        bool, typer.Option("--ros/--no-ros", help="Check what only the nodes need, too.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine: Python, libraries, GPU, weights, ROS, DDS transport of images.

    Each missing part comes with the command that installs it. Exit code 1 if a required part is
    missing; *degraded* parts work badly, *optional* ones are needed for one function only.

    spatial3d doctor

    spatial3d doctor --model models/robot --device cuda --json
    """
    from spatial3d_ros.doctor import examine, is_well

    findings = examine(model=model, device=device, ros=ros)
    well = is_well(findings)
    if json:
        print_json({"well": well, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            line = f"{MARKS[finding.state]} {finding.name:<{width}}  {escape(finding.found)}"
            out.print(line, soft_wrap=True, highlight=False)
            if finding.cure:
                cure = escape(finding.cure)
                out.print(f"{'':<{width + 11}}[bold]{cure}[/]", soft_wrap=True, highlight=False)
    if not well:
        raise typer.Exit(1)
