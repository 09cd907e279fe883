"""Measure the default `unet` and `lean` next to the same `unet` in PyTorch, on this CPU.

PyTorch is not a dependency of this project: name an interpreter that has it. Each configuration
runs in a separate process, in several rounds; the best counts, because other load can only slow
it down. First, the weights of the Keras network are copied to PyTorch, and the logits of both are
compared. Each speed is printed with the average number of cores in use: if that is less than the
number of threads, other processes used the machine.

    python tests/benchmarks/side_by_side.py --torch-python ../torch/bin/python
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import say

HERE = Path(__file__).parent
CLOSE = 1e-3
Measurements = dict[str, Any]
"""`parameters`; for `train` and `predict`, stacks per second and cores in use."""


@dataclass(frozen=True)
class Configuration:
    """A network with its framework and options.

    Args:
        name: Name in the table.
        torch: True for PyTorch.
        batch: Stacks per step.
        command: Command that measures it.
    """

    name: str
    torch: bool
    batch: int
    command: tuple[str, ...]

    def run(self) -> Measurements:
        """Measure in a separate process."""
        return run_json(self.command)


def configurations(options: argparse.Namespace) -> list[Configuration]:
    """Return all configurations to measure."""
    result = []
    for batch, precision in itertools.product(options.batches, options.precisions):
        common = ["--batch", str(batch), "--precision", precision]
        common += ["--steps", str(options.steps), "--threads", str(options.threads)]
        for name in ("unet", "lean"):
            command = [sys.executable, str(HERE / "keras_networks.py"), name, *common]
            result.append(Configuration(f"Keras {name}, {precision}", False, batch, tuple(command)))
        for flags in ([], ["--channels-last"]):
            for more in ([], ["--compile"]):
                command = [
                    options.torch_python,
                    str(HERE / "torch_unet.py"),
                    *common,
                    *flags,
                    *more,
                ]
                name = f"PyTorch unet, {precision}, {'compiled' if more else 'eager'}"
                name += ", channels last" if flags else ""
                result.append(Configuration(name, True, batch, tuple(command)))
    return result


def run_json(command: Sequence[str]) -> Measurements:
    """Run a command and parse the JSON object on its last line."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {result.returncode}:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def compare_networks(options: argparse.Namespace) -> None:
    """Copy the weights of Keras to PyTorch, and compare the logits in float32."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keras = [sys.executable, str(HERE / "keras_networks.py"), "unet", "--example", name]
        torch = [options.torch_python, str(HERE / "torch_unet.py")]
        torch += ["--weights", str(folder / "weights.npz"), "--stacks", str(folder / "stacks.npy")]
        torch += ["--logits", str(folder / "torch.npy")]
        counts = [run_json(command)["parameters"] for command in (keras, torch)]
        logits = np.load(folder / "keras.npy")
        difference = float(np.abs(logits - np.load(folder / "torch.npy")).max())
    say(f"parameters of unet: {counts[0]} in Keras, {counts[1]} in PyTorch")
    size = np.abs(logits).max()
    say(
        f"same weights and stacks, float32: logits up to {size:.2f}, "
        f"largest difference {difference:.1e}"
    )
    if counts[0] != counts[1] or difference > CLOSE:
        raise SystemExit(f"the logits of both networks must differ by at most {CLOSE}")


def tabulate(measured: Sequence[Configuration], best: dict[Configuration, Measurements]) -> None:
    """Print stacks per second, the ratio to the best PyTorch at this batch, and cores in use."""
    say(f"{'batch':5} {'':48} {'train':>20} {'predict':>20}   parameters")
    for batch, group in itertools.groupby(measured, key=lambda item: item.batch):
        rows = list(group)
        for row in rows:
            line = f"{batch:5} {row.name:48}"
            for kind in ("train", "predict"):
                speed, cores = best[row][kind]
                top = max(best[other][kind][0] for other in rows if other.torch)
                line += f" {speed:7.1f} ×{speed / top:5.2f} ({cores:.1f})"
            say(f"{line}   {best[row]['parameters']}")


def check_torch(interpreter: str) -> None:
    """Exit with a remedy if PyTorch is missing."""
    code = "import torch; print(torch.__version__)"
    try:
        result = subprocess.run(
            [interpreter, "-c", code], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit(
            f"{interpreter} has no PyTorch; install `torch` and `numpy` into a virtual environment "
            "and name its Python with --torch-python"
        ) from None
    say(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"PyTorch {result.stdout.strip()}"
    )


def main() -> None:
    """Compare the networks and measure their speed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="Python that has PyTorch")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3, help="the best round counts")
    parser.add_argument(
        "--steps", type=int, default=20, help="steps per trial; each round has three trials"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    check_torch(options.torch_python)
    compare_networks(options)
    chosen = configurations(options)
    best: dict[Configuration, Measurements] = {}
    for _ in range(options.rounds):
        for configuration in chosen:
            measurements = configuration.run()
            earlier = best.get(configuration, measurements)
            best[configuration] = {k: max(measurements[k], earlier[k]) for k in measurements}
    tabulate(chosen, best)


if __name__ == "__main__":
    main()
