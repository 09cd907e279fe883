"""Many runs at once, on DVC's queue."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from thorax.cli.options import FILE, echo


def _run_options(command: Callable[..., None]) -> Callable[..., None]:
    """What the commands that queue runs have in common."""
    options = (
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Runs at a time, which share the cores.",
        ),
        click.option("--csv", "table", type=FILE, help="Also write the figures to this CSV file."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command("cross-validate")
@click.option(
    "-S",
    "--set-param",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter for all runs, as in dvc exp run; may be given again.",
)
@click.option(
    "--seeds", default="", metavar="0,1,…", help="Seeds to run every fold with; else `seed` alone."
)
@_run_options
def cross_validate(
    overrides: tuple[str, ...], seeds: str, jobs: int, table: Path | None, as_json: bool
) -> None:
    """Train and score every fold, then print one table.

    Each fold is an experiment on DVC's queue. What is done is not run again: after Ctrl-C or a
    failure the same command goes on.

    \b
    Example:
      thorax cross-validate -S loss=bce_dice --seeds 0,1 --csv folds.csv
    """
    from thorax.experiments import summaries
    from thorax.experiments.queue import open_queue
    from thorax.experiments.runs import parse_seeds, plan_folds

    wanted = parse_seeds(seeds)
    with open_queue(Path()) as queue:
        runs = plan_folds(_params(), overrides, seeds=wanted, state=queue.state())
        failures = _run_all(runs, queue, jobs)
        if failures:
            # Without all folds there is no cross-validation to tell of.
            raise click.ClickException(failures)
        rows = [
            row for run in runs for row in summaries.read_scores(queue.scores(run.name), run.varied)
        ]
    _keep_table(table, rows, summaries.CASE_COLUMNS)
    echo(summaries.fold_json(rows) if as_json else summaries.fold_tables(rows))


@click.command()
@click.option(
    "-S",
    "--set-param",
    "overrides",
    multiple=True,
    required=True,
    metavar="KEY=VALUE,…",
    help="A parameter, with all values to try; may be given again. A list stands in brackets.",
)
@_run_options
def sweep(overrides: tuple[str, ...], jobs: int, table: Path | None, as_json: bool) -> None:
    """Try every combination of some values, then print one table.

    Each combination is an experiment on DVC's queue, tested on the fold of params.yaml. What is
    done is not run again: after Ctrl-C or a failure the same command goes on.

    \b
    Example:
      thorax sweep -S loss=focal_dice,bce -S network.name=unet,lean
    """
    from thorax.common.tables import to_json
    from thorax.experiments import summaries
    from thorax.experiments.queue import open_queue
    from thorax.experiments.runs import plan_sweep, under_known_names

    with open_queue(Path()) as queue:
        planned = plan_sweep(_params(), overrides, state=queue.state())
        runs = under_known_names(planned, [*queue.tasks(), *queue.finished()])
        failures = _run_all(runs, queue, jobs)
        done = queue.finished()
        scored = [
            (run.varied, summaries.read_scores(queue.scores(run.name), {}))
            for run in runs
            if run.name in done
        ]
    combinations, rows = [run.varied for run in runs], summaries.summarise_sweep(scored)
    if rows:
        _keep_table(table, rows, (*combinations[0], *summaries.SUMMARY_COLUMNS))
        echo(to_json(rows) if as_json else summaries.sweep_table(combinations, rows))
    if failures:
        raise click.ClickException(failures)


def _params() -> str:
    from thorax.common.params import PATH

    return PATH.read_text(encoding="utf-8")


def _run_all(runs: list[Any], queue: Any, jobs: int) -> str:
    """Run them; what is to be told of failures, empty if there are none."""
    from thorax.experiments.runner import describe_failures, run_all

    try:
        failures = run_all(runs, queue, jobs=jobs, tell=partial(echo, err=True))
    except KeyboardInterrupt:
        sys.exit(130)
    return describe_failures(failures, len(runs)) if failures else ""


def _keep_table(path: Path | None, rows: list[dict[str, Any]], columns: Iterable[str]) -> None:
    from thorax.common.files import write_text
    from thorax.common.tables import as_csv

    names = list(columns)
    if path:
        write_text(
            path, as_csv([{key: row[key] for key in names if key in row} for row in rows], names)
        )
