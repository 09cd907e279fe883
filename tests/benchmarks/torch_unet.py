"""Speed of the default `unet` in PyTorch on a CPU or an NVIDIA GPU, or logits from given weights.

Needs only PyTorch and NumPy; prints one JSON object per batch size. `side_by_side.py` runs it next
to Keras, `gpu.sh` on a GPU.
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
        with torch.autocast(maps.device.type, enabled=False):
            return self.layers["logits"](maps.float())

    def _pair(self, maps: torch.Tensor, name: str) -> torch.Tensor:
        for number in (0, 1):
            maps = self.layers[f"{name}_conv_{number}"](maps)
            # In float16 squares overflow from 256 on, as in the network of `thorax`.
            wide = maps.float() if maps.dtype == torch.float16 else maps
            square = wide.square().mean(dim=(1, 2, 3), keepdim=True)
            maps = functional.relu(wide * torch.rsqrt(square + 1e-5)).to(maps.dtype)
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
    truth = truth.to(options.device, memory_format=layout(options))
    kinds = [
        [p for p in network.parameters() if (p.ndim > 1) is kernel] for kernel in (True, False)
    ]
    groups = [{"params": kinds[0], "weight_decay": 1e-4}, {"params": kinds[1], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)

    scaler = torch.amp.GradScaler(options.device, enabled=options.precision == "float16")

    def cost_of(batch: torch.Tensor) -> torch.Tensor:
        with precision(options):
            return focal_dice(truth, network(batch))

    cost = torch.compile(cost_of, dynamic=False) if options.compile else cost_of

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(cost(stacks)).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def prediction_step(network: UNet, stacks: torch.Tensor, options: argparse.Namespace) -> Step:
    """Return a forward pass."""
    ready = torch.compile(network, dynamic=False) if options.compile else network

    def step() -> torch.Tensor:
        with torch.inference_mode(), precision(options):
            return ready(stacks)

    return step


def precision(options: argparse.Namespace) -> AbstractContextManager[Any]:
    """Return the autocast context."""
    if options.precision == "float32":
        return torch.autocast(options.device, enabled=False)
    return torch.autocast(options.device, getattr(torch, options.precision))


def layout(options: argparse.Namespace) -> torch.memory_format:
    """Return the memory format of maps."""
    return torch.channels_last if options.channels_last else torch.contiguous_format


def stacks_per_s(step: Step, batch: int, options: argparse.Namespace) -> Speed:
    """Return the fastest of several trials after a warm-up, or one of given seconds."""
    for _ in range(3):
        step()
    finish(options)
    if not options.seconds:
        return max(_trial(step, batch, options.steps, options) for _ in range(TRIALS))
    speed, _ = _trial(step, batch, 3, options)
    return _trial(step, batch, max(3, round(options.seconds * speed / batch)), options)


def _trial(step: Step, batch: int, steps: int, options: argparse.Namespace) -> Speed:
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    finish(options)
    seconds = time.perf_counter() - start
    return steps * batch / seconds, (time.process_time() - cpu) / seconds


def finish(options: argparse.Namespace) -> None:
    """Wait for the GPU, which computes in the background."""
    if options.device == "cuda":
        torch.cuda.synchronize()


def measure(network: UNet, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure training and prediction with one repeated batch.

    Returns:
        ``train`` and ``predict``, the seconds of the first step (``first``), and begin and end of
        the training (``window``).
    """
    stacks = torch.rand(batch, options.planes, options.canvas, options.canvas)
    stacks = stacks.to(options.device, memory_format=layout(options))
    train = training_step(network, stacks, options)
    started = time.perf_counter()
    train()
    finish(options)
    first = time.perf_counter() - started
    begin = time.time()
    speed = stacks_per_s(train, batch, options)
    results = {"batch": batch, "first": first, "train": speed, "window": (begin, time.time())}
    if options.train_only:
        return results
    step = prediction_step(network, stacks, options)
    return results | {"predict": stacks_per_s(step, batch, options)}


def logits_of(network: UNet, stacks: Path) -> np.ndarray:
    """Return logits `(N, H, W, R)` of stacks `(N, H, W, 2k+1)` in a file."""
    maps = torch.from_numpy(np.load(stacks)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        return network(maps).permute(0, 2, 3, 1).numpy()


def main() -> None:
    """Measure, or compute logits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    for name, default in (("steps", 20), ("threads", 2), ("canvas", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("width", 16), ("depth", 4), ("planes", 5), ("regions", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16", "float16"), default="float32"
    )
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), default="cpu")
    parser.add_argument("--seconds", type=float, default=0.0, help="of one trial, instead of steps")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--train-only", action="store_true", help="do not measure prediction")
    parser.add_argument("--weights", type=Path, help=".npz; compute logits instead of measuring")
    parser.add_argument("--stacks", type=Path, help=".npy with the stacks for the logits")
    parser.add_argument("--logits", type=Path, help="output file")
    options = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    if options.device == "cuda" and not has_gpu:
        parser.error("--device cuda needs an NVIDIA GPU and PyTorch for CUDA; use --device cpu")
    if options.device == "auto":
        options.device = "cuda" if has_gpu else "cpu"
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = UNet(
        width=options.width, depth=options.depth, planes=options.planes, regions=options.regions
    )
    parameters = {"parameters": sum(p.numel() for p in network.parameters())}
    if options.weights:
        copy_weights(network, options.weights)
        np.save(options.logits, logits_of(network, options.stacks))
        print(json.dumps(parameters))  # noqa: T201
        return
    network = network.to(options.device, memory_format=layout(options))
    for batch in options.batch:
        print(json.dumps(parameters | measure(network, batch, options)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
