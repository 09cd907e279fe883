"""Options and steps shared by the commands that execute many runs."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
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

OVERRIDES = click.option(
    "-S",
    "--set-param",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Parameter for all runs, as in dvc exp run. Repeatable.",
)

SEEDS = click.option(
    "--seeds", default="", metavar="0,1,…", help="Seeds for each fold.  [default: `seed`]"
)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--jobs``, ``--cluster``, ``--csv`` and ``--json`` to a command.

    It gets the parameters ``jobs``, ``cluster``, ``csv_file`` and ``as_json``.
    """
    jobs = click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="Number of runs at a time, which share the cores.  [default: 1; with --cluster, the "
        "number of workers]",
    )
    return jobs(CLUSTER(output_options()(command)))


def check_packages(command: str, cluster: str | None, *packages: str) -> None:
    """Check that the packages of a command and those of a cluster are installed.

    Raises:
        InputError: A package is missing, or the cluster is described wrongly.
    """
    require_backend(command, "dvc", *packages)
    if cluster is not None:
        from thorax.common.cluster.opening import check_cluster

        check_cluster(cluster)


def params_text() -> str:
    """Return the content of `params.yaml` in the working directory."""
    from thorax.common.params import PATH

    return PATH.read_text(encoding="utf-8")


def execute(
    plans: "Sequence[RunPlan]",
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


def write_table(path: Path | None, rows: Sequence[dict[str, Any]], columns: Iterable[str]) -> None:
    """Write the columns of rows as CSV, if a path is given."""
    from thorax.common.files import write_text
    from thorax.common.tables import as_csv

    names = list(columns)
    if path:
        write_text(
            path, as_csv([{key: row[key] for key in names if key in row} for row in rows], names)
        )
