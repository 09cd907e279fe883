"""How things are measured, and told."""

import gzip
import json
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
"""What the masks of the phantom show."""


@dataclass(frozen=True)
class Cost:
    """What a command took, as a whole process with its children.

    Args:
        wall: Seconds on the clock.
        cpu: Seconds of all cores.
        peak_mib: Largest resident memory of one of its processes.
    """

    wall: float
    cpu: float
    peak_mib: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} s wall, {self.cpu:.2f} s CPU, peak {self.peak_mib:.0f} MiB"


def make_scan(number: int, shape: tuple[int, int, int], scan: Path, mask: Path) -> None:
    """Blow a phantom up to a shape, with noise so that it compresses like a real scan."""
    made = chest(number, seed=0)
    zoom = np.divide(shape, made.scan.voxels.shape)
    draw = np.random.default_rng(number)
    hu = np.empty(shape, dtype=np.int16)
    grown = ndimage.zoom(made.scan.voxels.astype(np.float32), zoom, order=1)
    for plane in range(shape[2]):
        noise = 12 * draw.standard_normal(shape[:2], dtype=np.float32)
        hu[..., plane] = np.rint(grown[..., plane] + noise)
    affine = made.scan.grid.affine @ np.diag([*(1 / zoom), 1.0])
    write_volume(scan, hu, affine)
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


def cost_of(command: list[str]) -> Cost:
    """Run a command from a process that starts nothing else, and see what it took."""
    code = (
        "import json, resource, subprocess, sys, time; started = time.perf_counter(); "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "wall = time.perf_counter() - started; "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    return Cost(*json.loads(done.stdout))
