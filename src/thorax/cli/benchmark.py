"""`thorax benchmark`: published protocols on public datasets."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from thorax.cli.options import echo
from thorax.cli.runs import (
    OVERRIDES,
    SEEDS,
    check_packages,
    execute,
    params_text,
    run_options,
    write_table,
)

_PROTOCOLS = ("published", "swapped", "patients")
"""As in `thorax.experiments.benchmark.protocols`; a test compares the two."""


@click.group()
def benchmark() -> None:
    """Run a published protocol and print published results, too."""


@benchmark.command()
@click.option(
    "--protocol",
    type=click.Choice(_PROTOCOLS),
    default="published",
    show_default=True,
    help="Five published folds with 16 training and 4 test cases; the same folds swapped, with 4 "
    "training and 16 test cases; or five folds by patient, without scans of a patient on both "
    "sides.",
)
@OVERRIDES
@SEEDS
@click.option(
    "--masks",
    multiple=True,
    metavar="NAME=FOLDER",
    help="Masks of another tool, named like the cases: they are scored, too, and compared with "
    "ours case by case. Repeatable.",
)
@click.option(
    "--predicted-region",
    "labels",
    multiple=True,
    metavar="[NAME:]REGION=LABELS",
    help="Label values of these masks, of all tools or of NAME, for example lung=1,2, infection=3, "
    "left_lung=2, right_lung=1. Repeatable.  [default: as in the dataset, 1 left, 2 right, 3 "
    "infection]",
)
@click.option(
    "--ignore",
    "ignored",
    multiple=True,
    type=int,
    help="Label value of these masks that belongs to no region. Repeatable.",
)
@click.option(
    "--allow-missing", "missing", is_flag=True, help="Leave out cases without a mask of --masks."
)
@run_options
def covid19(
    protocol: str,
    overrides: tuple[str, ...],
    seeds: str,
    jobs: int | None,
    cluster: str | None,
    csv_file: Path | None,
    as_json: bool,
    **others: Any,
) -> None:
    """Train and score all folds of the COVID-19 CT Lung and Infection Segmentation Dataset.

    Downloads the 20 scans (1.1 GB) unless they are in data/covid19, runs a cross-validation with
    all training cases of each fold and without validation, and prints Dice and NSD of the lungs,
    each lung and the infection, with published results. Finished runs are skipped: after Ctrl-C or
    a failure the same command resumes.

    \b
    Example:
      thorax benchmark covid19 --protocol swapped -S train.epochs=40 --csv ours.csv
      thorax benchmark covid19 --masks lungmask=other/ --predicted-region lung=1,2
    """
    check_packages("`thorax benchmark`", cluster, "pooch")
    from thorax.experiments.benchmark.planning import OtherMaskOptions, plan_benchmark
    from thorax.experiments.benchmark.protocols import PROTOCOLS
    from thorax.experiments.benchmark.scores import COLUMNS
    from thorax.experiments.benchmark.tables import benchmark_json, benchmark_text
    from thorax.experiments.project import open_project
    from thorax.experiments.runs import parse_seeds

    chosen_seeds = parse_seeds(seeds)
    planned = plan_benchmark(
        open_project(Path()),
        params_text(),
        PROTOCOLS[protocol],
        overrides,
        seeds=chosen_seeds,
        other=OtherMaskOptions(**others),
        report=partial(echo, err=True),
    )
    failures = execute(planned.plans, planned.project, planned.snapshot, jobs=jobs, cluster=cluster)
    if failures:
        raise click.ClickException(failures)
    results = planned.results()
    write_table(csv_file, results.rows, COLUMNS)
    echo(benchmark_json(results) if as_json else benchmark_text(results))
