"""Run `thorax` with and without a cluster, and read what it has written."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml

from .slurm import Slurm

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "slurm-array.sh"
ONE_CPU = ("--cpus-per-task=1", "--mem=1G")
DONE, STARTED = "done", "started"


def thorax(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `thorax` outside of the cluster."""
    return subprocess.run(
        [sys.executable, "-m", "thorax.cli", *map(str, arguments)],
        env={name: value for name, value in os.environ.items() if not name.startswith("SLURM")},
        capture_output=True,
        text=True,
        check=False,
    )


def submit_array(
    slurm: Slurm, logs: Path, *arguments: str | Path, tasks: str, options: tuple[str, ...] = ()
) -> str:
    """Submit the documented script as an array, and return the number of the job."""
    output = logs / "%A_%a.log"
    return slurm.submit(
        *ONE_CPU, *options, f"--array={tasks}", f"--output={output}", SCRIPT, *arguments
    )


def write_cluster(folder: Path) -> Path:
    """Write the settings of a Dask cluster with two jobs of SLURM, and return the file."""
    settings = {
        "cluster": "SLURMCluster",
        "workers": 2,
        "options": {
            "cores": 1,
            "memory": "2GB",
            "walltime": "00:30:00",
            "interface": "lo",
            "log_directory": str(folder / "logs"),
            "local_directory": str(folder / "workers"),
            "scheduler_options": {"dashboard_address": ":0"},
        },
    }
    (folder / "slurm.yaml").write_text(yaml.safe_dump(settings))
    return folder / "slurm.yaml"


def jobs(slurm: Slurm) -> list[str]:
    """Return the numbers of the running jobs."""
    return slurm.run("squeue", "--noheader", "--format=%A", "--states=RUNNING").split()


def results(masks: Path) -> dict[str, bytes]:
    """Return all masks and the manifest, but not the durations."""
    paths = [*masks.glob("*.nii.gz"), masks / "manifest.csv", masks / "manifest.json"]
    return {path.name: path.read_bytes() for path in paths}


def log_rows(masks: Path, task: int, tasks: int) -> list[tuple[str, str]]:
    """Return case and status of each line in the log of a part."""
    log = masks / f".manifest-{task}-of-{tasks}.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return [(row["case"], row["status"]) for row in rows]


def times_started(masks: Path, task: int, tasks: int) -> Counter[str]:
    """Count how often each scan of a part was started."""
    return Counter(case for case, status in log_rows(masks, task, tasks) if status == STARTED)


def done_in_log(masks: Path, task: int, tasks: int) -> set[str]:
    """Return the scans that the log of a part calls done."""
    return {case for case, status in log_rows(masks, task, tasks) if status == DONE}
