"""Measurement of time and memory for the benchmarks."""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from thorax.imaging.regions import Regions
from thorax.io import write_volume
from thorax.phantom import chest

REGIONS = Regions({"lung": (1, 2, 3), "infection": (3,)})
"""Regions of the phantom."""


@dataclass(frozen=True)
class Cost:
    """Time and memory of a process with its children.

    Args:
        wall: Elapsed seconds.
        cpu: CPU seconds of all cores.
        peak_mib: Largest resident memory of one process.
    """

    wall: float
    cpu: float
    peak_mib: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} s wall, {self.cpu:.2f} s CPU, peak {self.peak_mib:.0f} MiB"


def make_scan(number: int, shape: tuple[int, int, int], scan: Path, mask: Path) -> None:
    """Write a phantom resampled to a shape, with noise so that it compresses like a real scan."""
    synthetic = chest(number, seed=0)
    zoom = np.divide(shape, synthetic.scan.voxels.shape)
    draw = np.random.default_rng(number)
    hu = np.empty(shape, dtype=np.int16)
    resampled = ndimage.zoom(synthetic.scan.voxels.astype(np.float32), zoom, order=1)
    for plane in range(shape[2]):
        noise = 12 * draw.standard_normal(shape[:2], dtype=np.float32)
        hu[..., plane] = np.rint(resampled[..., plane] + noise)
    affine = synthetic.scan.grid.affine @ np.diag([*(1 / zoom), 1.0])
    write_volume(scan, hu, affine)
    write_volume(mask, ndimage.zoom(synthetic.mask.voxels, zoom, order=0), affine)


def gunzip(path: Path) -> None:
    """Decompress a file and discard the bytes."""
    with gzip.open(path) as stream:
        while stream.read(2**20):
            pass


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201


def keeping_compiled() -> dict[str, str]:
    """Return an environment in which Python keeps the compiled modules, as in installed packages.

    Without them, importing takes two to three times as long.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cost_of(command: list[str]) -> Cost:
    """Run a command in a separate process and measure it."""
    code = (
        "import json, resource, subprocess, sys, time; started = time.perf_counter(); "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "wall = time.perf_counter() - started; "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=keeping_compiled(),
    )
    return Cost(*json.loads(result.stdout))
