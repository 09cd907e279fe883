"""`thorax cross-validate` and `thorax sweep`: many runs in one command."""

from pathlib import Path

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


@click.command("cross-validate")
@OVERRIDES
@SEEDS
@run_options
def cross_validate(
    overrides: tuple[str, ...],
    seeds: str,
    jobs: int | None,
    cluster: str | None,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Train and score every fold and print a table.

    Each fold is a DVC experiment, run in a copy of the project as it is now. Finished runs are
    skipped: after Ctrl-C or a failure the same command resumes.

    \b
    Example:
      thorax cross-validate -S loss=bce_dice --seeds 0,1 --csv folds.csv
    """
    check_packages("`thorax cross-validate`", cluster)
    from thorax.experiments import summaries
    from thorax.experiments.project import open_project
    from thorax.experiments.runs import parse_seeds, plan_folds

    chosen_seeds = parse_seeds(seeds)
    project = open_project(Path())
    snapshot = project.snapshot()
    plans = plan_folds(params_text(), overrides, seeds=chosen_seeds, state=snapshot.state)
    failures = execute(plans, project, snapshot, jobs=jobs, cluster=cluster)
    if failures:
        # Without all folds there is no result.
        raise click.ClickException(failures)
    rows = [
        row
        for plan in plans
        for row in summaries.read_scores(project.scores(plan.name), plan.varied)
    ]
    write_table(csv_file, rows, summaries.CASE_COLUMNS)
    echo(summaries.fold_json(rows) if as_json else summaries.fold_tables(rows))


@click.command()
@click.option(
    "-S",
    "--set-param",
    "overrides",
    multiple=True,
    required=True,
    metavar="KEY=VALUE,…",
    help="Parameter and its values; lists need brackets. Repeatable.",
)
@run_options
def sweep(
    overrides: tuple[str, ...],
    jobs: int | None,
    cluster: str | None,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Try every combination of values and print a table.

    Each combination is a DVC experiment, tested on the fold of params.yaml and run in a copy of
    the project as it is now. Finished runs are skipped: after Ctrl-C or a failure the same command
    resumes.

    \b
    Example:
      thorax sweep -S loss=focal_dice,bce -S network.name=unet,lean
    """
    check_packages("`thorax sweep`", cluster)
    from thorax.common.tables import to_json
    from thorax.experiments import summaries
    from thorax.experiments.project import open_project
    from thorax.experiments.runs import plan_sweep, reuse_existing_names
    from thorax.experiments.tasks import started_names

    project = open_project(Path())
    snapshot = project.snapshot()
    planned = plan_sweep(params_text(), overrides, state=snapshot.state)
    plans = reuse_existing_names(planned, [*started_names(project.root), *project.finished()])
    failures = execute(plans, project, snapshot, jobs=jobs, cluster=cluster)
    finished = project.finished()
    scored = [
        (plan.varied, summaries.read_scores(project.scores(plan.name), {}))
        for plan in plans
        if plan.name in finished
    ]
    combinations, rows = [plan.varied for plan in plans], summaries.summarise_sweep(scored)
    if rows:
        write_table(csv_file, rows, (*combinations[0], *summaries.SUMMARY_COLUMNS))
        echo(to_json(rows) if as_json else summaries.sweep_table(combinations, rows))
    if failures:
        raise click.ClickException(failures)
