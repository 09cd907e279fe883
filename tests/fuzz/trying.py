"""One damaged file after the other, in a process that may neither grow nor hang."""

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
"""By which the memory of a process may grow while it reads a file of some kilobytes."""
MOST_BYTES = 4 * 2**30
"""Of addresses beyond those that the libraries take; what asks for more is refused."""


def input_of(name: str, seed: int, number: int) -> bytes:
    """The damaged file of that number; always the same."""
    return READERS[name].input(np.random.default_rng([seed, zlib.crc32(name.encode()), number]))


def outcomes(name: str, seed: int, numbers: range) -> Iterator[str]:
    """``ok``, ``refused`` or what is wrong, for each number."""
    reader = READERS[name]
    # What is slow or large at the first time, whatever is read, is loaded here.
    for content in reader.seeds():
        attempt(reader, content)
    for number in numbers:
        before = _peak_bytes()
        outcome = attempt(reader, input_of(name, seed, number))
        grown = _peak_bytes() - before
        yield f"memory: {grown / 2**20:.0f} MiB more" if grown > GROWTH_BYTES else outcome


def attempt(reader: Reader, content: bytes) -> str:
    """Read a file, and say what became of it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, good in reader.beside().items():
            (Path(folder) / name).write_bytes(good)
        path = Path(folder) / reader.name
        path.write_bytes(content)
        try:
            # As in a program, not as in a test: what a library warns of is no error.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(path)
        except InputError as error:
            line = str(error)
            short = "more memory than there is" in line
            return "memory: refused by the system" if short else _checked(line)
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        return "ok"


def _checked(line: str) -> str:
    return "refused" if line and printable(line) == line else f"not one line: {line!r:.150}"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """``python -m tests.fuzz.trying READER SEED START STOP``; one line a file on stdout."""
    name, *numbers = sys.argv[1:]
    seed, start, stop = map(int, numbers)
    # Libraries in C print what they like; the answers have a stream of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    for content in READERS[name].seeds():
        if (outcome := attempt(READERS[name], content)) != "ok":
            print(f"its good file: {outcome}", file=answers, flush=True)
            return
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_BYTES, taken + MOST_BYTES))
    print("ready", file=answers, flush=True)
    for outcome in outcomes(name, seed, range(start, stop)):
        print(outcome.replace("\n", " "), file=answers, flush=True)


if __name__ == "__main__":
    main()
