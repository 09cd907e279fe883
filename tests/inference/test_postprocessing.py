"""Postprocessing: small components, holes, and regions outside their parent."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter, ValidationError
from scipy import ndimage

from thorax.common.errors import InputError
from thorax.imaging.intensity import IntensityScale
from thorax.imaging.placement import place_whole
from thorax.imaging.regions import Regions
from thorax.inference.postprocessing import Postprocessed, postprocess
from thorax.io import Scan
from thorax.models.spec import PostprocessingRule, default_postprocessing
from thorax.preprocessing.canvas import find_placement, place_regions, place_scan

BLOCK = np.ones((3, 3, 3), dtype=bool)


def draw(*planes: str) -> np.ndarray:
    """Return probabilities of a region from slices of digits, in tenths: ``(N, H, W, 1)``."""
    rows = [[[int(digit) / 10 for digit in row] for row in plane.split()] for plane in planes]
    return np.array(rows, np.float32)[..., None]


def process(
    probabilities: np.ndarray,
    rule: PostprocessingRule,
    *,
    hu: np.ndarray | None = None,
    pixel_ml: float = 0.1,
) -> Postprocessed:
    return process_regions(probabilities, {"lung": rule}, hu=hu, pixel_ml=pixel_ml)


def process_regions(
    probabilities: np.ndarray,
    rules: dict[str, PostprocessingRule],
    *,
    names: tuple[str, ...] | None = None,
    hu: np.ndarray | None = None,
    pixel_ml: float = 0.1,
    threshold: float = 0.5,
) -> Postprocessed:
    """Postprocess the regions with a rule, or the named ones; without HU there is no gas."""
    return postprocess(
        probabilities,
        rules,
        hu=without_gas(probabilities) if hu is None else hu,
        names=names or tuple(rules),
        pixel_ml=pixel_ml,
        threshold=threshold,
    )


def without_gas(probabilities: np.ndarray) -> np.ndarray:
    """Return a scan that is soft tissue everywhere."""
    return np.zeros(probabilities.shape[:3], np.int16)


def mask_rows(outcome: Postprocessed) -> list[str]:
    """Return the mask of the first region, one text per slice: # inside, . outside."""
    masks = outcome.probabilities[..., 0] >= 0.5
    return [" ".join("".join(".#"[int(v)] for v in row) for row in mask) for mask in masks]


# Components


def test_all_but_the_largest_components_are_removed() -> None:
    plane = "9900000 9900008 9900000 0000000 7770060"
    outcome = process(draw(plane), PostprocessingRule(largest=2, share=0.5))
    assert mask_rows(outcome) == ["##..... ##..... ##..... ....... ###...."]
    assert outcome.notes == ("lung: 2 components of 0.2 mL removed",)


def test_components_of_a_share_of_the_largest_are_kept() -> None:
    """Components of ten, one and one pixels: 10 % of the largest is kept, with 11 % it is not."""
    plane = "9999900 9999900 0000000 9909000"
    assert mask_rows(process(draw(plane), PostprocessingRule(largest=1, share=0.1))) == [
        "#####.. #####.. ....... ##.#..."
    ]
    assert mask_rows(process(draw(plane), PostprocessingRule(largest=1, share=0.11))) == [
        "#####.. #####.. ....... ##....."
    ]


def test_components_as_large_as_the_largest_are_all_kept() -> None:
    outcome = process(draw("9000900", "0000000"), PostprocessingRule(largest=1, share=1.0))
    assert mask_rows(outcome) == ["#...#..", "......."]
    outcome = process(draw("9900900"), PostprocessingRule(largest=1, share=0.9))
    assert outcome.notes == ("lung: 1 component of 0.1 mL removed",)


def test_pixels_are_connected_diagonally_and_across_slices() -> None:
    probabilities = draw("9000 0900 0000", "0000 0000 0090", "0000 0000 0000")
    assert process(probabilities, PostprocessingRule(minimum_ml=0.3), pixel_ml=0.1).notes == ()


def test_components_below_the_minimum_volume_are_removed_even_if_none_is_left() -> None:
    probabilities = draw("99900 00009")
    outcome = process(probabilities, PostprocessingRule(minimum_ml=0.3), pixel_ml=0.1)
    assert mask_rows(outcome) == ["###.. ....."]
    outcome = process(probabilities, PostprocessingRule(minimum_ml=0.31), pixel_ml=0.1)
    assert mask_rows(outcome) == ["..... ....."]
    assert outcome.notes == ("lung: 2 components of 0.4 mL removed",)


def test_removal_includes_the_rim_and_keeps_other_values_exactly() -> None:
    outcome = process(draw("9994000 0000494 0000040"), PostprocessingRule(largest=1, share=1))
    assert outcome.probabilities[..., 0] == pytest.approx(
        draw("9994000 0000000 0000000")[..., 0]
        + np.array([[0] * 7, [*[0] * 4, *[1 / 3] * 3], [*[0] * 5, 1 / 3, 0]])
    )


# Holes

RING = "99999 90009 90009 90009 99999"
FULL = "99999 99999 99999 99999 99999"


def test_enclosed_pixels_are_filled() -> None:
    outcome = process(draw(FULL, RING, FULL), PostprocessingRule(fill_holes=True))
    assert mask_rows(outcome)[1] == "##### ##### ##### ##### #####"
    assert outcome.notes == ("lung: holes of 0.9 mL filled",)


@pytest.mark.parametrize(
    "planes",
    [
        pytest.param((FULL, RING, RING, "99999 90009 90000 90009 99999"), id="to the side"),
        pytest.param((FULL, RING, "00000 00000 00000 00000 00000"), id="to an empty slice"),
        pytest.param((FULL, RING), id="to the end of the scan"),
        pytest.param((RING, RING, RING), id="to both ends, as the trachea"),
    ],
)
def test_open_areas_are_not_filled(planes: tuple[str, ...]) -> None:
    outcome = process(draw(*planes), PostprocessingRule(fill_holes=True))
    assert outcome.notes == ()
    assert (outcome.probabilities == draw(*planes)).all()


def test_small_holes_in_a_slice_are_filled_and_larger_ones_are_not() -> None:
    """Such as vessels and the trachea; the limit is 3 pixels of 128×128."""
    probabilities = np.zeros((4, 128, 128, 1), np.float32)
    probabilities[:, 20:60, 20:60] = 0.9
    probabilities[:, 30:31, 30:33] = 0
    probabilities[:, 40:44, 50:51] = 0
    outcome = process(probabilities, PostprocessingRule(fill_holes=True))
    assert (outcome.probabilities[:, 30:31, 30:33] == 0.75).all()
    assert (outcome.probabilities[:, 40:44, 50:51] == 0).all()
    assert outcome.notes == ("lung: holes of 1.2 mL filled",)


def test_an_island_in_a_hole_is_kept() -> None:
    island = "99999 90009 90909 90009 99999"
    outcome = process(
        draw(FULL, FULL, island, FULL), PostprocessingRule(largest=1, fill_holes=True, share=1)
    )
    assert outcome.notes == ("lung: holes of 0.8 mL filled",)


def test_an_empty_slice_within_a_lung_changes_nothing() -> None:
    planes = (FULL, FULL, "00000 00000 00000 00000 00000", FULL, FULL)
    outcome = process(draw(*planes), default_postprocessing(["lung"])["lung"])
    assert (outcome.probabilities == draw(*planes)).all()


# Bullae

LUNG_HU, GAS_HU = -850, -980

FULL_SLICE = "00000 09990 09990 09990 00000"

MOSTLY_SEEN = (FULL_SLICE, "00000 09990 04440 00000 00000")

HALF_SEEN = (FULL_SLICE, "00000 04440 04440 00000 00000")


@pytest.fixture
def bulla() -> np.ndarray:
    """HU of two slices with gas in the middle 3×3 pixels of both."""
    hu = np.full((2, 5, 5), LUNG_HU, np.int16)
    hu[:, 1:4, 1:4] = GAS_HU
    return hu


def test_a_bulla_is_lung_if_most_of_it_is(bulla: np.ndarray) -> None:
    """The network sees 12 of its 18 pixels."""
    outcome = process(draw(*MOSTLY_SEEN), PostprocessingRule(fill_holes=True), hu=bulla)
    assert mask_rows(outcome) == ["..... .###. .###. .###. ....."] * 2
    assert outcome.notes == ("lung: bullae or emphysema of 0.6 mL added",)


@pytest.mark.parametrize(
    ("planes", "region", "brighter"),
    [
        pytest.param(HALF_SEEN, "lung", 0, id="half of a bulla"),
        pytest.param(MOSTLY_SEEN, "infection", 0, id="another region"),
        pytest.param(MOSTLY_SEEN, "lung", 80, id="parenchyma"),
    ],
)
def test_other_spaces_are_not_changed(
    bulla: np.ndarray, planes: tuple[str, ...], region: str, brighter: int
) -> None:
    rules = {region: PostprocessingRule(fill_holes=True)}
    outcome = process_regions(draw(*planes), rules, hu=bulla + np.int16(brighter))
    assert outcome.notes == ()
    assert (outcome.probabilities == draw(*planes)).all()


def test_each_pixel_of_a_gas_space_is_dark(bulla: np.ndarray) -> None:
    """The mean of both slices is -966 HU, but the space is a ring too narrow for a bulla."""
    bulla[:, 2, 2] = LUNG_HU
    outcome = process(draw(*MOSTLY_SEEN), PostprocessingRule(fill_holes=True), hu=bulla)
    assert outcome.notes == ()


def test_a_bulla_is_separated_from_the_air_outside_by_a_narrow_gap() -> None:
    """Three pixels of width open to 10×4 pixels of air by one pixel."""
    hu = np.full((1, 10, 10), LUNG_HU, np.int16)
    hu[0, 3:6, 1:4] = hu[0, 4, 4:6] = hu[0, :, 6:] = GAS_HU
    seen = "0000000000 " * 3 + "0999000000 0999000000 " + "0000000000 " * 5
    outcome = process(draw(seen), PostprocessingRule(fill_holes=True), hu=hu)
    assert mask_rows(outcome)[0].split()[3:7] == [".###......"] * 3 + ["." * 10]


def test_a_bulla_painted_into_real_lungs_is_completed(real_scans: Path) -> None:
    """The upper of two halves of a bulla is missing from the probabilities."""
    scan = Scan(real_scans / "lctsc" / "scans" / "S1-104.nii.gz")
    placement = find_placement(scan, IntensityScale(), canvas=128, crop="lungs")
    planes = place_scan(scan, IntensityScale(), placement)
    box = np.s_[60:80, 50:70, 25:40]
    planes[box] = GAS_HU
    probabilities = np.zeros((*planes.shape, 1), np.float32)
    probabilities[60:71, 50:70, 25:40] = 1.0
    rule = PostprocessingRule(fill_holes=True)
    completed = process(probabilities, rule, hu=planes).probabilities[..., 0] >= 0.5
    assert completed[box].all()
    assert np.count_nonzero(completed) < 1.05 * planes[box].size


# Regions inside another one


def test_a_region_is_clipped_to_its_parent() -> None:
    pair = np.concatenate([draw("9990 9990"), draw("0099 0090")], axis=-1)
    rules = {"infection": PostprocessingRule(inside="lung"), "lung": PostprocessingRule()}
    outcome = process_regions(pair, rules, names=("lung", "infection"), pixel_ml=0.5)
    assert outcome.probabilities[..., 1] == pytest.approx(draw("0090 0090")[..., 0])
    assert outcome.notes == ("infection: 0.5 mL outside lung removed",)


def test_the_parent_is_processed_first() -> None:
    """The small component of lung is removed, and the infection in it."""
    both = np.repeat(draw("99990 00000 00009"), 2, axis=-1)
    rules = {
        "infection": PostprocessingRule(inside="lung"),
        "lung": PostprocessingRule(largest=1, share=1),
    }
    outcome = process_regions(both, rules)
    assert outcome.probabilities[0, 2, 4] == pytest.approx([1 / 3, 1 / 3])
    assert len(outcome.notes) == 2


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"lungs": PostprocessingRule()},
            r"a region to postprocess must be one of \['lung', 'node'\], got `lungs`",
        ),
        (
            {"node": PostprocessingRule(inside="lungs")},
            r"`inside` of region `node` must be one of \['lung', 'node'\], got `lungs`",
        ),
        (
            {"lung": PostprocessingRule(inside="node"), "node": PostprocessingRule(inside="lung")},
            r"regions cannot be inside each other, got \['lung', 'node'\]",
        ),
        (
            {"node": PostprocessingRule(inside="node")},
            r"cannot be inside each other, got \['node'\]",
        ),
    ],
)
def test_unknown_and_circular_regions_are_rejected(
    rules: dict[str, PostprocessingRule], message: str
) -> None:
    empty = np.zeros((1, 2, 2, 2), np.float32)
    with pytest.raises(InputError, match=message):
        process_regions(empty, rules, names=("lung", "node"))


# Settings


def test_rules_are_read_from_plain_values() -> None:
    lung = {"largest": 1, "share": 0.02, "fill_holes": True, "minimum_ml": 3}
    plain = {"lung": lung, "infection": {"inside": "lung"}}
    rules = TypeAdapter(dict[str, PostprocessingRule]).validate_python(plain)
    assert rules["lung"] == default_postprocessing(["lung", "infection"])["lung"]
    assert rules["infection"] == PostprocessingRule(inside="lung")
    assert default_postprocessing(["infection"]) == {"infection": PostprocessingRule()}


@pytest.mark.parametrize("plain", [{"largest": -1}, {"minimum_ml": -0.1}, {"share": 2}, {"rim": 1}])
def test_invalid_rules_are_rejected(plain: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PostprocessingRule).validate_python(plain)


# Laws

SCANS = arrays(np.float32, (3, 7, 8, 1), elements=st.sampled_from([0.0, 0.3, 0.45, 0.5, 0.55, 1.0]))
RULE = PostprocessingRule(largest=1, fill_holes=True, share=1.0)


@given(SCANS)
def test_the_input_is_not_modified_and_an_empty_rule_changes_nothing(
    probabilities: np.ndarray,
) -> None:
    before = probabilities.copy()
    process(probabilities, RULE)
    assert (probabilities == before).all()
    assert (process(probabilities, PostprocessingRule()).probabilities == before).all()


@given(SCANS)
def test_postprocessing_twice_changes_nothing(probabilities: np.ndarray) -> None:
    once = process(probabilities, RULE)
    twice = process(once.probabilities, RULE)
    assert twice.notes == ()
    assert (twice.probabilities == once.probabilities).all()


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_removed_components_stay_removed_after_restoring(threshold: float) -> None:
    """So do four pixels below the threshold, between which interpolation exceeds it."""
    probabilities = np.zeros((1, 24, 24, 1), np.float32)
    probabilities[0, 3:15, 3:15] = 1.0
    probabilities[0, 18:20, 18:20] = 1.0
    probabilities[0, 5:7, 20:22] = 0.95 * threshold
    placement = place_whole((96, 96), canvas=24)
    raw = placement.restore(probabilities[..., 0]) >= threshold
    outcome = process_regions(probabilities, {"a": RULE}, threshold=threshold).probabilities[..., 0]
    components, count = ndimage.label(raw)
    assert count == 3
    largest = components == 1 + np.argmax(np.bincount(components.ravel())[1:])
    assert ((placement.restore(outcome) >= threshold) == largest).all()


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("rim", [0.0, 0.1, 1.0])
def test_filled_holes_stay_filled_after_restoring(threshold: float, rim: float) -> None:
    probabilities = np.zeros((5, 24, 24, 1), np.float32)
    probabilities[:, 3:20, 3:20] = 1.0
    probabilities[2, 8:15, 8:15] = threshold + rim * (1 - threshold)
    probabilities[2, 9:14, 9:14] = 0.0
    placement = place_whole((96, 96), canvas=24)
    outcome = process_regions(probabilities, {"a": RULE}, threshold=threshold).probabilities[..., 0]
    whole = placement.restore(probabilities[..., 0])[0] >= threshold
    assert (placement.restore(outcome) >= threshold).all(axis=0).tolist() == whole.tolist()


def test_small_components_are_removed_from_real_lungs(real_scans: Path) -> None:
    scan = Scan(real_scans / "lctsc" / "scans" / "S1-104.nii.gz")
    mask = Scan(real_scans / "lctsc" / "masks" / "S1-104.nii.gz")
    placement = find_placement(scan, IntensityScale(), canvas=128, crop="none")
    fractions = place_regions(mask, Regions({"lung": (1,)}), placement)[0]
    truth = fractions.astype(np.float32) / 255
    noisy = truth.copy()
    noisy[60:63, 30:34, 10:14], noisy[2:4, 64:67, 64:67] = 0.8, 1.0
    outcome = process_regions(noisy, default_postprocessing(["lung"]), pixel_ml=0.0457)
    planes = slice(55, 65)
    lungs, processed = (
        placement.restore(canvases[planes, ..., 0]) >= 0.5
        for canvases in (truth, outcome.probabilities)
    )
    assert outcome.notes[-1] == "lung: 2 components of 3.0 mL removed"
    assert np.count_nonzero(lungs & ~processed) < 1e-4 * np.count_nonzero(lungs)
    assert np.count_nonzero(processed & ~lungs) < 0.01 * np.count_nonzero(lungs)
