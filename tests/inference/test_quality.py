"""How far a segmentation can be trusted."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorax.imaging.placement import place_whole
from thorax.inference.quality import (
    QualityScores,
    agreement,
    certainty,
    continuity,
    plausibility_warnings,
    quality_scores,
)
from thorax.io import Scan


def drawn(*rows: str) -> np.ndarray:
    """One plane of probabilities: a digit is tenths, # is 1, a dot is 0; shape ``(1, H, W)``."""
    tenths = {"#": 10, ".": 0}
    return np.array(
        [[[tenths.get(letter) or int(letter.replace(".", "0")) for letter in row] for row in rows]],
        np.float32,
    ) / np.float32(10)


# Certainty


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(("......", ".####.", ".####.", ".####.", "......", "......"), id="a box"),
        pytest.param(("......", "......", "..#...", "......", "......", "......"), id="a pixel"),
        pytest.param(("#.....", "##....", "###...", "####..", "#####.", "######"), id="stairs"),
        pytest.param(("######",) * 6, id="all"),
        pytest.param((".5##5.",) * 6, id="halves along a border"),
    ],
)
def test_a_mask_that_can_be_drawn_is_certain(rows: tuple[str, ...]) -> None:
    found = certainty(drawn(*rows), threshold=0.5)
    assert found == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("probability", "expected"), [(0.5, 2 / 3), (0.6, 0.75), (0.8, 8 / 9), (1.0, 1.0)]
)
def test_the_same_probability_everywhere(probability: float, expected: float) -> None:
    """All is mask, so the certainty is 2 p / (p + 1)."""
    planes = np.full((3, 8, 8), probability, np.float32)
    assert certainty(planes, threshold=0.5) == pytest.approx(expected)


def test_nothing_found_has_no_certainty() -> None:
    assert certainty(np.zeros((3, 8, 8), np.float32), threshold=0.5) is None
    assert certainty(np.full((3, 8, 8), 0.49, np.float32), threshold=0.5) is None


def test_what_is_left_out_half_heartedly_makes_less_certain() -> None:
    """Four sure pixels beside four of 0.4, which the mask leaves out: 2·4 / (5.6 + 4)."""
    rows = (
        "........",
        ".##.....",
        ".##.....",
        "........",
        "........",
        ".....4.4",
        "........",
        ".....4.4",
    )
    assert certainty(drawn(*rows), threshold=0.5) == pytest.approx(8 / 9.6)


def test_the_threshold_decides_what_is_mask() -> None:
    planes = np.full((1, 8, 8), 0.4, np.float32)
    assert certainty(planes, threshold=0.5) is None
    assert certainty(planes, threshold=0.3) == pytest.approx(0.8 / 1.4)


def test_more_planes_than_are_worked_on_at_a_time_count_all() -> None:
    """39 sure planes and one of 0.5: 2·(39 + 0.5) / (39.5 + 40)."""
    planes = np.ones((40, 4, 4), np.float32)
    planes[36] = 0.5
    assert certainty(planes, threshold=0.5) == pytest.approx(79 / 79.5)


def test_memory_does_not_grow_with_the_depth_of_a_scan() -> None:
    planes = np.ones((1500, 8, 8), np.float32)
    tracemalloc.start()
    certainty(planes, threshold=0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < planes.nbytes


# Agreement

CORNER = drawn("##..", "##..", "....", "....") > 0
BESIDE = drawn("#...", "#...", "....", "....") > 0
NOTHING = np.zeros((1, 4, 4), bool)


def test_the_least_dice_of_any_two_counts() -> None:
    assert agreement([CORNER, CORNER]) == 1
    assert agreement([CORNER, BESIDE]) == pytest.approx(2 * 2 / (4 + 2))
    assert agreement([CORNER, CORNER, BESIDE]) == pytest.approx(2 / 3)
    assert agreement([BESIDE, CORNER, np.flip(CORNER)]) == 0


def test_one_alone_agrees_with_nobody() -> None:
    assert agreement([CORNER]) is None


def test_who_finds_nothing_disagrees_with_who_does() -> None:
    assert agreement([NOTHING, NOTHING]) is None
    assert agreement([CORNER, NOTHING]) == 0
    assert agreement([NOTHING, NOTHING, CORNER]) == 0


# Continuity


def discs(*radii: float) -> np.ndarray:
    """Discs in planes of 48×48, one a plane; 0 is an empty plane."""
    away = np.hypot(*(np.indices((48, 48)) - 23.5))
    return np.stack([away < radius for radius in radii])


def with_spot(mask: np.ndarray, plane: int, *, side: int = 2, at: int = 2) -> np.ndarray:
    spotted = mask.copy()
    spotted[plane, at : at + side, at : at + side] = True
    return spotted


def test_a_column_goes_on_from_plane_to_plane() -> None:
    assert continuity(discs(*[10] * 12)) == 1


def test_a_missing_plane_in_the_middle_is_0() -> None:
    assert continuity(discs(*[10] * 6, 0, *[10] * 6)) == 0


def test_several_missing_planes_in_the_middle_are_0() -> None:
    assert continuity(discs(*[10] * 6, *[0] * 20, *[10] * 6)) == 0


def test_a_plane_of_which_half_is_missing() -> None:
    mask = discs(*[10] * 12)
    mask[6, :24] = False
    assert continuity(mask) == pytest.approx(2 / 3)


@pytest.mark.parametrize("planes", [6, 7, 12, 40])
def test_a_cone_does_not_alarm(planes: int) -> None:
    """Its tip grows from plane to plane by much, and so is left out."""
    growing = discs(*np.linspace(20 / planes, 20, planes))
    for cone in (growing, growing[::-1]):
        found = continuity(cone)
        assert found is not None
        assert found >= 0.55
        assert QualityScores(1.0, None, found).warnings("lung") == []


def test_where_planes_begin_and_end_does_not_matter() -> None:
    column = discs(0, 0, *[10] * 7, 0)
    assert continuity(column) == 1
    assert continuity(column[2:9]) == 1


def test_fewer_than_six_planes_do_not_tell() -> None:
    assert continuity(discs(*[10] * 5)) is None
    assert continuity(discs(0, *[10] * 5, 0)) is None
    assert continuity(discs(*[10] * 6)) == 1
    assert continuity(discs(0, 0, 0)) is None


def test_a_speck_far_above_a_lung_does_not_make_a_gap() -> None:
    """It is small, so it is no part of the lung that goes on; cleaning takes it away."""
    lung = discs(*[10] * 12, *[0] * 20)
    for at in (2, 23):  # beside the lung, and straight above it
        assert continuity(with_spot(lung, 30, at=at)) == 1
        assert continuity(with_spot(lung[::-1], 1, at=at)) == 1


def test_lesions_in_several_places_do_not_alarm() -> None:
    lesions = np.zeros((24, 48, 48), bool)
    lesions[2:8, 4:12, 4:12] = True
    lesions[15:22, 30:40, 30:40] = True
    assert continuity(lesions) == 1


def test_a_lung_that_jumps_aside_alarms() -> None:
    """Twelve of sixteen columns are common: 2·12 / (16 + 16)."""
    mask = np.zeros((12, 32, 32), bool)
    mask[:6, 4:20, 4:20] = True
    mask[6:, 8:24, 4:20] = True
    assert continuity(mask) == pytest.approx(0.75)


# All of a scan


def test_every_region_has_a_doubt_of_its_own() -> None:
    sure, unsure = discs(*[10] * 8), np.full((8, 48, 48), 0.5)
    mean = np.stack([sure, unsure, np.zeros_like(unsure)], axis=-1).astype(np.float32)
    one = mean >= 0.5
    other = one.copy()
    other[:, :24, :, 1] = False
    lung, haze, nothing = quality_scores(mean, [one, other], threshold=0.5)
    assert lung == QualityScores(pytest.approx(1), 1.0, 1.0)
    assert haze == QualityScores(pytest.approx(2 / 3), pytest.approx(2 / 3), 1.0)
    assert nothing == QualityScores(None, None, None)


def test_reasons_name_the_region_and_the_figure() -> None:
    assert QualityScores(0.5, 0.25, 0.125).warnings("left lung") == [
        "left lung: the network is not sure of itself (0.50)",
        "left lung: variants agree by a Dice of 0.25 only",
        "left lung: neighbouring planes differ (Dice 0.12)",
    ]


@pytest.mark.parametrize(
    ("doubt", "count"),
    [
        (QualityScores(None, None, None), 0),
        (QualityScores(1.0, 1.0, 1.0), 0),
        (QualityScores(0.9, 0.95, 0.5), 0),
        (QualityScores(0.8999, 0.95, 0.5), 1),
        (QualityScores(0.9, 0.9499, 0.5), 1),
        (QualityScores(0.9, 0.95, 0.4999), 1),
        (QualityScores(0.0, 0.0, 0.0), 3),
    ],
)
def test_limits_themselves_are_no_reason(doubt: QualityScores, count: int) -> None:
    assert len(doubt.warnings("lung")) == count


def test_lungs_as_experts_draw_them_give_no_reason(real_scans: Path) -> None:
    mask = Scan(real_scans / "lctsc" / "masks" / "S1-201.nii.gz")
    planes = mask.planes(0, mask.grid.shape[2])
    fractions = place_whole(planes.shape[1:], canvas=128).place(planes > 0, fill=0.0)
    (lung,) = quality_scores(fractions[..., None], [fractions[..., None] >= 0.5], threshold=0.5)
    assert lung.warnings("lung") == []
    missing = fractions.copy()
    missing[50] = 0
    (lung,) = quality_scores(missing[..., None], [missing[..., None] >= 0.5], threshold=0.5)
    assert lung.warnings("lung") == ["lung: neighbouring planes differ (Dice 0.00)"]


# Volumes


def of_lung(right_ml: float, left_ml: float, *touches: str) -> dict[str, Any]:
    """Statistics of two lungs."""
    sides = {"right": {"volume_ml": right_ml}, "left": {"volume_ml": left_ml}}
    whole = {"volume_ml": right_ml + left_ml, "touches": list(touches)}
    return {"regions": {"lung": {"whole": whole, **sides}}}


@pytest.mark.parametrize(
    ("statistics", "reasons"),
    [
        pytest.param(of_lung(2400, 2000), [], id="two lungs"),
        pytest.param(
            of_lung(300, 200.4),
            ["lung: 500 mL is unlike an adult's (1000 to 10000 mL)"],
            id="too small",
        ),
        pytest.param(
            of_lung(9000, 4000),
            ["lung: 13000 mL is unlike an adult's (1000 to 10000 mL)"],
            id="too large",
        ),
        pytest.param(
            of_lung(2400, 30), ["lung: hardly any of it is on the left (30 mL)"], id="one lung"
        ),
        pytest.param(
            of_lung(2400, 2000, "feet", "head"),
            ["lung: reaches the end of the scan (feet, head); some of it may not be there"],
            id="cut off",
        ),
        pytest.param({"regions": {"scar": {}}}, [], id="no lung"),
    ],
)
def test_what_is_unlike_a_chest_is_said(statistics: dict[str, Any], reasons: list[str]) -> None:
    assert list(plausibility_warnings(statistics)) == reasons


def test_where_sides_are_not_told_none_is_missed() -> None:
    whole = {"volume_ml": 4000.0, "touches": []}
    assert list(plausibility_warnings({"regions": {"lung": {"whole": whole}}})) == []
