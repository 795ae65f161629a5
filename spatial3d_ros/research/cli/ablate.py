"""`spatial3d ablate`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, print_json, print_status


@contextmanager
def _resumable() -> Iterator[None]:
    """Ctrl+C and SIGTERM in the block end the command with a message."""
    try:
        yield
    except KeyboardInterrupt as error:
        print_status(
            "stopped; finished runs are kept, and the same command resumes the others from their "
            "last checkpoint"
        )
        raise typer.Exit(130) from error


def ablate(
    config: Annotated[
        Path, typer.Argument(help="YAML file, such as config/experiments/e1_position.yaml.")
    ],
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once, one thread each; by default one for each core."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Train this variant only; may be repeated.")
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(help="Train this seed only; may be repeated.")
    ] = None,
    table_only: Annotated[
        bool, typer.Option("--table-only", help="Train nothing; only make the tables.")
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Markdown page to write to; by default the page of an experiment, or "
            "docs/experiments/notebook.md."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train and compare variants of the network, each with several seeds.

    A stopped command resumes: finished runs with unchanged settings are not repeated. The tables go
    to the terminal and, between their marks, into the results page. Of an experiment on a paper's
    claim the gate is evaluated first; without it no table decides anything.

        spatial3d ablate config/experiments/e1_position.yaml

        spatial3d ablate config/experiments/e1_position.yaml --only full --only none --seeds 0

        spatial3d ablate config/experiments/e1_position.yaml --table-only --json
    """
    from spatial3d_ros.errors import ConfigError, Spatial3DError
    from spatial3d_ros.research.evaluation.reports.results_page import write_section
    from spatial3d_ros.research.experiments.ablation_report import ablation_report, section
    from spatial3d_ros.research.experiments.ablations import plan, train_all
    from spatial3d_ros.research.experiments.experiment import Experiment, load_experiment
    from spatial3d_ros.research.experiments.experiment_report import experiment_report
    from spatial3d_ros.research.experiments.experiment_runs import run_experiment

    ablation = load_experiment(config)
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
    jobs = jobs or len(os.sched_getaffinity(0))
    failed: list[str] = []
    wanted = [
        run
        for run in runs
        if (not only or run.variant in only) and (not seeds or run.seed in seeds)
    ]
    if not table_only:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends running trainings too
    if isinstance(ablation, Experiment):
        found = experiment_report(ablation, runs)
        if not table_only:
            with _resumable():
                failed = run_experiment(
                    ablation, config, wanted, jobs, print_status,
                    lambda: print_status(experiment_report(ablation, runs).gate().text),
                )  # fmt: skip
            found = experiment_report(ablation, runs)
        gate = found.gate().text
        print_status(gate)
        report_tables, report_json, any_found = found.tables(), found.json(), bool(found.arms)
        body = f"{gate[:1].upper()}{gate[1:]}.\n\n" + section(
            f"spatial3d ablate {config}", ablation, report_tables
        )
        page = results or ablation.page
        body = "\n\n".join([body, *found.pictures(page)])
    else:
        if not table_only:
            with _resumable():
                failed = train_all(wanted, ablation.out.parent, jobs, print_status)
                if ablation.stress is not None:
                    from spatial3d_ros.research.experiments.robustness import measure_all

                    measure_all(ablation, wanted, ablation.out.parent, print_status)
        report = ablation_report(ablation, runs)
        report_tables, report_json, any_found = report.tables(), report.json(), bool(report.found)
        body = section(f"spatial3d ablate {config}", ablation, report_tables)
        page = results or Path("docs/experiments/notebook.md")
    if any_found:
        write_section(page, f"ablation {ablation.name}", ablation.title, body)
    if json:
        print_json(report_json)
    else:
        for table in report_tables:
            out.print(table.table())
    if failed:
        raise Spatial3DError(f"{len(failed)} runs failed: {'; '.join(failed)}")
