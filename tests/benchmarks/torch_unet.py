"""The default `unet` in PyTorch: its speed, and its logits from weights that are given.

It needs PyTorch and NumPy alone, so that any interpreter that has them can run it; what it finds
goes to stdout, one JSON object. `side_by_side.py` runs it next to Keras.
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
"""Stacks a second, and how many cores the process had meanwhile."""
Step = Callable[[], object]


class UNet(nn.Module):
    """The network of `thorax.models.networks.unet` with its defaults and names of layers."""

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
        """Stacks `(N, 2k+1, H, W)` in, float32 logits `(N, R, H, W)` out."""
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
    """The default loss of `thorax.training.losses`, for maps `(N, R, H, W)`."""
    found = torch.sigmoid(logits)
    entropy = truth * functional.softplus(-logits) + (1 - truth) * functional.softplus(logits)
    focal = ((truth - found).abs().clamp(min=1e-6).square() * entropy).mean()
    over = (0, 2, 3)
    both = (found * truth).sum(over)
    either = found.square().sum(over) + truth.square().sum(over)
    return focal + (1 - (2 * both + 1) / (either + 1)).mean()


def pour(network: UNet, weights: Path) -> None:
    """Give the network the weights of the Keras one, which lie under `<layer>/<weight>`."""
    held = np.load(weights)
    for name, layer in network.layers.items():
        # Convolutions are (h, w, in, out) there and (out, in, h, w) here, transposed ones
        # (h, w, out, in) there and (in, out, h, w) here.
        kernel = np.ascontiguousarray(held[f"{name}/kernel"].transpose(3, 2, 0, 1))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(kernel))
            layer.bias.copy_(torch.from_numpy(held[f"{name}/bias"]))


def training_step(network: UNet, stacks: torch.Tensor, asked: argparse.Namespace) -> Step:
    """One step of AdamW on a batch; norms and biases are not decayed."""
    truth = (torch.rand(len(stacks), asked.regions, *stacks.shape[2:]) > 0.5).float()
    truth = truth.to(memory_format=layout(asked))
    kinds = [
        [p for p in network.parameters() if (p.ndim > 1) is kernel] for kernel in (True, False)
    ]
    groups = [{"params": kinds[0], "weight_decay": 1e-4}, {"params": kinds[1], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)

    def cost_of(batch: torch.Tensor) -> torch.Tensor:
        with precision(asked):
            return focal_dice(truth, network(batch))

    cost = torch.compile(cost_of) if asked.compile else cost_of

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        cost(stacks).backward()
        optimizer.step()

    return step


def prediction_step(network: UNet, stacks: torch.Tensor, asked: argparse.Namespace) -> Step:
    """One pass forward."""
    ready = torch.compile(network) if asked.compile else network

    def step() -> torch.Tensor:
        with torch.inference_mode(), precision(asked):
            return ready(stacks)

    return step


def precision(asked: argparse.Namespace) -> AbstractContextManager[Any]:
    """Autocast to bfloat16, or not."""
    return torch.autocast("cpu", torch.bfloat16, enabled=asked.precision == "bfloat16")


def layout(asked: argparse.Namespace) -> torch.memory_format:
    """How maps lie in memory."""
    return torch.channels_last if asked.channels_last else torch.contiguous_format


def stacks_per_s(step: Step, asked: argparse.Namespace) -> Speed:
    """The best of a few trials, warmed up."""
    for _ in range(3):
        step()
    return max(_trial(step, asked) for _ in range(TRIALS))


def _trial(step: Step, asked: argparse.Namespace) -> Speed:
    started, used = time.perf_counter(), time.process_time()
    for _ in range(asked.steps):
        step()
    seconds = time.perf_counter() - started
    return asked.steps * asked.batch / seconds, (time.process_time() - used) / seconds


def logits_of(network: UNet, stacks: Path) -> np.ndarray:
    """Logits `(N, H, W, R)` of stacks `(N, H, W, 2k+1)` in a file."""
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
    parser.add_argument("--weights", type=Path, help="an .npz; then logits, and no speed")
    parser.add_argument("--stacks", type=Path, help="an .npy to compute the logits of")
    parser.add_argument("--logits", type=Path, help="where to write them")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    network = UNet(width=asked.width, depth=asked.depth, planes=asked.planes, regions=asked.regions)
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in network.parameters())}
    if asked.weights:
        pour(network, asked.weights)
        np.save(asked.logits, logits_of(network, asked.stacks))
    else:
        network = network.to(memory_format=layout(asked))
        stacks = torch.rand(asked.batch, asked.planes, asked.canvas, asked.canvas)
        stacks = stacks.to(memory_format=layout(asked))
        found["train"] = stacks_per_s(training_step(network, stacks, asked), asked)
        found["predict"] = stacks_per_s(prediction_step(network, stacks, asked), asked)
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
