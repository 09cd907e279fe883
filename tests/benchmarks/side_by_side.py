"""Measure the default `unet` and `lean` next to the same `unet` in PyTorch, on this CPU.

PyTorch is no dependency of this project: name an interpreter that has it. Each configuration runs
in a process of its own, one after the other, in several rounds, of which the best counts, because
whatever else the machine does can only slow them down. The weights of the Keras network are poured
into the other one first, and both are given the same stacks: the networks are the same if their
logits are. Beside each speed stands how many cores the process had, on average, while it was
measured: where that is less than it was given threads, the machine was busy with something else.

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
Figures = dict[str, Any]
"""`parameters`, and for `train` and `predict` stacks a second and cores in use."""


@dataclass(frozen=True)
class Configuration:
    """One way to run one network.

    Args:
        name: For people.
        torch: Whether it is PyTorch.
        batch: Stacks a step.
        command: What measures it.
    """

    name: str
    torch: bool
    batch: int
    command: tuple[str, ...]

    def run(self) -> Figures:
        """Measure it in a process of its own."""
        return answer(self.command)


def configurations(asked: argparse.Namespace) -> list[Configuration]:
    """All that are measured."""
    found = []
    for batch, precision in itertools.product(asked.batches, asked.precisions):
        common = ["--batch", str(batch), "--precision", precision]
        common += ["--steps", str(asked.steps), "--threads", str(asked.threads)]
        for name in ("unet", "lean"):
            command = [sys.executable, str(HERE / "keras_networks.py"), name, *common]
            found.append(Configuration(f"Keras {name}, {precision}", False, batch, tuple(command)))
        for flags in ([], ["--channels-last"]):
            for more in ([], ["--compile"]):
                command = [asked.torch_python, str(HERE / "torch_unet.py"), *common, *flags, *more]
                name = f"PyTorch unet, {precision}, {'compiled' if more else 'eager'}"
                name += ", channels last" if flags else ""
                found.append(Configuration(name, True, batch, tuple(command)))
    return found


def answer(command: Sequence[str]) -> Figures:
    """Run a command that prints one JSON object last."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare_networks(asked: argparse.Namespace) -> None:
    """Pour the weights of Keras into PyTorch, and say how far the logits differ in float32."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keras = [sys.executable, str(HERE / "keras_networks.py"), "unet", "--example", name]
        torch = [asked.torch_python, str(HERE / "torch_unet.py")]
        torch += ["--weights", str(folder / "weights.npz"), "--stacks", str(folder / "stacks.npy")]
        torch += ["--logits", str(folder / "torch.npy")]
        counts = [answer(command)["parameters"] for command in (keras, torch)]
        logits = np.load(folder / "keras.npy")
        apart = float(np.abs(logits - np.load(folder / "torch.npy")).max())
    say(f"parameters of unet: {counts[0]} in Keras, {counts[1]} in PyTorch")
    size = np.abs(logits).max()
    say(
        f"same weights and stacks, float32: logits up to {size:.2f}, largest difference {apart:.1e}"
    )
    if counts[0] != counts[1] or apart > CLOSE:
        raise SystemExit(f"the two are not the same network: they may be {CLOSE} apart at most")


def tabulate(found: Sequence[Configuration], best: dict[Configuration, Figures]) -> None:
    """Print stacks a second, the ratio to the best of PyTorch at that batch, and cores in use."""
    say(f"{'batch':5} {'':48} {'train':>20} {'predict':>20}   parameters")
    for batch, group in itertools.groupby(found, key=lambda each: each.batch):
        rows = list(group)
        for each in rows:
            line = f"{batch:5} {each.name:48}"
            for kind in ("train", "predict"):
                speed, cores = best[each][kind]
                top = max(best[other][kind][0] for other in rows if other.torch)
                line += f" {speed:7.1f} ×{speed / top:5.2f} ({cores:.1f})"
            say(f"{line}   {best[each]['parameters']}")


def check_torch(interpreter: str) -> None:
    """Say what to do where PyTorch is missing."""
    code = "import torch; print(torch.__version__)"
    try:
        done = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit(
            f"{interpreter} has no PyTorch; install `torch` and `numpy` into a virtual environment "
            "and name its Python with --torch-python"
        ) from None
    say(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"PyTorch {done.stdout.strip()}"
    )


def main() -> None:
    """Compare, measure, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="Python that has PyTorch")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--steps", type=int, default=20, help="a trial; each round has three")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    check_torch(asked.torch_python)
    compare_networks(asked)
    found = configurations(asked)
    best: dict[Configuration, Figures] = {}
    for _ in range(asked.rounds):
        for each in found:
            figures = each.run()
            earlier = best.get(each, figures)
            best[each] = {kind: max(figures[kind], earlier[kind]) for kind in figures}
    tabulate(found, best)


if __name__ == "__main__":
    main()
