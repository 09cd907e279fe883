"""Read damaged files in a process with limited memory."""

import os
import resource
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from thorax.common.errors import InputError, printable

from .readers import READERS, Reader

GROWTH_BYTES = 2**30
"""Allowed growth of memory while a file of some kilobytes is read."""
MOST_BYTES = 4 * 2**30
"""Address space beyond that of the libraries; larger allocations fail."""


def input_of(name: str, seed: int, number: int) -> bytes:
    """Return the damaged file of a number; it is always the same."""
    return READERS[name].input(np.random.default_rng([seed, zlib.crc32(name.encode()), number]))


def outcomes(name: str, seed: int, numbers: range) -> Iterator[str]:
    """Yield ``ok``, ``rejected`` or the failure, for each number."""
    reader = READERS[name]
    # The first read loads libraries, which takes time and memory.
    for content in reader.seeds():
        attempt(reader, content)
    for number in numbers:
        before = _peak_bytes()
        outcome = attempt(reader, input_of(name, seed, number))
        grown = _peak_bytes() - before
        yield f"memory: {grown / 2**20:.0f} MiB more" if grown > GROWTH_BYTES else outcome


def attempt(reader: Reader, content: bytes) -> str:
    """Read a file and return the outcome."""
    with tempfile.TemporaryDirectory() as folder:
        for name, companion in reader.companions().items():
            (Path(folder) / name).write_bytes(companion)
        path = Path(folder) / reader.name
        path.write_bytes(content)
        try:
            # Warnings are errors in tests only.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(path)
        except InputError as error:
            line = str(error)
            short = "more memory than is available" in line
            return "memory: allocation failed" if short else _checked(line)
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        return "ok"


def _checked(line: str) -> str:
    return "rejected" if line and printable(line) == line else f"not one line: {line!r:.150}"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Run ``python -m tests.fuzz.trying READER SEED START STOP``; prints one line per file."""
    name, *numbers = sys.argv[1:]
    seed, start, stop = map(int, numbers)
    # C libraries print to stdout; the outcomes need a separate stream.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    for content in READERS[name].seeds():
        if (outcome := attempt(READERS[name], content)) != "ok":
            print(f"a valid file: {outcome}", file=answers, flush=True)
            return
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
    print("ready", file=answers, flush=True)
    for outcome in outcomes(name, seed, range(start, stop)):
        print(outcome.replace("\n", " "), file=answers, flush=True)


if __name__ == "__main__":
    main()
