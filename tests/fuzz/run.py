# ruff: noqa: T201
"""Feed thousands of damaged files to every reader: each must be read or rejected in one line.

    python tests/fuzz/run.py --runs 1000 --reader nifti,nrrd --seed 1 --keep findings

Findings are other errors, crashes, more than 20 seconds, and much memory for a small file. Files
are kept as `READER-SEED-NUMBER-NAME`; seed and number determine the file. The exit status is 1 if
there are findings.
"""

import argparse
import os
import select
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.fuzz.readers import READERS  # noqa: E402
from tests.fuzz.trying import input_of  # noqa: E402

LIMIT_SECONDS = 20.0
START_SECONDS = 300.0
"""Limit for loading the libraries on a busy machine."""


@dataclass
class Tally:
    """Outcomes of one reader."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def runs(self) -> int:
        """Number of files."""
        return self.counts.total() + len(self.findings)

    def add(self, number: int, outcome: str) -> None:
        """Add the outcome of a file."""
        if outcome in ("ok", "rejected"):
            self.counts[outcome] += 1
        else:
            self.findings[number] = outcome


def fuzz(name: str, *, seed: int, runs: int) -> Tally:
    """Run one reader on damaged files; restart its process after a crash."""
    tally, number, start = Tally(), 0, time.monotonic()
    while number < runs:
        number = _fuzz_on(name, seed, range(number, runs), tally)
    tally.seconds = time.monotonic() - start
    return tally


def _fuzz_on(name: str, seed: int, numbers: range, tally: Tally) -> int:
    """Read files until the process ends; return the number to continue from."""
    command = [sys.executable, "-m", "tests.fuzz.trying", name]
    command += map(str, (seed, numbers.start, numbers.stop))
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    environment = os.environ | {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        if (answer := _line(process, START_SECONDS)) != "ready":
            raise RuntimeError(f"the reader {name} cannot start: {answer}")
        for number in numbers:
            outcome = _line(process, LIMIT_SECONDS)
            if outcome is None:
                process.kill()
                tally.add(number, f"more than {LIMIT_SECONDS:g} s")
                return number + 1
            if not outcome:
                tally.add(number, f"the process ended with status {process.wait()}")
                return number + 1
            tally.add(number, outcome)
    return numbers.stop


def _line(process: "subprocess.Popen[bytes]", seconds: float) -> str | None:
    """Return the next line; empty at the end, None after the time limit."""
    assert process.stdout
    buffer = b""
    while not buffer.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        if not ready:
            return None
        piece = os.read(process.stdout.fileno(), 1)
        if not piece:
            return ""
        buffer += piece
    return buffer.decode("utf-8", "replace").strip()


def main() -> int:
    """Fuzz the chosen readers and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="files per reader [1000]")
    parser.add_argument("--reader", default=",".join(READERS), help="names, with commas [all]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the findings")
    options = parser.parse_args()
    print(
        f"{'reader':10} {'runs':>7} {'seconds':>8} {'runs/s':>7} {'ok':>7} {'rejected':>8} findings"
    )
    findings = 0
    for name in options.reader.split(","):
        tally = fuzz(name, seed=options.seed, runs=options.runs)
        findings += len(tally.findings)
        print(
            f"{name:10} {tally.runs:7} {tally.seconds:8.1f} {tally.runs / tally.seconds:7.1f} "
            f"{tally.counts['ok']:7} {tally.counts['rejected']:8} {len(tally.findings)}",
            flush=True,
        )
        _report(name, options.seed, tally, options.keep)
    return 1 if findings else 0


def _report(name: str, seed: int, tally: Tally, keep: Path | None) -> None:
    """Print each kind of finding with its first number; write the files to a folder if given."""
    kinds: dict[str, list[int]] = {}
    for number, outcome in tally.findings.items():
        kinds.setdefault(outcome, []).append(number)
    for outcome, numbers in kinds.items():
        print(f"  {len(numbers)} × {outcome} (first: {numbers[0]})", flush=True)
    for number in tally.findings if keep else ():
        assert keep
        keep.mkdir(parents=True, exist_ok=True)
        path = keep / f"{name}-{seed}-{number}-{READERS[name].name}"
        path.write_bytes(input_of(name, seed, number))


if __name__ == "__main__":
    sys.exit(main())
