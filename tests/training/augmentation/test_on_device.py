"""Augmentation with the operations of Keras, against OpenCV and albumentations."""

from typing import Any

import albumentations.augmentations.blur.functional as blur_functions
import albumentations.augmentations.geometric.functional as geometric
import albumentations.augmentations.pixel.functional as pixel_functions
import cv2
import keras
import numpy as np
import pytest
from scipy.stats import ks_2samp

from thorax.training.augmentation.ct import LowResolution, SharpKernel
from thorax.training.augmentation.draws import affine_matrices
from thorax.training.augmentation.mixing import cutmix, mixup
from thorax.training.augmentation.on_device import (
    augment,
    blur_matrices,
    low_resolution_matrices,
)

from ...learning import augmentation

SIDE = 32

ROUNDING = 1 / 32
"""OpenCV interpolates at multiples of 1/32 pixel."""


def smooth_stacks(count: int = 3, *, channels: int = 5) -> np.ndarray:
    """Return slices of broad random shapes between 0 and 1, with an asymmetric bright corner."""
    noise = np.random.default_rng(5).random((count * channels, SIDE, SIDE), np.float32)
    planes = np.stack([cv2.GaussianBlur(plane, (0, 0), 2.0) for plane in noise])
    planes = (planes - planes.min()) / np.ptp(planes) * 0.8
    planes[:, 3:9, 4:20] += 0.2
    return np.moveaxis(planes.reshape(count, channels, SIDE, SIDE), 1, -1)


STACKS = smooth_stacks()
FRACTIONS = smooth_stacks(channels=2)


def transformed(draws: dict[str, Any], noise: np.ndarray | None = None) -> np.ndarray:
    """Return the stacks after the drawn transforms."""
    return as_array(augment(STACKS, FRACTIONS, draws, noise)[0])


def as_array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def test_without_draws_nothing_changes() -> None:
    stacks, fractions = map(as_array, augment(STACKS, FRACTIONS, {}))
    np.testing.assert_array_equal(stacks, STACKS)
    np.testing.assert_array_equal(fractions, FRACTIONS)


def test_neutral_draws_change_nothing() -> None:
    one, zero = np.ones(3), np.zeros(3)
    draws = {
        "matrix": np.tile([1.0, 0, 0, 0, 1, 0, 0, 0], (3, 1)),
        "planes": np.tile(np.arange(5), (3, 1)),
        "kept": one,
        "sigma": zero,
        "sharpening": zero,
        "contrast": one,
        "brightness": zero,
        "gamma": one,
        "noise": zero,
        "inside": np.tile([0, SIDE - 1, 0, SIDE - 1], (3, 1)),
        "weights": np.ones((SIDE, SIDE)),
    }
    stacks, fractions = map(as_array, augment(STACKS, FRACTIONS, draws, np.ones_like(STACKS)))
    np.testing.assert_allclose(stacks, STACKS, atol=1e-5)
    np.testing.assert_allclose(fractions, FRACTIONS, atol=1e-6)


@pytest.mark.parametrize(
    ("degrees", "zoom", "shift"),
    [
        (0.0, (1.0, 1.0), (0, 0)),
        (30.0, (1.0, 1.0), (0, 0)),
        (0.0, (1.2, 0.7), (0, 0)),
        (0.0, (1.0, 1.0), (5, -3)),
        (-25.0, (0.8, 1.1), (-2, 4)),
    ],
)
def test_the_matrix_is_that_of_albumentations(
    degrees: float, zoom: tuple[float, float], shift: tuple[int, int]
) -> None:
    (matrix,) = affine_matrices(
        np.array([degrees]), np.array([zoom]), np.array([shift]), canvas=SIDE
    )
    expected = geometric.create_affine_transformation_matrix(
        dict(zip("xy", shift, strict=True)),
        {"x": 0.0, "y": 0.0},
        dict(zip("xy", zoom, strict=True)),
        degrees,
        geometric.center((SIDE, SIDE)),
    )
    np.testing.assert_allclose(matrix, expected, atol=1e-9)


def test_slices_and_fractions_are_warped_as_by_opencv() -> None:
    matrices = affine_matrices(
        np.array([20.0, -10.0, 0.0]),
        np.array([[0.8, 1.1], [1.2, 1.0], [1.0, 1.0]]),
        np.array([[2, -4], [0, 0], [-6, 3]]),
        canvas=SIDE,
    )
    inverse = np.linalg.inv(matrices)[:, :2].reshape(3, 6)
    draws = {"matrix": np.pad(inverse, ((0, 0), (0, 2)))}
    for result, given in zip(augment(STACKS, FRACTIONS, draws), (STACKS, FRACTIONS), strict=True):
        expected = np.stack(
            [
                np.stack(
                    [cv2.warpAffine(plane, m[:2], (SIDE, SIDE)) for plane in np.moveaxis(s, -1, 0)],
                    axis=-1,
                )
                for s, m in zip(given, matrices, strict=True)
            ]
        )
        assert expected.min() == 0  # some of the result is beyond the border
        np.testing.assert_allclose(as_array(result), expected, atol=ROUNDING)


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 1.9])
def test_blur_is_that_of_albumentations(sigma: float) -> None:
    kernel = blur_functions.create_gaussian_kernel_1d(sigma)
    expected = np.stack([pixel_functions.separable_convolve(s, kernel=kernel) for s in STACKS])
    np.testing.assert_allclose(transformed({"sigma": np.full(3, sigma)}), expected, atol=1e-5)


def test_blur_differs_between_the_stacks_of_a_batch() -> None:
    blurred = transformed({"sigma": np.array([0.0, 1.0, 0.0])})
    np.testing.assert_allclose(blurred[[0, 2]], STACKS[[0, 2]], atol=1e-6)
    assert np.abs(blurred[1] - STACKS[1]).max() > 0.05


@pytest.mark.parametrize("lost", [0.0, 0.1, 0.33, 0.5, 0.8])
def test_low_resolution_is_that_of_opencv(lost: float) -> None:
    expected = np.stack([LowResolution(1.0).apply(stack, lost) for stack in STACKS])
    np.testing.assert_allclose(transformed({"kept": np.full(3, 1 - lost)}), expected, atol=1e-4)


@pytest.mark.parametrize("added", [0.3, 1.5])
def test_sharpening_is_that_of_opencv(added: float) -> None:
    expected = np.stack([SharpKernel(1.0).apply(stack, added) for stack in STACKS])
    np.testing.assert_allclose(transformed({"sharpening": np.full(3, added)}), expected, atol=1e-5)


@pytest.mark.parametrize("matrices", [blur_matrices, low_resolution_matrices])
def test_a_constant_slice_stays_constant(matrices: Any) -> None:
    np.testing.assert_allclose(
        as_array(matrices(np.array([0.3, 0.9]), canvas=17)).sum(axis=-1), 1.0, atol=1e-6
    )


def test_contrast_then_gamma_then_noise() -> None:
    draws = {
        "contrast": np.array([2.0, 1.0, 1.0]),
        "brightness": np.array([-0.2, 0.1, 0.0]),
        "gamma": np.array([1.0, 2.0, 1.0]),
        "noise": np.array([0.0, 0.0, 0.25]),
    }
    noise = np.ones_like(STACKS)
    expected = [
        np.clip(2 * STACKS[0] - 0.2, 0, 1),
        np.clip(STACKS[1] + 0.1, 0, 1) ** 2,
        np.clip(STACKS[2] + 0.25, 0, 1),
    ]
    np.testing.assert_allclose(transformed(draws, noise), np.stack(expected), atol=1e-6)


def test_missing_slices_and_the_field_of_view() -> None:
    draws = {
        "planes": np.array([[1, 1, 2, 3, 4], [0, 1, 2, 3, 4], [2, 2, 2, 2, 2]]),
        "inside": np.array([[0, 31, 0, 31], [2, 20, 5, 9], [0, 31, 0, 31]]),
    }
    changed, fractions = map(as_array, augment(STACKS, FRACTIONS, draws))
    np.testing.assert_array_equal(changed[0], STACKS[0][..., [1, 1, 2, 3, 4]])
    np.testing.assert_array_equal(changed[2], STACKS[2][..., [2, 2, 2, 2, 2]])
    for result, given in ((changed, STACKS), (fractions, FRACTIONS)):
        np.testing.assert_array_equal(result[1, 2:21, 5:10], given[1, 2:21, 5:10])
        assert result[1].sum() == pytest.approx(given[1, 2:21, 5:10].sum(), rel=1e-5)


def test_mixing_is_that_of_whole_batches_in_numpy() -> None:
    boxed = np.ones((SIDE, SIDE))
    boxed[4:10, 6:12] = 0
    for weights, expected in (
        (np.full((SIDE, SIDE), 0.75), mixup(STACKS, share=0.75)),
        (boxed, cutmix(STACKS, box=(slice(4, 10), slice(6, 12)))),
    ):
        np.testing.assert_allclose(transformed({"weights": weights}), expected, atol=1e-6)


STRENGTHS = {
    "flip": 0.4,
    "rotate_degrees": 15.0,
    "zoom": 0.2,
    "shift": 0.1,
    "contrast": 0.3,
    "gamma": 1.0,
    "noise": 0.2,
    "blur": 1.5,
    "sharpen": 1.5,
    "low_resolution": 0.7,
    "field_of_view": 0.2,
    "missing_planes": 0.3,
}

STACKS_COMPARED = 600


@pytest.mark.parametrize("names", [[name] for name in STRENGTHS] + [list(STRENGTHS)], ids="+".join)
def test_both_paths_have_the_same_distribution(names: list[str]) -> None:
    """The mean of each pixel over many stacks, its SD, and the size of the changes agree."""
    changes = augmentation(**{name: STRENGTHS[name] for name in names}, canvas=SIDE)
    stack, fractions = STACKS[0], FRACTIONS[0]
    on_cpu = np.stack([changes(stack, fractions, seed=seed)[0] for seed in range(STACKS_COMPARED)])
    draws = changes.draw_batch(np.random.default_rng(0), batch=STACKS_COMPARED, channels=5)
    noise = np.random.default_rng(1).standard_normal(on_cpu.shape, np.float32)
    stacks = np.broadcast_to(stack, on_cpu.shape)
    shares = np.broadcast_to(fractions, (*on_cpu.shape[:3], 2))
    on_device = as_array(augment(stacks, shares, draws, noise)[0])
    spread = np.sqrt((on_cpu.var(axis=0) + on_device.var(axis=0)) / STACKS_COMPARED)
    difference = np.abs(on_cpu.mean(axis=0) - on_device.mean(axis=0))
    # Neighbouring pixels change together, so the largest of 5,120 is about that of 100.
    assert np.all(difference <= 4.5 * spread + 2e-3)
    # After a seed, the first noise value of OpenCV is always about 0.
    deviations = [path.std(axis=0).ravel()[1:] for path in (on_cpu, on_device)]
    np.testing.assert_allclose(*deviations, atol=0.05)
    sizes = [np.abs(path - stack).mean(axis=(1, 2, 3)).round(4) for path in (on_cpu, on_device)]
    assert np.quantile(sizes[0], 0.95) > 0.003
    assert ks_2samp(*sizes).pvalue > 0.001
