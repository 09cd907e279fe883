"""`thorax cross-validate` and `thorax sweep`: many runs in one command."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thorax.cli.options import CLUSTER, echo, output_options
from thorax.common.backend import require_backend

if TYPE_CHECKING:
    from thorax.experiments.project import Project, Snapshot
    from thorax.experiments.runs import RunPlan
    from thorax.experiments.tasks import TaskRunner


def _run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that both commands share."""
    jobs = click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="Number of runs at a time, which share the cores.  [default: 1; with --cluster, the "
        "number of workers]",
    )
    return jobs(CLUSTER(output_options()(command)))


@click.command("cross-validate")
@click.option(
    "-S",
    "--set-param",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Parameter for all runs, as in dvc exp run. Repeatable.",
)
@click.option(
    "--seeds", default="", metavar="0,1,…", help="Seeds for each fold.  [default: `seed`]"
)
@_run_options
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
    _check_packages("`thorax cross-validate`", cluster)
    from thorax.experiments import summaries
    from thorax.experiments.project import open_project
    from thorax.experiments.runs import parse_seeds, plan_folds

    chosen_seeds = parse_seeds(seeds)
    project = open_project(Path())
    snapshot = project.snapshot()
    plans = plan_folds(_params(), overrides, seeds=chosen_seeds, state=snapshot.state)
    failures = _run_all(plans, project, snapshot, jobs=jobs, cluster=cluster)
    if failures:
        # Without all folds there is no result.
        raise click.ClickException(failures)
    rows = [
        row
        for plan in plans
        for row in summaries.read_scores(project.scores(plan.name), plan.varied)
    ]
    _write_table(csv_file, rows, summaries.CASE_COLUMNS)
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
@_run_options
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
    _check_packages("`thorax sweep`", cluster)
    from thorax.common.tables import to_json
    from thorax.experiments import summaries
    from thorax.experiments.project import open_project
    from thorax.experiments.runs import plan_sweep, reuse_existing_names
    from thorax.experiments.tasks import started_names

    project = open_project(Path())
    snapshot = project.snapshot()
    planned = plan_sweep(_params(), overrides, state=snapshot.state)
    plans = reuse_existing_names(planned, [*started_names(project.root), *project.finished()])
    failures = _run_all(plans, project, snapshot, jobs=jobs, cluster=cluster)
    finished = project.finished()
    scored = [
        (plan.varied, summaries.read_scores(project.scores(plan.name), {}))
        for plan in plans
        if plan.name in finished
    ]
    combinations, rows = [plan.varied for plan in plans], summaries.summarise_sweep(scored)
    if rows:
        _write_table(csv_file, rows, (*combinations[0], *summaries.SUMMARY_COLUMNS))
        echo(to_json(rows) if as_json else summaries.sweep_table(combinations, rows))
    if failures:
        raise click.ClickException(failures)


def _check_packages(command: str, cluster: str | None) -> None:
    require_backend(command, "dvc")
    if cluster is not None:
        from thorax.common.cluster.opening import check_cluster

        check_cluster(cluster)


def _params() -> str:
    from thorax.common.params import PATH

    return PATH.read_text(encoding="utf-8")


def _run_all(
    plans: "list[RunPlan]",
    project: "Project",
    snapshot: "Snapshot",
    *,
    jobs: int | None,
    cluster: str | None,
) -> str:
    """Execute the runs; return the description of failures, empty without any."""
    from thorax.experiments.runner import describe_failures, run_all

    # SIGTERM stops the runs as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = partial(echo, err=True)
    try:
        with _task_runner(cluster) as runner:
            # A cluster starts as many of them as it has workers.
            most = jobs or (len(plans) if cluster else 1)
            failures = run_all(
                plans,
                project,
                snapshot,
                runner=runner,
                jobs=most,
                report=report,
                started="waits for a worker" if cluster else "started",
            )
    except KeyboardInterrupt:
        report("stopped; the same command resumes")
        sys.exit(130)
    return describe_failures(failures, len(plans)) if failures else ""


@contextmanager
def _task_runner(cluster: str | None) -> "Iterator[Callable[[int], TaskRunner]]":
    if cluster is None:
        from thorax.experiments.tasks import LocalProcesses

        yield LocalProcesses
        return
    from thorax.common.cluster.opening import open_cluster
    from thorax.experiments.cluster import ClusterProcesses

    with open_cluster(cluster, note=lambda text: echo(f"Note: {text}", err=True)) as opened:
        yield partial(ClusterProcesses, opened)


def _write_table(path: Path | None, rows: list[dict[str, Any]], columns: Iterable[str]) -> None:
    from thorax.common.files import write_text
    from thorax.common.tables import as_csv

    names = list(columns)
    if path:
        write_text(
            path, as_csv([{key: row[key] for key in names if key in row} for row in rows], names)
        )
