"""Every voxel of a series has the position that its own slice states."""

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.io.dicom.geometry import order_slices

AXIAL = np.eye(3)[:2]
SQUARE = np.array([1.0, 1.0])


def upright(heights: list[float]) -> np.ndarray:
    return np.array([[0, 0, height] for height in heights], dtype=float)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tilt_mm", [0.0, 0.4])
def test_oblique_and_tilted_stacks_have_the_positions_of_dicom(seed: int, tilt_mm: float) -> None:
    """The oracle is the equation of PS3.3, C.7.6.2.1.1, applied to each slice."""
    draw = np.random.default_rng(seed)
    axes = np.linalg.qr(draw.normal(size=(3, 3)))[0].T
    spacing = np.array([0.7, 0.9])
    normal = np.cross(axes[0], axes[1])
    step = 2.5 * normal + tilt_mm * axes[1]
    positions = draw.normal(size=3) + draw.permutation(9)[:, None] * step
    layout = order_slices(positions, axes[:2], spacing)
    for index, number in enumerate(layout.order):
        expected = positions[number] + 5 * spacing[0] * axes[0] + 3 * spacing[1] * axes[1]
        np.testing.assert_allclose((layout.affine @ [5, 3, index, 1])[:3], expected, atol=1e-6)
    assert [note[:22] for note in layout.notes] == (["the gantry was tilted "] if tilt_mm else [])


def test_rounded_positions_count_neither_as_tilt_nor_as_uneven() -> None:
    """Scanners round positions to a hundredth of a millimetre."""
    positions = upright([round(0.625 * index, 2) for index in range(200)])
    positions[::2, 0] += 0.01
    layout = order_slices(positions, AXIAL, SQUARE)
    assert layout.notes == ()
    np.testing.assert_allclose(layout.affine[:3, 2], [0, 0, 0.625], atol=1e-4)


def test_gaps_are_counted_and_the_first_are_listed() -> None:
    heights = [0, 1, 2, 4, 5, 7, 8, 10, 11, 14, 15, 16, 17, 18, 19]
    layout = order_slices(upright(heights), AXIAL, SQUARE)
    assert layout.gaps == (
        "slices are missing between 2.0 and 4.0 mm, between 5.0 and 7.0 mm, between 8.0 and "
        "10.0 mm along the slice axis and in 1 more gap"
    )
    assert (layout.missing, layout.distance_mm) == (1 + 1 + 1 + 2, 1.0)
    assert layout.notes == ()


def test_slices_off_the_line_of_the_others_are_refused() -> None:
    positions = upright([0, 1, 2, 3])
    positions[2, 0] = 40
    with pytest.raises(
        InputError, match=r"must be on one line, but some are 2\d\.\d mm away from it"
    ):
        order_slices(positions, AXIAL, SQUARE)


def test_slices_at_one_position_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"but 1 have that of another slice with other pixels, the first at 1\.0"
    ):
        order_slices(upright([0, 1, 1, 2]), AXIAL, SQUARE)
