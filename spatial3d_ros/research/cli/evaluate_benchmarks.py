"""`spatial3d evaluate referit3d`, `... scanrefer`, `... sr3d-style`: rooms of boxes without images,
or scans with views.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spatial3d_ros.cli.output import out, print_json, print_status
from spatial3d_ros.research.cli.scan_options import reads_scans
from spatial3d_ros.research.spread import rank

if TYPE_CHECKING:
    from spatial3d_ros.research.datasets.box_sources import BoxSource
    from spatial3d_ros.research.evaluation.public.boxes_report import BoxesReport
    from spatial3d_ros.research.evaluation.public.scan_runner import ScanSetup

Objects = Annotated[
    Path | None,
    typer.Option(
        help="Rooms: one JSON object a line with scene_id and objects (id, label, center, size, "
        "and if known avg_rgb, front_point); may be gzipped."
    ),
]
Detections = Annotated[
    Path | None, typer.Option(help="Candidate boxes of a detector, in the format of --objects.")
]
Model = Annotated[str, typer.Option(help="Shipped model, or folder with weights.")]
Fronts = Annotated[
    bool, typer.Option(help="Use the front direction of objects, if the rooms have front_point.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Results = Annotated[
    Path | None, typer.Option(help="Markdown page to write the tables to, between their marks.")
]


@reads_scans
def referit3d(
    utterances: Annotated[Path, typer.Option(help="CSV file of Nr3D or Sr3D.")],
    objects: Objects = None,
    detections: Detections = None,
    model: Model = "tiny",
    fronts: Fronts = False,
    json: AsJson = False,
    results: Results = None,
    *,
    setup: Any,
) -> None:
    """Nr3D or Sr3D on true boxes or a detector's: with labels and colours and without images, or
    with views of scans.

    The official filter is applied. The report has two lower baselines: the nearest-anchor rule, and
    a random choice within the right class. Sentences about scenes or objects that are missing in
    the rooms are counted and listed.

        spatial3d evaluate referit3d --objects rooms.jsonl.gz --utterances nr3d.csv

        spatial3d evaluate referit3d --scans scans --utterances nr3d.csv --model models/robot
    """
    from spatial3d_ros.research.evaluation.public.boxes_cases import referit_cases
    from spatial3d_ros.research.evaluation.public.boxes_report import evaluate_boxes

    boxes, found = _boxes(setup, objects, detections)
    asked = referit_cases(boxes, utterances, detections=found)
    load = None if setup is None else setup.load
    report = evaluate_boxes(asked, model, print_status, fronts=fronts, load=load)
    command = f"referit3d {_inputs(setup)} --utterances {utterances.name}"
    _show(report, json, results, command + _detections(detections) + " --fronts" * fronts)


@reads_scans
def scanrefer(
    utterances: Annotated[
        Path, typer.Option(help="JSON file of ScanRefer, or of SceneVerse (ssg_ref_*.json).")
    ],
    objects: Objects = None,
    detections: Detections = None,
    classes: Annotated[
        str, typer.Option(help="What 'unique' counts: raw labels, scannet18 or nyu40 classes.")
    ] = "raw",
    label_table: Annotated[
        Path | None, typer.Option(help="scannetv2-labels.combined.tsv, for the two class maps.")
    ] = None,
    unique_by: Annotated[
        str, typer.Option(help="Among all objects of the scene, or the annotated ones (official).")
    ] = "scene",
    model: Model = "tiny",
    fronts: Fronts = False,
    json: AsJson = False,
    results: Results = None,
    *,
    setup: Any,
) -> None:
    """ScanRefer on true boxes or a detector's: with labels and colours and without images, or with
    views of scans.

    True boxes are scored by the very object, detections by overlap (Acc@0.25, Acc@0.5). With the
    whole file of a split, --unique-by annotated is the official definition.

        spatial3d evaluate scanrefer --objects rooms.jsonl.gz --utterances ScanRefer_val.json

        spatial3d evaluate scanrefer --objects rooms.jsonl.gz --utterances ScanRefer_val.json
        --detections mask3d.jsonl --json

        spatial3d evaluate scanrefer --scans scans --proposals mask3d --model models/robot
        --utterances ScanRefer_filtered_val.json --unique-by annotated
    """
    from spatial3d_ros.research.evaluation.public.boxes_cases import scanrefer_cases
    from spatial3d_ros.research.evaluation.public.boxes_report import evaluate_boxes

    if setup is not None:
        setup = replace(setup, label_table=label_table)
    boxes, found = _boxes(setup, objects, detections)
    asked = scanrefer_cases(
        boxes, utterances, detections=found, classes=classes, label_table=label_table,
        unique_by=unique_by,
    )  # fmt: skip
    load = None if setup is None else setup.load
    report = evaluate_boxes(asked, model, print_status, fronts=fronts, load=load)
    command = f"scanrefer {_inputs(setup)} --utterances {utterances.name}"
    _show(report, json, results, command + _detections(detections) + " --fronts" * fronts)


@reads_scans
def sr3d_style(
    objects: Objects = None,
    detections: Detections = None,
    count: Annotated[
        int, typer.Option(min=10, help="How many sentences, over 10 relations.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same sentences.")] = 0,
    mix: Annotated[
        str, typer.Option(help="Frequency of relations: as in Sr3D (sr3d), or equal.")
    ] = "sr3d",
    model: Model = "tiny",
    fronts: Fronts = True,
    json: AsJson = False,
    results: Results = None,
    *,
    setup: Any,
) -> None:
    """Sentences with one relation each, made on the rooms: closest, between, above, left and so on.

    With --scans the network sees views, also of scans that have no sentences of their own. The
    report also has an upper baseline: rules that know the relations and the object fronts.

        spatial3d evaluate sr3d-style --objects rooms.jsonl.gz --count 1000

        spatial3d evaluate sr3d-style --objects rooms.jsonl.gz --mix equal --json

        spatial3d evaluate sr3d-style --scans multiscan --proposals boxes.jsonl --model models/robot
    """
    from spatial3d_ros.research.evaluation.public.boxes_cases import relation_cases
    from spatial3d_ros.research.evaluation.public.boxes_report import evaluate_boxes

    boxes, found = _boxes(setup, objects, detections)
    asked = relation_cases(boxes, count, seed, mix, detections=found)
    load = None if setup is None else setup.load
    report = evaluate_boxes(asked, model, print_status, fronts=fronts, load=load)
    command = f"sr3d-style {_inputs(setup)} --count {count} --seed {seed} --mix {mix}"
    _show(report, json, results, command + _detections(detections) + " --no-fronts" * (not fronts))


def _boxes(
    setup: ScanSetup | None, objects: Path | None, detections: Path | None
) -> tuple[Path | BoxSource, Path | BoxSource | None]:
    """True boxes, and those to choose from."""
    if setup is None:
        if objects is None:
            raise typer.BadParameter("give --objects FILE, or --scans DIR for views")
        return objects, detections
    if objects is not None or detections is not None:
        raise typer.BadParameter("--scans has its own boxes: leave out --objects, --detections")
    return setup.truth, setup.detections


def _inputs(setup: ScanSetup | None) -> str:
    if setup is None:
        return "--objects FILE"
    return "--scans DIR" + " --proposals DIR" * (setup.proposals is not None)


def _detections(path: Path | None) -> str:
    return f" --detections {path.name}" if path else ""


def _show(report: BoxesReport, json: bool, results: Path | None, command: str) -> None:
    from spatial3d_ros.research.evaluation.reports.results_page import write_section

    if json:
        print_json(report.json())
    else:
        out.print(report.table())
        out.print(report.confusion_table())
    if results is not None and rank()[0] == 0:
        command = f"spatial3d evaluate {command}"
        mark = command.replace("--", "")  # which may not stand inside a comment
        write_section(results, mark, command, report.markdown(command))
