"""Measure speed and memory on this machine: `make bench`.

The data are synthetic chests, enlarged to the size of a clinical CT. Results and a description of
the machine go to stdout; nothing is asserted.
"""

import os
import platform
import tempfile
from pathlib import Path

from measuring import REGIONS, gunzip, make_scan, say, timed

from thorax.datasets.dataset import Case, Dataset
from thorax.imaging.intensity import HU
from thorax.preprocessing.index import RecordIndex
from thorax.preprocessing.prepare import prepare

SHAPE = (512, 512, 300)
CASES = 4


def main() -> None:
    """Run all benchmarks."""
    say(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder))
        index = bench_prepare(cases, Path(folder))
        # Imported late: the worker processes of `prepare` import this file without TensorFlow.
        from networks import bench_training
        from prediction import bench_prediction

        bench_training(index, Path(folder) / "records")
        bench_prediction(cases[0].scan, Path(folder))


def make_cases(folder: Path) -> list[Case]:
    """Make scans of clinical size."""
    cases = []
    for number in range(CASES):
        scan, mask = folder / f"{number}.nii.gz", folder / f"{number}_mask.nii.gz"
        make_scan(number, SHAPE, scan, mask)
        cases.append(Case(f"bench_{number}", f"bench_{number}", scan, mask, HU))
    return cases


def bench_prepare(cases: list[Case], folder: Path) -> RecordIndex:
    """Measure volumes per second, and those of gunzip alone."""
    unzip = sum(
        timed(lambda path=path: gunzip(path)) for case in cases for path in (case.scan, case.mask)
    )
    dataset = Dataset("bench", REGIONS, tuple(cases))
    index: list[RecordIndex] = []
    records = folder / "records"
    seconds = timed(lambda: index.append(prepare(dataset, records, canvas=128, crop="none")))
    say(
        f"prepare     {CASES / seconds:6.2f} volumes/s of {SHAPE}, in as many processes as cores; "
        f"gunzip alone, 1 process: {CASES / unzip:.2f} volumes/s"
    )
    return index[-1]


if __name__ == "__main__":
    main()
