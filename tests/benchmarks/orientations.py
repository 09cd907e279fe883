"""One scan in all 48 axis orders and flips, each with a correct affine: does the mask stay?

    python tests/benchmarks/orientations.py CT MODEL

Prints the least Dice of any of them with the mask of the file as it is, in the patient.
"""

import itertools
import sys

import nibabel
import numpy as np
from measuring import say
from nibabel import orientations

import thorax
from thorax.imaging.overlap import overlap


def main() -> None:
    """Print the least Dice."""
    path, model = sys.argv[1:]
    predictor = thorax.load(model)
    image = nibabel.as_closest_canonical(nibabel.load(path))
    expected = predictor.segment(image).mask
    least = {}
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turn = np.array([axes, flips], dtype=float).T
            found = predictor.segment(image.as_reoriented(turn)).mask
            inverse = np.array([[axes.index(axis), flips[axes.index(axis)]] for axis in range(3)])
            back = orientations.apply_orientation(found, inverse)
            least["".join(nibabel.aff2axcodes(image.as_reoriented(turn).affine))] = overlap(
                expected, back
            ).dice
    order = min(least, key=least.__getitem__)
    say(f"{len(least)} axis orders and flips: least Dice {least[order]:.6f} ({order})")


if __name__ == "__main__":
    main()
