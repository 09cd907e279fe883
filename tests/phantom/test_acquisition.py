"""Orientation of stored scans."""

import numpy as np
import pytest

from thorax.phantom.acquisition import ORIENTATIONS, reorient

WORLD_OF_LETTER = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


@pytest.mark.parametrize("orientation", [*ORIENTATIONS, "SPL", "ILA"])
def test_every_voxel_keeps_its_world_position(orientation: str) -> None:
    affine = np.array(
        [[2.0, 0.1, 0.0, -7.0], [-0.1, 2.0, 0.2, 3.0], [0.0, -0.3, 6.0, 11.0], [0, 0, 0, 1.0]]
    )
    voxels = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    stored, new = reorient(voxels, affine, orientation)
    for value in range(voxels.size):
        before = np.append(np.argwhere(voxels == value)[0], 1.0)
        after = np.append(np.argwhere(stored == value)[0], 1.0)
        np.testing.assert_allclose(new @ after, affine @ before, atol=1e-9)


@pytest.mark.parametrize("orientation", [*ORIENTATIONS, "SPL"])
def test_the_axes_have_the_directions_of_the_letters(orientation: str) -> None:
    _, affine = reorient(np.zeros((2, 3, 4)), np.diag([2.0, 2.0, 6.0, 1.0]), orientation)
    for axis, letter in enumerate(orientation):
        direction = affine[:3, axis]
        assert np.abs(direction).argmax() == WORLD_OF_LETTER[letter]
        assert (direction.sum() > 0) == (letter in "RAS")


def test_a_flip_with_literals() -> None:
    stored, affine = reorient(np.array([[[1]], [[2]], [[3]]]), np.diag([2.0, 2.0, 6.0, 1.0]), "LAS")
    np.testing.assert_array_equal(stored.ravel(), [3, 2, 1])
    np.testing.assert_array_equal(affine[0], [-2.0, 0.0, 0.0, 4.0])
