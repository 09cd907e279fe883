"""Segment one scan in all 48 axis orders and flips, each with a correct affine.

    python tests/benchmarks/orientations.py CT MODEL

Prints the lowest Dice with the mask of the original orientation, in patient coordinates.
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
    """Print the lowest Dice."""
    path, model = sys.argv[1:]
    predictor = thorax.load(model)
    image = nibabel.as_closest_canonical(nibabel.load(path))
    expected = predictor.segment(image).mask
    dice = {}
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turn = np.array([axes, flips], dtype=float).T
            mask = predictor.segment(image.as_reoriented(turn)).mask
            inverse = np.array([[axes.index(axis), flips[axes.index(axis)]] for axis in range(3)])
            back = orientations.apply_orientation(mask, inverse)
            dice["".join(nibabel.aff2axcodes(image.as_reoriented(turn).affine))] = overlap(
                expected, back
            ).dice
    order = min(dice, key=dice.__getitem__)
    say(f"{len(dice)} axis orders and flips: lowest Dice {dice[order]:.6f} ({order})")


if __name__ == "__main__":
    main()
