"""Boxes around body and lungs, on small planes at full resolution and on larger ones."""

import numpy as np
import pytest

from thorax.imaging.body import body_box, coarse_step, lung_box

AIR_HU, LUNG_HU, FOAM_HU, FAT_HU, MUSCLE_HU = -1000, -850, -600, -100, 50


@pytest.fixture
def chest() -> np.ndarray:
    """Three planes of 60×60 voxels with a body at 20..39 × 15..34."""
    planes = np.full((3, 60, 60), AIR_HU, np.int16)
    planes[:, 20:40, 15:35] = MUSCLE_HU
    return planes


CHEST_BOX = ((18, 42), (13, 37))
"""The body and two voxels around it."""


def test_the_box_is_the_body_with_a_margin_of_two_steps(chest: np.ndarray) -> None:
    assert body_box(chest, (60, 60)) == CHEST_BOX


def test_fat_is_body(chest: np.ndarray) -> None:
    chest[:, 40:46, 15:35] = FAT_HU
    assert body_box(chest, (60, 60)) == ((18, 48), (13, 37))


@pytest.mark.parametrize(
    ("where", "hu"),
    [
        pytest.param(np.s_[:, :, 40:44], MUSCLE_HU, id="a couch plate four voxels thick"),
        pytest.param(np.s_[:, :, 40:60], FOAM_HU, id="a couch of foam"),
        pytest.param(np.s_[:1, 2:7, 2:7], MUSCLE_HU, id="a bottle, 2 % of the body"),
        pytest.param(np.s_[:, 50, 50], 3000, id="a grain of metal"),
    ],
)
def test_objects_next_to_the_body_stay_outside(
    chest: np.ndarray, where: tuple[slice, ...], hu: int
) -> None:
    chest[where] = hu
    assert body_box(chest, (60, 60)) == CHEST_BOX


def test_a_couch_that_touches_the_body_does_not_widen_the_box(chest: np.ndarray) -> None:
    chest[:, :, 35:39] = MUSCLE_HU
    assert body_box(chest, (60, 60)) == ((18, 42), (13, 41))


def test_arms_are_body(chest: np.ndarray) -> None:
    chest[:, 5:10, 20:25] = MUSCLE_HU
    assert body_box(chest, (60, 60)) == ((3, 42), (13, 37))


def test_lungs_are_inside_the_body(chest: np.ndarray) -> None:
    chest[:, 25:35, 20:30] = -850
    assert body_box(chest, (60, 60)) == CHEST_BOX


def test_the_box_contains_the_body_of_all_planes(chest: np.ndarray) -> None:
    chest[2] = AIR_HU
    chest[2, 25:50, 10:30] = MUSCLE_HU
    assert body_box(chest, (60, 60)) == ((18, 52), (8, 37))


def test_a_body_that_touches_the_border_is_not_cut() -> None:
    planes = np.full((2, 40, 40), AIR_HU, np.int16)
    planes[:, 0:30, 5:40] = MUSCLE_HU
    assert body_box(planes, (40, 40)) == ((0, 32), (3, 40))


@pytest.mark.parametrize("plane_shape", [(40, 30), (3, 3), (1, 1)], ids=str)
def test_a_scan_of_air_gives_the_whole_plane(plane_shape: tuple[int, int]) -> None:
    planes = np.full((2, *plane_shape), AIR_HU, np.int16)
    assert body_box(planes, plane_shape) == ((0, plane_shape[0]), (0, plane_shape[1]))


def test_one_plane_is_enough(chest: np.ndarray) -> None:
    assert body_box(chest[:1], (60, 60)) == CHEST_BOX


@pytest.mark.parametrize(
    ("plane_shape", "step"),
    [((1, 1), 1), ((128, 128), 1), ((255, 100), 1), ((256, 100), 2), ((512, 512), 4)],
)
def test_large_planes_are_searched_with_a_stride(plane_shape: tuple[int, int], step: int) -> None:
    assert coarse_step(plane_shape) == step


def test_a_coarse_search_gives_the_box_in_full_voxels() -> None:
    planes = np.full((1, 512, 512), AIR_HU, np.int16)
    planes[:, 100:400, 40:480] = MUSCLE_HU
    assert body_box(planes[:, ::4, ::4], (512, 512)) == ((92, 408), (32, 488))


def test_a_coarse_search_never_leaves_the_plane() -> None:
    planes = np.full((1, 515, 515), MUSCLE_HU, np.int16)
    assert body_box(planes[:, ::4, ::4], (515, 515)) == ((0, 515), (0, 515))


# The lungs


@pytest.fixture
def breathing() -> np.ndarray:
    """Three planes of 100×80 voxels: a body at 10..89 × 15..64 with two lungs."""
    planes = np.full((3, 100, 80), AIR_HU, np.int16)
    planes[:, 10:90, 15:65] = MUSCLE_HU
    planes[:, 20:40, 25:55] = planes[:, 60:80, 25:55] = LUNG_HU
    return planes


LUNGS_BOX = ((14, 86), (22, 58))
"""The lungs at 20..79 × 25..54, and a tenth of that on each side."""


def test_the_box_is_both_lungs_with_a_margin_of_a_tenth(breathing: np.ndarray) -> None:
    assert lung_box(breathing, (100, 80)) == LUNGS_BOX


@pytest.mark.parametrize(
    ("where", "hu"),
    [
        pytest.param(np.s_[:, 0:4], MUSCLE_HU, id="a couch plate beside the body"),
        pytest.param(np.s_[:, 0:9, 20:60], FOAM_HU, id="foam"),
        pytest.param(np.s_[0, 45:49, 58:62], AIR_HU, id="bowel gas, 1 % of a lung"),
        pytest.param(np.s_[:, 10:13, 30:50], AIR_HU, id="a fold of the skin"),
    ],
)
def test_air_outside_the_body_and_bowel_gas_are_not_lung(
    breathing: np.ndarray, where: tuple[slice, ...], hu: int
) -> None:
    breathing[where] = hu
    assert lung_box(breathing, (100, 80)) == LUNGS_BOX


@pytest.fixture
def tapering(breathing: np.ndarray) -> np.ndarray:
    """Six planes, whose lungs shrink to a third of their width."""
    planes = np.repeat(breathing, 2, axis=0)
    for plane, reach in enumerate((0, 2, 4, 6, 8, 10)):
        planes[plane, 20 : 20 + reach] = planes[plane, 80 - reach : 80] = MUSCLE_HU
    return planes


@pytest.mark.parametrize(
    "air",
    [
        pytest.param(np.s_[:, 2:98, 68:76], id="larger than a lung"),
        pytest.param(np.s_[:, 30:70, 68:76], id="smaller than a lung"),
        pytest.param(np.s_[2:, 2:98, 68:76], id="on some planes"),
        pytest.param(np.s_[:, 2:98, 2:10], id="a patient lying prone"),
    ],
)
def test_air_in_a_hollow_couch_is_not_lung(tapering: np.ndarray, air: tuple[slice, ...]) -> None:
    without = lung_box(tapering, (100, 80))
    planes, across, along = air
    tapering[planes, across.start - 1 : across.stop + 1, along.start - 1 : along.stop + 1] = 0
    tapering[air] = AIR_HU
    assert lung_box(tapering, (100, 80)) == without == LUNGS_BOX


def test_air_in_a_hollow_couch_beside_a_patient_is_not_lung(tapering: np.ndarray) -> None:
    tapering[:, 92:99, 5:75] = MUSCLE_HU
    tapering[:, 93:98, 6:74] = AIR_HU
    assert lung_box(tapering, (100, 80)) == LUNGS_BOX


# Fields of view that cut through the body


@pytest.fixture
def apices() -> np.ndarray:
    """Six planes; the lungs, at 20..39 and 60..79 × 25..54 at first, shrink on all sides."""
    planes = np.full((6, 100, 80), AIR_HU, np.int16)
    planes[:, 10:90, 15:65] = MUSCLE_HU
    for plane in range(6):
        along = slice(25 + 2 * plane, 55 - 2 * plane)
        planes[plane, 20 + plane : 40 - plane, along] = LUNG_HU
        planes[plane, 60 + plane : 80 - plane, along] = LUNG_HU
    return planes


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize(
    ("view", "box"),
    [
        pytest.param(np.s_[:, 24:76], ((0, 52), (22, 58)), id="both sides"),
        pytest.param(np.s_[:, 24:], ((0, 75), (22, 58)), id="one side"),
        pytest.param(np.s_[:, :, 30:], ((14, 86), (0, 28)), id="the back"),
        pytest.param(np.s_[:, :, :50], ((14, 86), (22, 50)), id="the front"),
    ],
)
def test_lungs_that_an_edge_cuts_are_in_the_box(
    apices: np.ndarray, view: tuple[slice, ...], box: tuple, calibrated: bool
) -> None:
    """In the last planes tissue encloses the lungs, in the first ones the edge cuts them."""
    planes = apices[view]
    shape = planes.shape[1:]
    assert lung_box(planes, shape, calibrated=calibrated) == box
    (left, right), (back, front) = box
    assert (planes == LUNG_HU).sum() == (planes[:, left:right, back:front] == LUNG_HU).sum()


@pytest.mark.parametrize(
    ("hu", "calibrated", "first"),
    [
        pytest.param(LUNG_HU, True, 0, id="lung"),
        pytest.param(AIR_HU, True, 7, id="air around the patient"),
        pytest.param(LUNG_HU, False, 7, id="unknown in grey values"),
    ],
)
def test_air_in_a_corner_is_lung_if_it_is_not_dark(
    apices: np.ndarray, hu: int, calibrated: bool, first: int
) -> None:
    """The corner of the first five planes is in the right lung, that of the last one in tissue.

    From the left lung alone, the box begins at 7, because it contains the mirror image.
    """
    planes = apices[:, 26:, 35:].copy()
    planes[:, :14, :20][planes[:, :14, :20] == LUNG_HU] = hu
    (left, _), _ = lung_box(planes, (74, 45), calibrated=calibrated)
    assert left == first


def test_foam_that_the_edges_cut_is_not_lung(apices: np.ndarray) -> None:
    planes = apices[:, 12:88]
    planes[:, :, 4:15] = MUSCLE_HU
    planes[:2, :, 9:14] = planes[2:, 20:60, 9:14] = FOAM_HU
    assert lung_box(planes, (76, 80)) == ((2, 74), (22, 58))


def test_a_thin_scan_keeps_lungs_of_constant_section(breathing: np.ndarray) -> None:
    breathing[0, 20:25] = MUSCLE_HU
    breathing[:, 60:80, 25:30] = MUSCLE_HU
    assert lung_box(breathing, (100, 80)) == LUNGS_BOX


@pytest.mark.parametrize("opaque", [np.s_[:, 20:40], np.s_[:, 60:80]], ids=["right", "left"])
def test_an_opaque_lung_is_included_by_symmetry(
    breathing: np.ndarray, opaque: tuple[slice, ...]
) -> None:
    breathing[opaque] = np.maximum(breathing[opaque], MUSCLE_HU)
    assert lung_box(breathing, (100, 80)) == LUNGS_BOX


def test_vessels_in_the_lungs_change_nothing(breathing: np.ndarray) -> None:
    breathing[:, 28:31, 38:41] = MUSCLE_HU
    assert lung_box(breathing, (100, 80)) == LUNGS_BOX


def test_the_box_contains_the_lungs_of_all_planes(breathing: np.ndarray) -> None:
    """In the last plane the lungs extend from 15 to 84, 70 voxels."""
    breathing[2, 15:40, 25:55] = breathing[2, 60:85, 25:55] = LUNG_HU
    assert lung_box(breathing, (100, 80)) == ((8, 92), (22, 58))


@pytest.mark.parametrize(
    "air",
    [
        pytest.param(np.s_[:0], id="no air at all"),
        pytest.param(np.s_[:, 45:55, 35:45], id="a trachea alone"),
        pytest.param(np.s_[:, 20:80, 38:42], id="too flat"),
    ],
)
def test_without_a_pair_of_lungs_the_box_is_the_body(air: tuple[slice, ...]) -> None:
    planes = np.full((3, 100, 80), AIR_HU, np.int16)
    planes[:, 10:90, 15:65] = MUSCLE_HU
    planes[air] = AIR_HU
    assert lung_box(planes, (100, 80)) == body_box(planes, (100, 80)) == ((8, 92), (13, 67))


def test_a_scan_of_air_has_no_lungs() -> None:
    assert lung_box(np.full((2, 9, 9), AIR_HU, np.int16), (9, 9)) == ((0, 9), (0, 9))


def test_lungs_are_found_with_a_stride(breathing: np.ndarray) -> None:
    """Each searched voxel represents 4×4, so the box is four times as large."""
    fine = breathing.repeat(6, axis=1).repeat(6, axis=2)
    (left, right), (front, back) = lung_box(fine[:, ::4, ::4], (600, 480))
    assert (left, right) == pytest.approx((84, 516), abs=5)
    assert (front, back) == pytest.approx((132, 348), abs=5)
