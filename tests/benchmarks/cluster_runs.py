"""Segment the same small scans in one process and in several ways on a cluster.

All jobs run on this machine: on two nodes of a SLURM cluster that this program starts (Debian:
slurm-wlm and munge), with one CPU per job. The table gives wall times, and the time per scan
beyond that of one process. The program fails unless the masks and the manifests have the same
bytes.

    python tests/benchmarks/cluster_runs.py --scans 64 --rounds 3
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import yaml
from measuring import say

from thorax.common.machine import describe_machine, kind_of_machine
from thorax.io import write_volume
from thorax.phantom import chest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "cluster"))
from slurm import Slurm, running_slurm, wait_for  # noqa: E402

CHESTS = 8
SCRIPT = ROOT / "docs" / "slurm-array.sh"
DASK_OPTIONS = {
    "LocalCluster": {"threads_per_worker": 1},
    "SLURMCluster": {
        "cores": 1,
        "memory": "2GB",
        "walltime": "00:30:00",
        "interface": "lo",
        "scheduler_options": {"dashboard_address": ":0"},
    },
}


@dataclass(frozen=True)
class Batch:
    """Scans to segment, and a cluster.

    Args:
        scans: Their folder.
        folder: Folder for masks and logs.
        slurm: The cluster.
        jobs: Number of jobs at the same time.
    """

    scans: Path
    folder: Path
    slurm: Slurm
    jobs: int

    def thorax(self, *arguments: str | Path) -> None:
        """Run `thorax`, and show its messages if it fails."""
        command = [sys.executable, "-m", "thorax.cli", *map(str, arguments)]
        environment = self.slurm.environment
        answer = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        if answer.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{answer.stderr}")

    def one_process(self, masks: Path) -> None:
        self.thorax("predict", self.scans, masks)

    def processes(self, masks: Path) -> None:
        self.thorax("predict", self.scans, masks, "--workers", str(self.jobs))

    def array(self, masks: Path) -> None:
        """Run the parts as an array, and merge them; the wait for SLURM counts."""
        options = (f"--array=1-{self.jobs}", "--cpus-per-task=1", "--output=/dev/null")
        job = self.slurm.submit(*options, SCRIPT, self.scans, masks)
        states = self.slurm.wait(job)
        if set(states.values()) != {"COMPLETED"}:
            raise SystemExit(f"the array ended with {states}")
        self.thorax("manifest", masks)

    def dask(self, name: str, masks: Path) -> None:
        """Use a Dask cluster; its start counts."""
        settings = {"cluster": name, "workers": self.jobs, "options": DASK_OPTIONS[name]}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings))
        self.thorax("predict", self.scans, masks, "--cluster", path)


def write_scans(folder: Path, count: int) -> None:
    """Write synthetic chests, cut to different heights."""
    folder.mkdir()
    scans = [chest(number, seed=0).scan for number in range(min(CHESTS, count))]
    for number in range(count):
        scan = scans[number % CHESTS]
        hu = scan.voxels[..., number // CHESTS :].astype(np.int16)
        write_volume(folder / f"{number:03d}.nii.gz", hu, scan.grid.affine)


def results(masks: Path) -> dict[str, bytes]:
    """Return masks and manifests, but not the durations."""
    return {path.name: path.read_bytes() for path in masks.iterdir() if path.stem != "timings"}


@click.command()
@click.option("--scans", "count", default=64, show_default=True, help="Number of scans.")
@click.option("--jobs", default=4, show_default=True, help="Jobs at the same time.")
@click.option("--rounds", default=3, show_default=True, help="Runs of each kind, in turn.")
def main(count: int, jobs: int, rounds: int) -> None:
    """Measure and compare."""
    with (
        tempfile.TemporaryDirectory() as name,
        running_slurm(nodes=2, cpus=(jobs + 1) // 2) as slurm,
    ):
        folder = Path(name)
        write_scans(folder / "scans", count)
        batch = Batch(folder / "scans", folder, slurm, jobs)
        kinds: dict[str, Callable[[Path], None]] = {
            "one process": batch.one_process,
            f"`--workers {jobs}`": batch.processes,
            f"`--part` in {jobs} SLURM tasks": batch.array,
            f"Dask, SLURMCluster, {jobs} workers": lambda masks: batch.dask("SLURMCluster", masks),
            f"Dask, LocalCluster, {jobs} workers": lambda masks: batch.dask("LocalCluster", masks),
        }
        walls: dict[str, list[float]] = {kind: [] for kind in kinds}
        for number in range(rounds):
            for column, (kind, run) in enumerate(kinds.items()):
                masks = folder / f"masks-{number}-{column}"
                started = time.perf_counter()
                run(masks)
                walls[kind].append(time.perf_counter() - started)
                wait_for(lambda: not slurm.run("squeue", "--noheader"), "jobs have not ended")
                if number == 0 and kind == "one process":
                    expected = results(masks)
                if results(masks) != expected:
                    raise SystemExit(f"{kind}: other masks or another manifest than one process")
    report(walls, count)


def report(walls: dict[str, list[float]], count: int) -> None:
    """Print the table."""
    machine, kind = describe_machine(), kind_of_machine()
    say(f"{machine['processor']}, {machine['cores']} cores, {kind['instructions']}; {count} scans")
    say("| run | wall time, s | s per scan | beyond one process, s per scan |\n|---|---|---|---|")
    one = statistics.median(walls["one process"])
    for name, seconds in walls.items():
        middle, span = statistics.median(seconds), f"{min(seconds):.1f} to {max(seconds):.1f}"
        per_scan, beyond = middle / count, (middle - one) / count
        say(f"| {name} | {middle:.1f} ({span}) | {per_scan:.2f} | {beyond:+.2f} |")
    say("masks and manifests: the same bytes in all runs")


if __name__ == "__main__":
    main()
