"""Speed of the default `unet` in PyTorch, or its logits from given weights.

Needs only PyTorch and NumPy; prints one JSON object. `side_by_side.py` runs it next to Keras.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

WIDEST = 256
TRIALS = 3
Speed = tuple[float, float]
"""Stacks per second, and average number of cores in use."""
Step = Callable[[], object]


class UNet(nn.Module):
    """The network of `thorax.models.networks.unet`, with its defaults and layer names."""

    def __init__(self, *, width: int, depth: int, planes: int, regions: int) -> None:
        super().__init__()
        self.depth = depth
        self.layers = nn.ModuleDict()
        widths = [min(WIDEST, width * 2**level) for level in range(depth + 1)]
        for level, (given, wide) in enumerate(itertools.pairwise([planes, *widths])):
            self._add_pair(f"encoder_{level}", given, wide)
        for level in reversed(range(depth)):
            wide = widths[level]
            self.layers[f"up_{level}"] = nn.ConvTranspose2d(widths[level + 1], wide, 2, stride=2)
            self._add_pair(f"decoder_{level}", 2 * wide, wide)
        self.layers["logits"] = nn.Conv2d(widths[0], regions, 1)

    def _add_pair(self, name: str, given: int, wide: int) -> None:
        self.layers[f"{name}_conv_0"] = nn.Conv2d(given, wide, 3, padding=1)
        self.layers[f"{name}_conv_1"] = nn.Conv2d(wide, wide, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Compute float32 logits `(N, R, H, W)` of stacks `(N, 2k+1, H, W)`."""
        skips = []
        for level in range(self.depth):
            maps = self._pair(maps, f"encoder_{level}")
            skips.append(maps)
            maps = functional.max_pool2d(maps, 2)
        maps = self._pair(maps, f"encoder_{self.depth}")
        for level in reversed(range(self.depth)):
            maps = torch.cat([self.layers[f"up_{level}"](maps), skips[level]], dim=1)
            maps = self._pair(maps, f"decoder_{level}")
        with torch.autocast("cpu", enabled=False):
            return self.layers["logits"](maps.float())

    def _pair(self, maps: torch.Tensor, name: str) -> torch.Tensor:
        for number in (0, 1):
            maps = self.layers[f"{name}_conv_{number}"](maps)
            square = maps.square().mean(dim=(1, 2, 3), keepdim=True)
            maps = functional.relu(maps * torch.rsqrt(square + 1e-5))
        return maps


def focal_dice(truth: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Compute the default loss of `thorax.training.losses` for maps `(N, R, H, W)`."""
    probability = torch.sigmoid(logits)
    entropy = truth * functional.softplus(-logits) + (1 - truth) * functional.softplus(logits)
    focal = ((truth - probability).abs().clamp(min=1e-6).square() * entropy).mean()
    axes = (0, 2, 3)
    both = (probability * truth).sum(axes)
    either = probability.square().sum(axes) + truth.square().sum(axes)
    return focal + (1 - (2 * both + 1) / (either + 1)).mean()


def copy_weights(network: UNet, weights: Path) -> None:
    """Copy the weights of the Keras network, stored as `<layer>/<weight>`."""
    arrays = np.load(weights)
    for name, layer in network.layers.items():
        # Kernels are (h, w, in, out) in Keras and (out, in, h, w) in PyTorch; transposed
        # convolutions have (h, w, out, in) and (in, out, h, w).
        kernel = np.ascontiguousarray(arrays[f"{name}/kernel"].transpose(3, 2, 0, 1))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(kernel))
            layer.bias.copy_(torch.from_numpy(arrays[f"{name}/bias"]))


def training_step(network: UNet, stacks: torch.Tensor, options: argparse.Namespace) -> Step:
    """Return a step of AdamW on a batch, without weight decay of biases."""
    truth = (torch.rand(len(stacks), options.regions, *stacks.shape[2:]) > 0.5).float()
    truth = truth.to(memory_format=layout(options))
    kinds = [
        [p for p in network.parameters() if (p.ndim > 1) is kernel] for kernel in (True, False)
    ]
    groups = [{"params": kinds[0], "weight_decay": 1e-4}, {"params": kinds[1], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)

    def cost_of(batch: torch.Tensor) -> torch.Tensor:
        with precision(options):
            return focal_dice(truth, network(batch))

    cost = torch.compile(cost_of) if options.compile else cost_of

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        cost(stacks).backward()
        optimizer.step()

    return step


def prediction_step(network: UNet, stacks: torch.Tensor, options: argparse.Namespace) -> Step:
    """Return a forward pass."""
    ready = torch.compile(network) if options.compile else network

    def step() -> torch.Tensor:
        with torch.inference_mode(), precision(options):
            return ready(stacks)

    return step


def precision(options: argparse.Namespace) -> AbstractContextManager[Any]:
    """Return the autocast context."""
    return torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16")


def layout(options: argparse.Namespace) -> torch.memory_format:
    """Return the memory format of maps."""
    return torch.channels_last if options.channels_last else torch.contiguous_format


def stacks_per_s(step: Step, options: argparse.Namespace) -> Speed:
    """Return the fastest of several trials after a warm-up."""
    for _ in range(3):
        step()
    return max(_trial(step, options) for _ in range(TRIALS))


def _trial(step: Step, options: argparse.Namespace) -> Speed:
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(options.steps):
        step()
    seconds = time.perf_counter() - start
    return options.steps * options.batch / seconds, (time.process_time() - cpu) / seconds


def logits_of(network: UNet, stacks: Path) -> np.ndarray:
    """Return logits `(N, H, W, R)` of stacks `(N, H, W, 2k+1)` in a file."""
    maps = torch.from_numpy(np.load(stacks)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        return network(maps).permute(0, 2, 3, 1).numpy()


def main() -> None:
    """Measure, or compute logits."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("batch", 8), ("steps", 20), ("threads", 2), ("canvas", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("width", 16), ("depth", 4), ("planes", 5), ("regions", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--weights", type=Path, help=".npz; compute logits instead of measuring")
    parser.add_argument("--stacks", type=Path, help=".npy with the stacks for the logits")
    parser.add_argument("--logits", type=Path, help="output file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = UNet(
        width=options.width, depth=options.depth, planes=options.planes, regions=options.regions
    )
    results: dict[str, Any] = {"parameters": sum(p.numel() for p in network.parameters())}
    if options.weights:
        copy_weights(network, options.weights)
        np.save(options.logits, logits_of(network, options.stacks))
    else:
        network = network.to(memory_format=layout(options))
        stacks = torch.rand(options.batch, options.planes, options.canvas, options.canvas)
        stacks = stacks.to(memory_format=layout(options))
        results["train"] = stacks_per_s(training_step(network, stacks, options), options)
        results["predict"] = stacks_per_s(prediction_step(network, stacks, options), options)
    print(json.dumps(results))  # noqa: T201


if __name__ == "__main__":
    main()
