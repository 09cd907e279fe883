"""The axes of the patient, on chests of simple geometry."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from thorax.imaging.body import coarse_planes
from thorax.imaging.patient_orientation import PatientOrientation, find_orientation
from thorax.io import Scan

from ..chests import AIR_HU, BONE_HU, LIVER_HU, LUNG_HU, SOFT_HU, X, Y, Z, make_chest

CHECK = "; check the orientation in the header of the scan"
AS_HEADER = PatientOrientation((0, 1, 2), (1, 1, 1))
FULL_GROUP = [
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def orientation(hu: NDArray[np.int16]) -> PatientOrientation:
    """Return the orientation of voxels of shape ``(X, Y, Z)``."""
    return find_orientation(np.moveaxis(hu, 2, 0))


def turned(
    hu: NDArray[np.int16], axes: tuple[int, ...], signs: tuple[int, ...]
) -> NDArray[np.int16]:
    """Return a volume in which axis `n` of the patient is volume axis `axes[n]`, or its reverse."""
    placed = np.moveaxis(hu, (0, 1, 2), axes)
    return np.flip(placed, [axis for axis, sign in zip(axes, signs, strict=True) if sign < 0])


def test_a_chest_as_the_header_states_gives_no_warning() -> None:
    assert orientation(make_chest()) == AS_HEADER
    assert AS_HEADER.warning == ""


@pytest.mark.parametrize(("axes", "signs"), FULL_GROUP)
def test_every_turn_and_mirror_image_is_identified(
    axes: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    result = orientation(turned(make_chest(), axes, signs))
    assert result == PatientOrientation(axes, signs)
    assert bool(result.warning) == (result != AS_HEADER)


@pytest.mark.parametrize(
    ("axes", "signs", "problem"),
    [
        pytest.param(
            (0, 1, 2),
            (-1, 1, 1),
            "left and right seem to be swapped (the liver is on the left, the heart is not)",
            id="mirror image",
        ),
        pytest.param(
            (0, 1, 2),
            (1, -1, 1),
            "front and back seem to be swapped (the spine is in front)",
            id="front to back",
        ),
        pytest.param(
            (0, 1, 2),
            (1, 1, -1),
            "head and feet seem to be swapped (the diaphragm is above the lungs)",
            id="upside down",
        ),
        pytest.param(
            (0, 1, 2),
            (-1, -1, 1),
            "left and right, and front and back, as after a turn by 180°, seem to be swapped (the "
            "liver is on the left, the heart is not, the spine is in front)",
            id="half turn",
        ),
        pytest.param(
            (1, 0, 2),
            (-1, 1, 1),
            "the patient seems to be turned by a quarter in the axial plane (one lung is in front "
            "of the other, the spine is on the left)",
            id="quarter turn in the axial plane",
        ),
        pytest.param(
            (1, 0, 2),
            (1, -1, 1),
            "the patient seems to be turned by a quarter in the axial plane (one lung is in front "
            "of the other, the spine is on the right)",
            id="the other way",
        ),
        pytest.param(
            (0, 2, 1),
            (1, 1, -1),
            "the patient seems to be turned by a quarter in the sagittal plane (the body extends "
            "from back to front, the spine is at the feet)",
            id="quarter turn in the sagittal plane",
        ),
        pytest.param(
            (2, 1, 0),
            (1, 1, -1),
            "the patient seems to be turned by a quarter in the coronal plane (one lung is above "
            "the other, the body extends from left to right)",
            id="quarter turn in the coronal plane",
        ),
    ],
)
def test_the_warning_names_the_turn_and_what_shows_it(
    axes: tuple[int, int, int], signs: tuple[int, int, int], problem: str
) -> None:
    assert orientation(turned(make_chest(), axes, signs)).warning == problem + CHECK


def test_only_what_is_certain_is_named() -> None:
    assert PatientOrientation((1, None, None)).warning == (
        "the patient seems to be turned by a quarter (one lung is in front of the other)" + CHECK
    )
    assert PatientOrientation((0, 1, 2), (0, -1, 0)).warning == (
        "front and back seem to be swapped (the spine is in front)" + CHECK
    )
    assert PatientOrientation((0, 1, 2), (0, -1, -1)).warning == (
        "front and back, and head and feet seem to be swapped (the spine is in front, the "
        "diaphragm is above the lungs)" + CHECK
    )
    assert PatientOrientation().warning == ""


# Plausible scans


@pytest.mark.parametrize("couch_y", [20, None], ids=["prone", "no couch"])
def test_the_couch_does_not_matter(couch_y: int | None) -> None:
    assert orientation(make_chest(couch_y=couch_y)) == AS_HEADER


def test_thick_slices() -> None:
    assert orientation(make_chest()[:, :, ::2]) == AS_HEADER


def test_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 60, X.shape)
    assert orientation((make_chest() + noise).astype(np.int16)) == AS_HEADER


def test_a_circular_field_of_view() -> None:
    hu = make_chest()
    hu[np.hypot(X, Y) > 23] = -1024
    assert orientation(hu) == AS_HEADER


# Missing evidence


def test_without_a_spine_front_and_back_are_unknown() -> None:
    assert orientation(make_chest(spine=False)[:, ::-1]).signs[1] == 0


def test_bone_at_the_front_in_half_of_the_slices_is_no_spine() -> None:
    hu = make_chest(spine=False)
    hu[(np.abs(X) < 3) & (np.abs(Y - 12) < 3) & (Z < 20)] = BONE_HU
    assert orientation(hu).warning == ""


@pytest.mark.parametrize("slices", [np.s_[:24], np.s_[14:]], ids=["lower part", "upper part"])
def test_truncated_lungs_are_not_upside_down(slices: slice) -> None:
    for hu in (make_chest()[:, :, slices], make_chest()[:, :, slices][:, :, ::-1]):
        assert orientation(hu) == PatientOrientation((0, 1, 2), (0, 1, 0))


def test_a_clear_liver_shows_the_side_without_the_heart() -> None:
    hu = make_chest(heart_x=0)
    assert orientation(hu) == AS_HEADER
    assert orientation(hu[::-1]).signs == (-1, 1, 1)


def test_a_faint_liver_needs_the_heart() -> None:
    """The liver has 70 HU, the tissue below the left lung 40 HU."""
    hu = make_chest(left_hu=40)
    assert orientation(hu) == AS_HEADER
    assert orientation(hu[::-1]).signs == (-1, 1, 1)
    middle = make_chest(left_hu=40, heart_x=0)
    assert orientation(middle).signs == orientation(middle[::-1]).signs == (0, 1, 1)


def test_a_heart_on_the_side_of_the_liver_does_not_show_the_side() -> None:
    """It may be displaced, or the density below the left lung may be that of contrast medium."""
    hu = make_chest(heart_x=4)
    assert orientation(hu).signs == orientation(hu[::-1]).signs == (0, 1, 1)


def test_without_a_liver_the_side_is_unknown() -> None:
    hu = make_chest(left_hu=LIVER_HU)
    assert orientation(hu).signs == orientation(hu[::-1]).signs == (0, 1, 1)


def test_one_lung_shows_nothing() -> None:
    hu = make_chest()
    hu[(hu == LUNG_HU) & (X > 0)] = SOFT_HU
    for axes, signs in FULL_GROUP:
        assert orientation(turned(hu, axes, signs)) == PatientOrientation()


def test_a_crop_of_the_lungs_shows_no_more_than_they_do() -> None:
    """The body is on all faces, so head and feet are not known from it."""
    result = orientation(turned(make_chest()[6:-6, 11:-11, 6:40], (1, 2, 0), (1, 1, 1)))
    assert result.axes in ((1, None, None), (None, None, None))


def test_lungs_that_are_cut_at_the_side_are_not_upside_down() -> None:
    hu = make_chest()[10:-10]
    assert (hu[0] == LUNG_HU).any()
    assert orientation(hu).signs[2] == orientation(hu[:, :, ::-1]).signs[2] == 0


@pytest.mark.parametrize("x", [np.s_[12:], np.s_[:-12]], ids=["left", "right"])
def test_a_lung_that_opens_into_the_other_truncated_one_is_not_two_lungs(x: slice) -> None:
    """Bronchi join the lungs; where they do, no plane but a sagittal one encloses the other lung.

    Sagittal planes enclose nothing either, because the front is cut, too.
    """
    hu = make_chest()
    hu[(np.abs(X) < 10) & (np.abs(Y) < 2) & (np.abs(Z - 26) < 2)] = LUNG_HU
    assert orientation(hu[x, :30]).warning == ""
    assert orientation(np.rot90(hu)).axes == (1, 0, 2)


def test_gas_in_front_of_lung_bases_is_no_second_lung() -> None:
    """There is a gap from back to front, but the parts are not mirror images."""
    hu = make_chest()
    hu[hu == LUNG_HU] = SOFT_HU
    hu[(np.abs(X) < 15) & (np.abs(Y + 7) < 4) & (np.abs(Z - 22) < 14)] = LUNG_HU
    hu[(np.abs(X + 8) < 4) & (np.abs(Y - 7) < 4) & (np.abs(Z - 22) < 14)] = LUNG_HU
    assert orientation(hu) == PatientOrientation()
    hu[(np.abs(X) < 15) & (np.abs(Y - 7) < 4) & (np.abs(Z - 22) < 14)] = LUNG_HU
    assert orientation(hu).axes == (1, 0, 2)


def test_a_body_without_lungs_shows_nothing() -> None:
    hu = make_chest()
    hu[hu == LUNG_HU] = SOFT_HU
    assert orientation(hu) == PatientOrientation()


def test_few_slices_show_nothing() -> None:
    for depth in (1, 2, 5):
        hu = make_chest()[:, :, 20 : 20 + depth]
        for axes, signs in FULL_GROUP:
            assert orientation(turned(hu, axes, signs)) == PatientOrientation()


@pytest.mark.parametrize("hu", [AIR_HU, SOFT_HU])
def test_a_constant_volume_shows_nothing(hu: int) -> None:
    assert orientation(np.full((30, 20, 10), hu, np.int16)) == PatientOrientation()


@given(
    arrays.arrays(
        np.int16,
        st.tuples(*[st.integers(1, 20)] * 3),
        elements=st.sampled_from([AIR_HU, LIVER_HU, LUNG_HU, SOFT_HU, BONE_HU]),
    )
)
def test_arbitrary_voxels_give_no_warning(hu: NDArray[np.int16]) -> None:
    assert orientation(hu).warning == ""


# Real scans


@pytest.mark.parametrize("name", ["S1-101", "S1-202"])
def test_real_scans(real_scans: Path, name: str) -> None:
    hu = np.moveaxis(coarse_planes(Scan(real_scans / f"lctsc/scans/{name}.nii.gz")), 0, 2)
    assert orientation(hu) == AS_HEADER
    assert orientation(hu[::-1]).signs == (-1, 1, 1)
    assert orientation(np.rot90(hu)).axes == (1, 0, 2)
