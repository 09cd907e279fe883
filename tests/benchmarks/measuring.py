"""How things are measured, and told."""

import gzip
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thorax.regions import Regions

REGIONS = Regions({"lung": (1, 2, 3), "infection": (3,)})
"""What the masks of the phantom show."""


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
