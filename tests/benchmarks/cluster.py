"""Measure a large cohort on a simulated cluster: `python tests/benchmarks/cluster.py`.

10,000 scans that sleep instead of being segmented, on 200 workers with one thread each. The
scheduler, the workers (all in one process) and the command (this process) share the cores of this
machine, so that the figures include the work of 200 nodes. For comparison, the same tasks are
submitted to Dask at once.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
from measuring import say

import thorax.inference.cluster
from thorax.common.cluster.opening import open_cluster
from thorax.common.machine import describe_machine, kind_of_machine
from thorax.inference.batch import PredictOptions, predict_folder
from thorax.inference.cluster import predict_on_cluster
from thorax.inference.inputs import ScanTask
from thorax.inference.manifest.files import Manifest
from thorax.inference.manifest.row import DONE, ManifestRow

PORT = 18_900
ADDRESS = f"tcp://127.0.0.1:{PORT}"
MIB = 2**20


def sleep_instead(task: ScanTask, **_: Any) -> ManifestRow:
    """Sleep for 0.5 to 1.5 times the mean, and return a row as that of a scan."""
    mean = float(task.mask.parent.name)
    time.sleep(mean * random.Random(task.case).uniform(0.5, 1.5))
    row = ManifestRow(task.case, DONE, str(task.scan), str(task.mask), "0123456789ab", "")
    return replace(
        row,
        seconds=mean,
        intensity="hu",
        volumes_ml={"lung": 4321.123},
        certainty={"lung": 0.9876},
        warnings=("lung: holes of 0.2 mL filled",),
    )


async def run_workers(count: int) -> None:
    """Run workers in this process until the scheduler ends."""
    from distributed import Worker

    thorax.inference.cluster._segment = sleep_instead  # type: ignore[assignment]
    workers = [Worker(ADDRESS, nthreads=1, memory_limit=0, dashboard=False) for _ in range(count)]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))


class Usage:
    """Processor time and largest memory of a process from now on."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._start, self.before_mib = self._cpu(), self._rss()
        self.peak_mib = self.before_mib

    def look(self) -> None:
        self.peak_mib = max(self.peak_mib, self._rss())

    @property
    def cpu(self) -> float:
        return self._cpu() - self._start

    def line(self, name: str, scans: int) -> str:
        return (
            f"  {name:10} {1000 * self.cpu / scans:6.2f} ms CPU per scan, memory "
            f"{self.before_mib:.0f} MiB before, {self.peak_mib:.0f} MiB at most"
        )

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _rss(self) -> float:
        return float(self._process.memory_info().rss / MIB)


def measure(
    name: str, work: Callable[[Callable[[], None]], None], given: argparse.Namespace
) -> None:
    """Start a cluster, and print time and memory of a way to run all scans."""
    python, this = sys.executable, str(Path(__file__))
    options = ("--host", "127.0.0.1", "--port", str(PORT), "--no-dashboard")
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [python, "-m", "distributed.cli.dask_scheduler", *options], **quiet
    )
    numbers = ["--workers", str(given.workers), "--run-workers"]
    workers = subprocess.Popen([python, this, *numbers], **quiet)
    try:
        _wait_for_workers(given.workers)
        usages = {
            "scheduler": Usage(scheduler.pid),
            "command": Usage(psutil.Process().pid),
            "workers": Usage(workers.pid),
        }

        def look() -> None:
            for usage in usages.values():
                usage.look()

        started = time.perf_counter()
        work(look)
        wall = time.perf_counter() - started
        look()
        ideal = given.scans * given.seconds / given.workers
        say(f"{name}: {wall:.1f} s; the sleep alone: {ideal:.1f} s")
        say(f"  {1000 * (wall - ideal) / given.scans:.2f} ms per scan more than the sleep")
        for title, usage in usages.items():
            say(usage.line(title, given.scans))
    finally:
        for process in (workers, scheduler):
            process.kill()
            process.wait()


def _wait_for_workers(count: int) -> None:
    from distributed import Client

    for attempt in range(60):
        try:
            with Client(ADDRESS, timeout=5, set_as_default=False) as client:
                client.wait_for_workers(count, timeout=300)
                return
        except OSError:
            if attempt == 59:
                raise
            time.sleep(1)


def one_per_worker(given: argparse.Namespace, look: Callable[[], None]) -> None:
    """Run all scans as `thorax predict --cluster` does."""
    segmenter: Any = SimpleNamespace(
        digest="0123456789ab", settings="", regions=SimpleNamespace(names=("lung",))
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / str(given.seconds)
        tasks = make_tasks(folder, given.scans)
        rows = 0

        def report(row: ManifestRow) -> None:
            nonlocal rows
            rows += 1
            if rows % 100 == 0:
                look()

        with open_cluster(ADDRESS, note=lambda text: None) as cluster:

            def segment(*arguments: Any, **options: Any) -> list[ManifestRow]:
                return predict_on_cluster(*arguments, cluster=cluster, load=list, **options)

            predict_folder(
                segmenter,
                tasks,
                PredictOptions(),
                folder=folder,
                report=report,
                segment=segment,
            )
        rows_read = Manifest(folder).rows
        assert len(rows_read) == rows == given.scans
        assert {row.status for row in rows_read.values()} == {DONE}


def all_at_once(given: argparse.Namespace, look: Callable[[], None]) -> None:
    """Submit all scans to Dask at once, and collect the rows as they end."""
    from distributed import Client, as_completed

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / str(given.seconds)
        tasks = make_tasks(folder, given.scans)
        manifest = Manifest(folder)
        with Client(ADDRESS, set_as_default=False) as client:
            futures = client.map(sleep_instead, tasks, pure=False)
            for number, future in enumerate(as_completed(futures, loop=client.loop)):
                manifest.add(future.result())
                if number % 100 == 0:
                    look()
        manifest.write()


def make_tasks(folder: Path, count: int) -> list[ScanTask]:
    folder.mkdir()
    (folder / "scans").mkdir()
    tasks = []
    for number in range(count):
        scan = folder / f"scans/case-{number:05d}.nii.gz"
        scan.touch()
        tasks.append(ScanTask(f"case-{number:05d}", scan, folder / f"case-{number:05d}.nii.gz"))
    return tasks


def bench_manifest(scans: int) -> None:
    """Measure the manifest alone: a line per start and end, and the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "0"
        tasks = make_tasks(folder, scans)
        manifest, rows = Manifest(folder), list(map(sleep_instead, tasks))
        started = time.perf_counter()
        for row in rows:
            manifest.add(replace(row, status="started"))
            manifest.add(row)
        added = time.perf_counter()
        manifest.write()
        written = time.perf_counter()
        say(
            f"manifest alone: {1000 * (added - started) / scans:.2f} ms per scan for its two "
            f"lines, {written - added:.1f} s for the tables at the end"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0, help="mean duration of a scan")
    parser.add_argument("--at-once", action="store_true", help="also submit all scans at once")
    parser.add_argument("--run-workers", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run_workers:
        asyncio.run(run_workers(given.workers))
        return
    machine, kind = describe_machine(), kind_of_machine()
    say(
        f"{machine['processor']}, {machine['cores']} cores, {kind['instructions']}, "
        f"{machine['memory_gib']} GiB, Python {machine['python']}"
    )
    say(f"{given.scans} scans of {given.seconds} s on {given.workers} workers")
    bench_manifest(given.scans)
    measure("one scan per worker", lambda look: one_per_worker(given, look), given)
    if given.at_once:
        measure("all at once", lambda look: all_at_once(given, look), given)


if __name__ == "__main__":
    main()
