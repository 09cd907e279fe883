"""Small Dask clusters, shared by several tests."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, LocalCluster

from thorax.common.cluster.opening import Cluster


@dataclass
class Opened:
    """A cluster, its workers, and the notes that were printed."""

    cluster: Cluster
    dask: Any
    notes: list[str] = field(default_factory=list)


@contextmanager
def running_scheduler() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start a scheduler as a process of its own; yield the process and its address."""
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        yield process, next(line.split()[-1] for line in process.stderr if "Scheduler at:" in line)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def local_cluster(workers: int, *, processes: bool = False) -> Iterator[Opened]:
    notes: list[str] = []
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=processes,
            dashboard_address=":0",
            silence_logs=60,
        ) as dask,
        Client(dask, set_as_default=False) as client,
    ):
        yield Opened(Cluster(client, "test", notes.append), dask, notes)
