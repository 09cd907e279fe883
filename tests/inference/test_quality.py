"""Quality checks of a segmentation."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from thorax.imaging.placement import place_whole
from thorax.inference.quality import (
    QualityScores,
    certainty,
    continuity,
    least_agreement,
    plausibility_warnings,
    quality_scores,
    truncation_notes,
)
from thorax.inference.statistics import PartStatistics, RegionStatistics, ScanStatistics
from thorax.io import Scan


def draw(*rows: str) -> np.ndarray:
    """Return a slice of probabilities, shape ``(1, H, W)``: a digit is tenths, # 1, a dot 0."""
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
def test_area_fractions_of_a_mask_are_certain(rows: tuple[str, ...]) -> None:
    assert certainty(draw(*rows), threshold=0.5) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("probability", "expected"), [(0.5, 2 / 3), (0.6, 0.75), (0.8, 8 / 9), (1.0, 1.0)]
)
def test_the_same_probability_everywhere(probability: float, expected: float) -> None:
    """Every pixel is inside the mask, so the certainty is 2 p / (p + 1)."""
    slices = np.full((3, 8, 8), probability, np.float32)
    assert certainty(slices, threshold=0.5) == pytest.approx(expected)


def test_an_empty_mask_has_no_certainty() -> None:
    assert certainty(np.zeros((3, 8, 8), np.float32), threshold=0.5) is None
    assert certainty(np.full((3, 8, 8), 0.49, np.float32), threshold=0.5) is None


def test_intermediate_probabilities_outside_the_mask_lower_the_certainty() -> None:
    """Four pixels of 1 are inside the mask and four of 0.4 outside: 2·4 / (5.6 + 4)."""
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
    assert certainty(draw(*rows), threshold=0.5) == pytest.approx(8 / 9.6)


def test_the_mask_depends_on_the_threshold() -> None:
    slices = np.full((1, 8, 8), 0.4, np.float32)
    assert certainty(slices, threshold=0.5) is None
    assert certainty(slices, threshold=0.3) == pytest.approx(0.8 / 1.4)


def test_all_blocks_of_slices_count() -> None:
    """39 slices of 1 and one of 0.5: 2·(39 + 0.5) / (39.5 + 40)."""
    slices = np.ones((40, 4, 4), np.float32)
    slices[36] = 0.5
    assert certainty(slices, threshold=0.5) == pytest.approx(79 / 79.5)


def test_memory_does_not_grow_with_the_number_of_slices() -> None:
    slices = np.ones((1500, 8, 8), np.float32)
    tracemalloc.start()
    certainty(slices, threshold=0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < slices.nbytes


# Agreement

CORNER = draw("##..", "##..", "....", "....") > 0
PART = draw("#...", "#...", "....", "....") > 0
NOTHING = np.zeros((1, 4, 4), bool)


def test_agreement_is_the_lowest_dice_of_any_two_masks() -> None:
    assert least_agreement([CORNER, CORNER]) == 1
    assert least_agreement([CORNER, PART]) == pytest.approx(2 * 2 / (4 + 2))
    assert least_agreement([CORNER, CORNER, PART]) == pytest.approx(2 / 3)
    assert least_agreement([PART, CORNER, np.flip(CORNER)]) == 0


def test_a_single_mask_has_no_agreement() -> None:
    assert least_agreement([CORNER]) is None


def test_an_empty_mask_disagrees_with_one_that_is_not() -> None:
    assert least_agreement([NOTHING, NOTHING]) is None
    assert least_agreement([CORNER, NOTHING]) == 0
    assert least_agreement([NOTHING, NOTHING, CORNER]) == 0


# Continuity


def discs(*radii: float) -> np.ndarray:
    """Return slices of 48×48 with one disc each; radius 0 is an empty slice."""
    distance = np.hypot(*(np.indices((48, 48)) - 23.5))
    return np.stack([distance < radius for radius in radii])


def with_spot(mask: np.ndarray, plane: int, *, side: int = 2, at: int = 2) -> np.ndarray:
    spotted = mask.copy()
    spotted[plane, at : at + side, at : at + side] = True
    return spotted


def test_a_column_is_continuous() -> None:
    assert continuity(discs(*[10] * 12)) == 1


def test_a_missing_slice_in_the_middle_gives_0() -> None:
    assert continuity(discs(*[10] * 6, 0, *[10] * 6)) == 0


def test_several_missing_slices_in_the_middle_give_0() -> None:
    assert continuity(discs(*[10] * 6, *[0] * 20, *[10] * 6)) == 0


def test_a_slice_with_a_missing_half() -> None:
    mask = discs(*[10] * 12)
    mask[6, :24] = False
    assert continuity(mask) == pytest.approx(2 / 3)


@pytest.mark.parametrize("planes", [6, 7, 12, 40])
def test_a_cone_gives_no_warning(planes: int) -> None:
    """Its tip changes much from slice to slice, and is ignored."""
    growing = discs(*np.linspace(20 / planes, 20, planes))
    for cone in (growing, growing[::-1]):
        dice = continuity(cone)
        assert dice is not None
        assert dice >= 0.55
        assert QualityScores(1.0, None, dice).warnings("lung") == []


def test_empty_slices_at_the_ends_are_ignored() -> None:
    column = discs(0, 0, *[10] * 7, 0)
    assert continuity(column) == 1
    assert continuity(column[2:9]) == 1


def test_fewer_than_six_slices_have_no_continuity() -> None:
    assert continuity(discs(*[10] * 5)) is None
    assert continuity(discs(0, *[10] * 5, 0)) is None
    assert continuity(discs(*[10] * 6)) == 1
    assert continuity(discs(0, 0, 0)) is None


def test_a_speck_far_above_a_lung_is_not_a_gap() -> None:
    """It is too small to be part of the lung; postprocessing removes it."""
    lung = discs(*[10] * 12, *[0] * 20)
    for at in (2, 23):  # next to the lung in H and W, and above it
        assert continuity(with_spot(lung, 30, at=at)) == 1
        assert continuity(with_spot(lung[::-1], 1, at=at)) == 1


def test_lesions_in_several_places_give_no_warning() -> None:
    lesions = np.zeros((24, 48, 48), bool)
    lesions[2:8, 4:12, 4:12] = True
    lesions[15:22, 30:40, 30:40] = True
    assert continuity(lesions) == 1


def test_a_lung_that_shifts_sideways_is_less_continuous() -> None:
    """Twelve of sixteen columns overlap: 2·12 / (16 + 16)."""
    mask = np.zeros((12, 32, 32), bool)
    mask[:6, 4:20, 4:20] = True
    mask[6:, 8:24, 4:20] = True
    assert continuity(mask) == pytest.approx(0.75)


# Scores of a scan


def test_every_region_has_its_own_scores() -> None:
    certain, uncertain = discs(*[10] * 8), np.full((8, 48, 48), 0.5)
    mean = np.stack([certain, uncertain, np.zeros_like(uncertain)], axis=-1).astype(np.float32)
    first = mean >= 0.5
    second = first.copy()
    second[:, :24, :, 1] = False
    lung, haze, nothing = quality_scores(mean, [first, second], threshold=0.5)
    assert lung == QualityScores(pytest.approx(1), 1.0, 1.0)
    assert haze == QualityScores(pytest.approx(2 / 3), pytest.approx(2 / 3), 1.0)
    assert nothing == QualityScores(None, None, None)


def test_warnings_name_the_region_and_the_value() -> None:
    assert QualityScores(0.5, 0.25, 0.125).warnings("left lung") == [
        "left lung: the network is uncertain (0.50)",
        "left lung: variants or models disagree (Dice 0.25)",
        "left lung: neighbouring slices differ (Dice 0.12)",
    ]


@pytest.mark.parametrize(
    ("scores", "count"),
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
def test_values_at_the_limit_give_no_warning(scores: QualityScores, count: int) -> None:
    assert len(scores.warnings("lung")) == count


def test_lungs_drawn_by_experts_give_no_warning(real_scans: Path) -> None:
    mask = Scan(real_scans / "lctsc" / "masks" / "S1-201.nii.gz")
    planes = mask.planes(0, mask.grid.shape[2])
    fractions = place_whole(planes.shape[1:], canvas=128).place(planes > 0, fill=0.0)
    (lung,) = quality_scores(fractions[..., None], [fractions[..., None] >= 0.5], threshold=0.5)
    assert lung.warnings("lung") == []
    missing = fractions.copy()
    missing[50] = 0
    (lung,) = quality_scores(missing[..., None], [missing[..., None] >= 0.5], threshold=0.5)
    assert lung.warnings("lung") == ["lung: neighbouring slices differ (Dice 0.00)"]


# Volumes


def part(volume_ml: float, *faces: str) -> PartStatistics:
    return PartStatistics(voxels=0, volume_ml=volume_ml, touches_border=faces)


def scan(**regions: RegionStatistics) -> ScanStatistics:
    return ScanStatistics((1, 1, 1), (1.0, 1.0, 1.0), 0.001, regions)


def lungs(right_ml: float, left_ml: float, *faces: str) -> ScanStatistics:
    """Return the statistics of a scan with two lungs that touch these faces."""
    sides = {"right": part(right_ml), "left": part(left_ml)}
    return scan(lung=RegionStatistics(part(right_ml + left_ml, *faces), sides))


@pytest.mark.parametrize(
    ("statistics", "warnings"),
    [
        pytest.param(lungs(2400, 2000), [], id="two lungs"),
        pytest.param(
            lungs(300, 200.4),
            ["lung: 500 mL is outside the range of adults (1000 to 10000 mL)"],
            id="too small",
        ),
        pytest.param(
            lungs(9000, 4000),
            ["lung: 13000 mL is outside the range of adults (1000 to 10000 mL)"],
            id="too large",
        ),
        pytest.param(
            lungs(2400, 30), ["lung: nearly no volume on the left (30 mL)"], id="one lung"
        ),
        pytest.param(
            lungs(300, 200, "feet"),
            [],
            id="the part of the lungs in the field of view",
        ),
        pytest.param(
            lungs(9000, 4000, "feet"),
            ["lung: 13000 mL is outside the range of adults (1000 to 10000 mL)"],
            id="too large for a part",
        ),
        pytest.param(
            lungs(0, 0), ["lung: the mask is empty; the scan may show no lungs"], id="empty"
        ),
        pytest.param(scan(scar=RegionStatistics(part(1.0))), [], id="no lung"),
    ],
)
def test_implausible_lungs_give_warnings(statistics: ScanStatistics, warnings: list[str]) -> None:
    assert list(plausibility_warnings(statistics)) == warnings


def test_truncated_lungs_give_a_note() -> None:
    assert list(truncation_notes(lungs(2400, 2000, "feet", "head"))) == [
        "lung: reaches the border of the scan (feet, head); it may be truncated"
    ]
    assert list(truncation_notes(lungs(2400, 2000))) == []
    assert list(truncation_notes(scan(scar=RegionStatistics(part(1.0, "head"))))) == []


def test_without_sides_none_is_missing() -> None:
    assert list(plausibility_warnings(scan(lung=RegionStatistics(part(4000.0))))) == []
