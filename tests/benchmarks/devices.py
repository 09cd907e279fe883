"""Train on one device, on eight, and in two processes of four; print the loss of each epoch.

    python tests/benchmarks/devices.py [--cases 6] [--epochs 4] [--precision float32]

All devices are simulated on the CPU of this machine, with the JAX backend, and the processes
connect over loopback. The table shows that the results are the same; it is no measure of speed.
"""

import csv
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import yaml
from measuring import say

from thorax.common.machine import describe_machine, kind_of_machine, versions

ROOT = Path(__file__).parents[2]
LAYOUTS = {"1 device": (1, 1), "8 devices": (1, 8), "2 × 4 devices": (2, 4)}
"""Number of processes and of devices of each."""

PACKAGES = ("jax", "keras")
Rows = list[dict[str, str]]


@click.command()
@click.option("--cases", default=6, help="Synthetic chests.")
@click.option("--epochs", default=4)
@click.option("--precision", default="float32", type=click.Choice(["float32", "bfloat16"]))
def main(cases: int, epochs: int, precision: str) -> None:
    """Print a table of losses and the largest differences from one device."""
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary)
        make_project(project, cases=cases, epochs=epochs, precision=precision)
        results = {name: train(project, *layout) for name, layout in LAYOUTS.items()}
    say(f"{kind_of_machine()} {describe_machine()}; {versions(PACKAGES)}; {precision}")
    say(f"{'epoch':<8}" + "".join(f"{name:>16}" for name in results))
    for rows in zip(*(history for history, _ in results.values()), strict=True):
        say(f"{rows[0]['epoch']:<8}" + "".join(f"{row['loss']:>16.12}" for row in rows))
    history, weights = results["1 device"]
    for name, (other_history, other_weights) in results.items():
        say(
            f"{name}, largest difference: loss {difference(history, other_history, 'loss'):.1e}, "
            f"gradient norm {difference(history, other_history, 'gradient_norm'):.1e}, validation "
            f"Dice {difference(history, other_history, 'dice'):.1e}, weight "
            f"{np.abs(weights - other_weights).max():.1e}"
        )


def make_project(project: Path, *, cases: int, epochs: int, precision: str) -> None:
    """Write synthetic chests, their records, and the parameters of a small training."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["phantom"]["cases"] = cases
    params["prepare"]["canvas"] = 32
    params["split"]["folds"] = 3
    params["network"] |= {"width": 4, "depth": 2}
    params["train"] |= {"epochs": epochs, "fraction": 0.3, "precision": precision}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    (project / "data/phantom").mkdir(parents=True)
    dataset = (ROOT / "data/phantom/dataset.yaml").read_text()
    (project / "data/phantom/dataset.yaml").write_text(dataset)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(project)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    for stage in ("phantom", "prepare"):
        start(stage, project, {}).wait()


def train(project: Path, processes: int, devices: int) -> tuple[Rows, np.ndarray]:
    """Run the stage `train` in all processes; return its history and its weights."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes),
    }
    running = [
        start("train", project, environment | {"KERAS_DISTRIBUTION_PROCESS_ID": str(rank)})
        for rank in range(processes)
    ]
    statuses = [process.wait() for process in running]
    if any(statuses):
        sys.exit("a training failed")
    import keras

    network = keras.saving.load_model(project / "models/segmenter/model.keras", compile=False)
    with (project / "reports/history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return rows, np.concatenate([array.ravel() for array in network.get_weights()])


def start(stage: str, project: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a stage of the pipeline in a project."""
    # Importing Keras sets a variable that shows messages of libraries in the processes.
    inherited = {name: text for name, text in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.Popen(
        [sys.executable, "-m", f"thorax.pipeline.{stage}"],
        cwd=project,
        env=inherited | {"PYTHONPATH": str(ROOT / "src")} | environment,
    )


def difference(history: Rows, other: Rows, column: str) -> float:
    """Return the largest absolute difference between two histories in a column."""
    pairs = zip(history, other, strict=True)
    return max(abs(float(row[column]) - float(others[column])) for row, others in pairs)


if __name__ == "__main__":
    main()
