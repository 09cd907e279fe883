"""Dice of trained models on degraded scans.

    python tests/benchmarks/robustness.py DATASET CASE NAME=MODEL [NAME=MODEL ...]

DATASET has the folders scans/ and masks/, CASE is a file name in both, and the models were not
trained on the case. The table has one row per degradation and one column per model, with the
Dice of each region on the grid of the degraded file.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from degraded_scans import DEGRADATIONS, Volume
from measuring import say

from thorax.evaluation.scoring import open_pair
from thorax.imaging.intensity import HU
from thorax.imaging.overlap import overlap
from thorax.inference.outputs import Outputs, write_outputs
from thorax.inference.segmenter import Segmenter, load
from thorax.io import Scan, write_volume


def main() -> None:
    """Print the table."""
    dataset, case, *named = sys.argv[1:]
    models = {
        name: Segmenter([load(Path(path))])
        for name, _, path in (item.partition("=") for item in named)
    }
    scan, mask = (Scan(Path(dataset) / kind / case) for kind in ("scans", "masks"))
    hu, labels = scan.voxels().astype(np.float32), mask.voxels()
    say(f"{'':<34}" + "".join(f"{name:>16}" for name in models))
    with tempfile.TemporaryDirectory() as folder:
        for name, degrade in DEGRADATIONS.items():
            degraded = degrade(hu, labels, scan.grid.affine)
            dice = [dice_of(model, degraded, Path(folder)) for model in models.values()]
            say(f"{name:<34}" + "".join(f"{value:>16}" for value in dice))


def dice_of(model: Segmenter, degraded: Volume, folder: Path) -> str:
    """Write, segment and score a degraded scan; return the Dice of each region."""
    hu, labels, affine = degraded
    names = ("scan", "truth", "predicted")
    scan, truth, predicted = (folder / f"{name}.nii.gz" for name in names)
    write_volume(scan, np.rint(hu).astype(np.int16), affine)
    write_volume(truth, labels.astype(np.uint8), affine)
    preprocessed = model.preprocess(Scan(scan), intensity=HU)
    write_outputs(model.predict(preprocessed), Outputs(predicted))
    pair = open_pair(Scan(truth), Scan(predicted), model.regions, sided=False)
    return " ".join(f"{overlap(*pair.masks(region)).dice:.4f}" for region in pair.regions)


if __name__ == "__main__":
    main()
