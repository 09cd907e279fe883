"""Ground-glass and consolidation of synthetic chests."""

from functools import cache

import numpy as np
import pytest

from thorax.phantom import INFECTION, PLAIN, WIDE, Chest, Variety, chest


@cache
def chest_of(number: int, variety: Variety = PLAIN) -> Chest:
    return chest(number, seed=0, variety=variety)


@pytest.mark.parametrize(
    ("number", "variety", "shape", "labels", "mean_hu"),
    [
        (3, PLAIN, (221, 218, 51), (86242, 98961, 24752), -524.225),
        (7, WIDE, (163, 163, 43), (6987, 1164, 5267), 86.308),
    ],
    ids=["plain", "wide"],
)
def test_chests_stay_those_of_earlier_versions(
    number: int, variety: Variety, shape: tuple[int, ...], labels: tuple[int, ...], mean_hu: float
) -> None:
    """One more random number would give another patient; other processors round differently."""
    case = chest_of(number, variety)
    assert case.scan.voxels.shape == case.mask.voxels.shape == shape
    counts = np.bincount(case.mask.voxels.ravel(), minlength=4)[1:]
    assert tuple(counts) == pytest.approx(labels, abs=3)
    assert case.scan.voxels.mean() == pytest.approx(mean_hu, abs=0.01)


@pytest.mark.parametrize(("number", "variety"), [(3, PLAIN), (7, WIDE)], ids=["plain", "wide"])
def test_consolidation_is_a_part_of_the_infection_on_the_grid_of_the_mask(
    number: int, variety: Variety
) -> None:
    case = chest_of(number, variety)
    assert case.consolidated.shape == case.mask.voxels.shape
    assert case.consolidated.dtype == bool
    assert case.consolidated.any()
    assert (case.mask.voxels[case.consolidated] == INFECTION).all()


def test_consolidation_is_dense_and_the_rest_is_ground_glass() -> None:
    case = chest_of(3)
    glass = (case.mask.voxels == INFECTION) & ~case.consolidated
    assert np.median(case.scan.voxels[case.consolidated]) > -150
    assert -700 < np.median(case.scan.voxels[glass]) < -400


def test_a_chest_without_infection_has_no_consolidation() -> None:
    assert not chest_of(17).consolidated.any()
