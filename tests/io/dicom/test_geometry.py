"""Every voxel of a series lies where its own slice says."""

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.io.dicom.geometry import lay_out

AXIAL = np.eye(3)[:2]
SQUARE = np.array([1.0, 1.0])


def upright(heights: list[float]) -> np.ndarray:
    return np.array([[0, 0, height] for height in heights], dtype=float)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tilt_mm", [0.0, 0.4])
def test_oblique_and_tilted_stacks_put_voxels_where_dicom_says(seed: int, tilt_mm: float) -> None:
    """The oracle is the equation of PS3.3, C.7.6.2.1.1, for each slice by itself."""
    draw = np.random.default_rng(seed)
    axes = np.linalg.qr(draw.normal(size=(3, 3)))[0].T
    spacing = np.array([0.7, 0.9])
    normal = np.cross(axes[0], axes[1])
    step = 2.5 * normal + tilt_mm * axes[1]
    positions = draw.normal(size=3) + draw.permutation(9)[:, None] * step
    layout = lay_out(positions, axes[:2], spacing)
    for index, number in enumerate(layout.order):
        expected = positions[number] + 5 * spacing[0] * axes[0] + 3 * spacing[1] * axes[1]
        np.testing.assert_allclose((layout.affine @ [5, 3, index, 1])[:3], expected, atol=1e-6)
    assert [note[:22] for note in layout.notes] == (["the gantry was tilted "] if tilt_mm else [])


def test_rounded_positions_are_no_tilt_and_not_uneven() -> None:
    """As scanners write them, to a hundredth of a millimetre."""
    positions = upright([round(0.625 * index, 2) for index in range(200)])
    positions[::2, 0] += 0.01
    layout = lay_out(positions, AXIAL, SQUARE)
    assert layout.notes == ()
    np.testing.assert_allclose(layout.affine[:3, 2], [0, 0, 0.625], atol=1e-4)


def test_gaps_are_counted_and_the_first_named() -> None:
    heights = [0, 1, 2, 4, 5, 7, 8, 10, 11, 14, 15, 16, 17, 18, 19]
    (note,) = lay_out(upright(heights), AXIAL, SQUARE).notes
    assert "between 2.0 and 4.0 mm, between 5.0 and 7.0 mm, between 8.0 and 10.0 mm" in note
    assert "at 1 more places" in note
    assert "taken as 1 mm apart" in note


def test_slices_beside_the_line_of_the_others_are_refused() -> None:
    positions = upright([0, 1, 2, 3])
    positions[2, 0] = 40
    with pytest.raises(
        InputError, match=r"must lie on one line, but some lie 2\d\.\d mm beside it"
    ):
        lay_out(positions, AXIAL, SQUARE)


def test_slices_at_one_position_are_refused() -> None:
    with pytest.raises(InputError, match=r"but 1 lie where another does, the first at 1\.0 mm"):
        lay_out(upright([0, 1, 1, 2]), AXIAL, SQUARE)
