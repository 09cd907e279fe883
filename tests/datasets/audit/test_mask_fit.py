"""Fit of masks to scans of a few voxels."""

import numpy as np
import pytest

from thorax.datasets.audit.mask_fit import MIRRORS, border_contrast, handedness, means


def lungs() -> np.ndarray:
    """Two lungs in a plane: 3 voxels wide on the left, 4 on the right, a gap of 2."""
    across = np.array([0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0], bool)
    return np.repeat(across[None, :, None], 4, axis=2) & np.array([0, 1, 1, 0], bool)


def test_the_contrast_is_highest_for_the_mirror_that_was_applied() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((7, 9, 11), bool)
    mask[1:4, 1:4, 2:6] = mask[1:3, 5:7, 3:9] = True
    scan = np.where(mask, -800, 40) + rng.normal(0, 20, mask.shape)
    assert int(np.argmax(border_contrast(scan, mask))) == 0
    for number, axes in enumerate(MIRRORS):
        mirrored = np.flip(mask, tuple("zxy".index(axis) for axis in axes))
        contrasts = border_contrast(scan, mirrored)
        assert int(np.argmax(contrasts)) == number
        assert contrasts[number] == pytest.approx(840, abs=20)


def test_padding_counts_as_air() -> None:
    scan = np.array([[[-3024], [-800], [40], [40]]])
    assert border_contrast(scan, scan == -800)[0] == (40 - 1024) / 2 + 800


def test_unsigned_values_do_not_overflow() -> None:
    scan = np.array([[[200], [10], [210]]], np.uint8)
    assert border_contrast(scan, scan == 10)[0] == 195


def test_a_mask_without_a_border_has_no_contrasts() -> None:
    assert border_contrast(np.zeros((2, 2, 2)), np.ones((2, 2, 2), bool)) == ()
    assert border_contrast(np.zeros((2, 2, 2)), np.zeros((2, 2, 2), bool)) == ()


def test_the_mean_of_each_label() -> None:
    labels = np.array([[[0, 1], [1, 2]]], np.uint8)
    assert means(np.array([[[5, -100], [-300, 7]]], np.int16), labels) == {1: -200.0, 2: 7.0}


def test_a_larger_right_lung_has_positive_handedness_and_its_mirror_negative() -> None:
    value, mirrored = handedness(lungs()), handedness(lungs()[:, ::-1])
    # 8 of 14 voxels are right of the middle, which is 5; the gap is half a voxel to the left.
    assert value == pytest.approx(8 / 14 - 0.5 + 0.5 / 8, abs=1e-4)
    assert mirrored == pytest.approx(-value)


@pytest.mark.parametrize(
    "mask", [np.zeros((2, 8, 2), bool), np.ones((2, 8, 2), bool)], ids=["none", "no gap"]
)
def test_without_two_lungs_handedness_is_undefined(mask: np.ndarray) -> None:
    assert handedness(mask) is None
