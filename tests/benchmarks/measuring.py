"""How things are measured, and told."""

import gzip
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from thorax.phantom import chest
from thorax.regions import Regions
from thorax.scans import write_volume

REGIONS = Regions({"lung": (1, 2, 3), "infection": (3,)})
"""What the masks of the phantom show."""


def make_scan(number: int, shape: tuple[int, int, int], scan: Path, mask: Path) -> None:
    """Blow a phantom up to a shape, with noise so that it compresses like a real scan."""
    made = chest(number, seed=0)
    zoom = np.divide(shape, made.scan.voxels.shape)
    noise = np.random.default_rng(number).normal(0, 12, shape).astype(np.float32)
    hu = ndimage.zoom(made.scan.voxels.astype(np.float32), zoom, order=1) + noise
    affine = made.scan.grid.affine @ np.diag([*(1 / zoom), 1.0])
    write_volume(scan, np.rint(hu).astype(np.int16), affine)
    write_volume(mask, ndimage.zoom(made.mask.voxels, zoom, order=0), affine)


def gunzip(path: Path) -> None:
    """Decompress a file and throw the bytes away."""
    with gzip.open(path) as stream:
        while stream.read(2**20):
            pass


def timed(work: Callable[[], Any]) -> float:
    """Seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201


def peak_mib(command: list[str]) -> float:
    """Peak resident memory of a command, measured in a process of its own."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, capture_output=True, text=True
    )
    return float(done.stdout)
