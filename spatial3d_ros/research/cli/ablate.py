"""`spatial3d ablate`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, print_json, print_status


def ablate(
    config: Annotated[Path, typer.Argument(help="YAML file, such as config/ablations/s2.yaml.")],
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once, one thread each.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="Train this variant only; may be repeated.")
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(help="Train this seed only; may be repeated.")
    ] = None,
    table_only: Annotated[
        bool, typer.Option("--table-only", help="Train nothing; only make the tables.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Markdown page to write to.")] = Path(
        "docs/experiments/notebook.md"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train and compare variants of the network, each with several seeds.

    A stopped command resumes: finished runs with unchanged settings are not repeated. The tables go
    to the terminal and, between their marks, into the results page.

        spatial3d ablate config/ablations/s2.yaml --jobs 2

        spatial3d ablate config/ablations/s2.yaml --only full --only "no guidance"

        spatial3d ablate config/ablations/s2.yaml --table-only --json
    """
    from spatial3d_ros.errors import ConfigError, Spatial3DError
    from spatial3d_ros.research.evaluation.reports.results_page import write_section
    from spatial3d_ros.research.experiments.ablation_report import ablation_report, section
    from spatial3d_ros.research.experiments.ablations import load_ablation, plan, train_all

    ablation = load_ablation(config)
    runs = plan(ablation)
    for names, known, kind in (
        (only or [], list(ablation.variants), "variant"),
        (seeds or [], list(ablation.seeds), "seed"),
    ):
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{config}: no {kind} {name}; it has {', '.join(map(str, known))}"
                )
    failed = []
    if not table_only:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends running trainings too
        wanted = [
            run
            for run in runs
            if (not only or run.variant in only) and (not seeds or run.seed in seeds)
        ]
        failed = train_all(wanted, ablation.out.parent, jobs, print_status)
        if ablation.stress is not None:
            from spatial3d_ros.research.experiments.robustness import measure_all

            measure_all(ablation, wanted, ablation.out.parent, print_status)
    report = ablation_report(ablation, runs)
    tables = report.tables()
    if report.found:
        text = section(f"spatial3d ablate {config}", ablation, tables)
        write_section(results, f"ablation {ablation.name}", ablation.title, text)
    if json:
        print_json(report.json())
    else:
        for table in tables:
            out.print(table.table())
    if failed:
        raise Spatial3DError(f"{len(failed)} runs failed: {'; '.join(failed)}")
