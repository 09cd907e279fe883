"""Measure speed and memory on this machine: `make bench`.

Everything is measured on synthetic chests blown up to the size of a clinical CT, so that anyone
can run it. Nothing here is asserted; the numbers go to stdout, with the machine beside them.
"""

import os
import platform
import tempfile
from pathlib import Path

import numpy as np
from measuring import REGIONS, gunzip, say, timed
from scipy import ndimage

from thorax.backend import import_keras
from thorax.cases import Case, Dataset
from thorax.index import Index
from thorax.intensity import HU
from thorax.phantom import chest
from thorax.preparation import prepare
from thorax.scans import write_volume

SHAPE = (512, 512, 300)
CASES = 4


def main() -> None:
    """Measure one thing after the other."""
    say(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder))
        index = bench_prepare(cases, Path(folder))
        import_keras()
        # Not above: the processes that prepare import this file too, and need no TensorFlow.
        from networks import bench_prediction, bench_training

        bench_training(index, Path(folder))
        bench_prediction(cases[0], Path(folder))


def make_cases(folder: Path) -> list[Case]:
    """Blow phantoms up to 512×512×300, with noise so that they compress like real scans."""
    cases = []
    for number in range(CASES):
        made = chest(number, seed=0)
        zoom = np.divide(SHAPE, made.scan.voxels.shape)
        noise = np.random.default_rng(number).normal(0, 12, SHAPE).astype(np.float32)
        hu = ndimage.zoom(made.scan.voxels.astype(np.float32), zoom, order=1) + noise
        labels = ndimage.zoom(made.mask.voxels, zoom, order=0)
        affine = made.scan.grid.affine @ np.diag([*(1 / zoom), 1.0])
        case = Case(
            made.name, made.name, folder / f"{number}.nii.gz", folder / f"{number}_mask.nii.gz", HU
        )
        write_volume(case.scan, np.rint(hu).astype(np.int16), affine)
        write_volume(case.mask, labels, affine)
        cases.append(case)
    return cases


def bench_prepare(cases: list[Case], folder: Path) -> Index:
    """Volumes a second, next to what gunzip alone takes."""
    unzip = sum(
        timed(lambda path=path: gunzip(path)) for case in cases for path in (case.scan, case.mask)
    )
    dataset = Dataset("bench", REGIONS, tuple(cases))
    index: list[Index] = []
    records = folder / "records"
    seconds = timed(lambda: index.append(prepare(dataset, records, canvas=128, crop="none")))
    say(
        f"prepare     {CASES / seconds:6.2f} volumes/s of {SHAPE}, in as many processes as cores; "
        f"gunzip alone, 1 process: {CASES / unzip:.2f} volumes/s"
    )
    return index[-1]


if __name__ == "__main__":
    main()
