"""`spatial3d evaluate multi3drefer | scanqa | sqa3d | scan2cap | distance`: public files, answered
by the network on rooms of boxes or on scans with views, or by anything else in a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spatial3d_ros.cli.output import out, print_json
from spatial3d_ros.research.cli.evaluate_benchmarks import AsJson, Model
from spatial3d_ros.research.cli.scan_options import reads_scans

if TYPE_CHECKING:
    from spatial3d_ros.research.evaluation.public.given_answers import PublicReport
    from spatial3d_ros.research.evaluation.public.scan_runner import ScanSetup

Answers = Annotated[
    Path | None,
    typer.Option(
        help="Score these instead of the network: one JSON object a line, with id and text, boxes."
    ),
]
MaybeObjects = Annotated[
    Path | None, typer.Option(help="Rooms for the network; not needed with --answers.")
]


@reads_scans
def multi3drefer(
    descriptions: Annotated[Path, typer.Option(help="multi3drefer_*.json.")],
    objects: MaybeObjects = None,
    answers: Answers = None,
    model: Model = "tiny",
    json: AsJson = False,
    *,
    setup: Any,
) -> None:
    """Multi3DRefer: descriptions of none, one or several objects. F1 at IoU 0.25 and 0.5.

    In --answers an id is scene/objects/annotation, such as scene0000_00/3-5/17, and boxes are
    [x, y, z, dx, dy, dz] in metres.

        spatial3d evaluate multi3drefer --objects rooms.jsonl --descriptions multi3drefer_val.json
    """
    from spatial3d_ros.research.evaluation.public.given_answers import evaluate_multi

    rooms = _needed(objects, setup)
    _show(evaluate_multi(rooms, descriptions, answers, model), json)


@reads_scans
def scanqa(
    questions: Annotated[Path, typer.Option(help="ScanQA_v1.0_val.json.")],
    objects: MaybeObjects = None,
    answers: Answers = None,
    norm: Annotated[
        str, typer.Option(help="How answers are cleaned: leo (Chat-Scene) or raw (Video-3D-LLM).")
    ] = "leo",
    model: Model = "tiny",
    json: AsJson = False,
    *,
    setup: Any,
) -> None:
    """ScanQA: EM@1, refined EM, BLEU, ROUGE-L, CIDEr, and METEOR of exact words.

    spatial3d evaluate scanqa --questions ScanQA_v1.0_val.json --answers mine.jsonl

    spatial3d evaluate scanqa --questions ScanQA_v1.0_val.json --objects rooms.jsonl --norm raw
    """
    from spatial3d_ros.research.evaluation.public.given_answers import evaluate_scanqa

    rooms = setup or objects
    _show(evaluate_scanqa(questions, rooms, answers, norm, model), json)


@reads_scans
def sqa3d(
    questions: Annotated[Path, typer.Option(help="v1_balanced_questions_*_scannetv2.json.")],
    annotations: Annotated[
        Path, typer.Option(help="v1_balanced_sqa_annotations_*_scannetv2.json.")
    ],
    objects: MaybeObjects = None,
    answers: Answers = None,
    model: Model = "tiny",
    json: AsJson = False,
    *,
    setup: Any,
) -> None:
    """SQA3D: EM and refined EM, overall and by first word of the question.

    spatial3d evaluate sqa3d --questions v1_balanced_questions_test_scannetv2.json
    --annotations v1_balanced_sqa_annotations_test_scannetv2.json --answers mine.jsonl
    """
    from spatial3d_ros.research.evaluation.public.given_answers import evaluate_sqa3d

    rooms = setup or objects
    _show(evaluate_sqa3d(questions, annotations, rooms, answers, model), json)


@reads_scans
def scan2cap(
    descriptions: Annotated[Path, typer.Option(help="ScanRefer_filtered_*.json.")],
    objects: MaybeObjects = None,
    answers: Answers = None,
    model: Model = "tiny",
    json: AsJson = False,
    *,
    setup: Any,
) -> None:
    """Scan2Cap: captions of the objects that ScanRefer describes, counted where the box is right.

    In --answers an id is scene/object, such as scene0000_00/3, and the first box is the caption's.

        spatial3d evaluate scan2cap --objects rooms.jsonl --descriptions ScanRefer_val.json
    """
    from spatial3d_ros.research.evaluation.public.given_answers import evaluate_scan2cap

    rooms = _needed(objects, setup)
    _show(evaluate_scan2cap(rooms, descriptions, answers, model), json)


def distance(
    answers: Annotated[
        Path, typer.Option(help="JSON lines with id, text (the answer) and truth (metres).")
    ],
    json: AsJson = False,
) -> None:
    """Distances in answer texts: parse rate, MAE, RMSE, AbsRel, Acc@0.1 m, @0.25 m, @10 %, MRA.

    spatial3d evaluate distance --answers answers.jsonl
    """
    from spatial3d_ros.research.evaluation.public.given_answers import evaluate_distances

    _show(evaluate_distances(answers), json)


def _needed(objects: Path | None, setup: ScanSetup | None) -> Path | ScanSetup:
    """Scans or rooms, whose true boxes are needed."""
    if setup is None and objects is None:
        raise typer.BadParameter("give --objects FILE, or --scans DIR for views")
    return setup or objects  # type: ignore[return-value]


def _show(report: PublicReport, json: bool) -> None:
    if json:
        print_json(report.json())
    else:
        out.print(report.table())
