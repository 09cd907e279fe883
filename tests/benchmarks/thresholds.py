"""Compare thresholds of one region over the folds of a cross-validation.

    python tests/benchmarks/thresholds.py MAPS MASKS LABELS FOLDS.csv [--seed 0]

MAPS has a probability map of each case, as `thorax predict --probabilities` with the model of its
fold writes them; MASKS the reference masks under the names of the cases; LABELS are the label
values of the region, as 1,2. FOLDS.csv is the table of `thorax cross-validate --csv`. The maps are
compared as they are, without the postprocessing of the masks. Each reference must have the region.

Printed are the mean Dice at each threshold, with the best threshold of each case, and with the one
that is best for the cases of the other folds: the only choice of these that does not use the case
itself.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measuring import say
from numpy.typing import NDArray

from thorax.common.tables import read_csv
from thorax.imaging.overlap import mean_defined, overlap
from thorax.io import Scan

THRESHOLDS = np.arange(2, 19) / 20

Curve = NDArray[np.float64]
"""Dice at each of `THRESHOLDS`."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    for name in ("maps", "masks"):
        parser.add_argument(name, type=Path)
    parser.add_argument("labels", type=lambda text: [int(label) for label in text.split(",")])
    parser.add_argument("folds", type=Path)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--region", default="infection")
    options = parser.parse_args()
    _, rows = read_csv(options.folds.read_text(encoding="utf-8"))
    folds = {row["case"]: row["fold"] for row in rows if row["seed"] == options.seed}
    curves = {
        case: dice_curve(
            Scan(options.maps / f"{case}_{options.region}.nii.gz").voxels(),
            np.isin(Scan(options.masks / f"{case}.nii.gz").voxels(), options.labels),
        )
        for case in sorted(folds)
    }
    report(curves, folds)


def dice_curve(probabilities: NDArray[Any], truth: NDArray[np.bool_]) -> Curve:
    """Compute the Dice of a region at each threshold; both arrays have the same shape.

    Example:
        >>> dice_curve(np.array([0.3, 0.9], np.float32), np.array([False, True]))[[0, 10]].tolist()
        [0.6666666666666666, 1.0]
    """
    return np.array([overlap(truth, probabilities >= threshold).dice for threshold in THRESHOLDS])


def report(curves: Mapping[str, Curve], folds: Mapping[str, str]) -> None:
    """Print the mean Dice for each way to choose the threshold."""
    for index, threshold in enumerate(THRESHOLDS):
        mean = mean_defined(curve[index] for curve in curves.values())
        say(f"{threshold:.2f} for all cases            {mean:.3f}")
    best = {case: int(curve.argmax()) for case, curve in curves.items()}
    others = {
        case: np.array([curve for other, curve in curves.items() if folds[other] != folds[case]])
        for case in curves
    }
    chosen = {case: int(others[case].mean(axis=0).argmax()) for case in curves}
    for title, indices in (("best of each case", best), ("best for the other folds", chosen)):
        mean = mean_defined(curves[case][index] for case, index in indices.items())
        say(f"{title:<29} {mean:.3f}")
        say("  " + ", ".join(f"{THRESHOLDS[index]:.2f}" for index in indices.values()))


if __name__ == "__main__":
    main()
