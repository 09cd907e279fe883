"""Outliers: the rule by hand, its smallest spread, and its limits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thorax.evaluation.cohort.outliers import (
    Outlier,
    find_outliers,
    robust_distances,
    without_sides,
)
from thorax.evaluation.cohort.scans import (
    DENSITY,
    LOW_ATTENUATION,
    SHARE,
    VOLUME,
    Cohort,
    CohortScan,
    Measure,
    PartMeasurements,
)


def cohort(field: str, *values: float | None, side: str = "whole") -> Cohort:
    """Return scans s0, s1 … with these values of a field."""
    return Cohort(
        tuple(
            CohortScan(
                f"s{number}",
                "done",
                Path("a"),
                Path("b"),
                parts=(PartMeasurements("lung", side, **{field: value}),),  # type: ignore[arg-type]
            )
            for number, value in enumerate(values)
        )
    )


# The median is 4000, and the median of 300, 200, 100, 0, 0, 100, 200, 300, 5000 is 200.
VOLUMES = (3700.0, 3800.0, 3900.0, 4000.0, 4000.0, 4100.0, 4200.0, 4300.0, 9000.0)


def test_the_robust_sd_is_1_4826_times_the_median_absolute_deviation() -> None:
    distances = robust_distances(VOLUMES, VOLUME)
    assert distances == pytest.approx((np.array(VOLUMES) - 4000) / (1.4826 * 200))


def test_percentages_are_compared_as_logarithms() -> None:
    """1 + p is 1, 2, 4, 8, 16, so that neighbours have the same distance."""
    distances = robust_distances([0, 1, 3, 7, 15], LOW_ATTENUATION)
    assert distances == pytest.approx(np.array([-2, -1, 0, 1, 2]) / 1.4826)


def test_a_value_beyond_three_robust_sds_is_an_outlier() -> None:
    (outlier,) = find_outliers(cohort("volume_ml", *VOLUMES))
    assert (outlier.case, outlier.region, outlier.side) == ("s8", "lung", "whole")
    assert (outlier.measure, outlier.value, outlier.median) == (VOLUME, 9000, 4000)
    assert outlier.robust_sds == pytest.approx(5000 / 296.52)


@pytest.mark.parametrize(("last", "expected"), [(4889, []), (4890, ["s8"]), (3110, ["s8"])])
def test_the_limit_is_at_three(last: float, expected: list[str]) -> None:
    """3 × 296.52 = 889.56, on both sides of the median."""
    found = find_outliers(cohort("volume_ml", *VOLUMES[:-1], last))
    assert [outlier.case for outlier in found] == expected


def test_outliers_are_sorted_by_distance() -> None:
    found = find_outliers(cohort("volume_ml", 500, *VOLUMES))
    assert [outlier.case for outlier in found] == ["s9", "s0"]
    assert found[0].robust_sds > 0 > found[1].robust_sds


@pytest.mark.parametrize(
    ("measure", "value", "last", "distance"),
    [
        (VOLUME, 1000.0, 1020.0, 1.0),
        (DENSITY, -800.0, -795.0, 1.0),
        (LOW_ATTENUATION, 0.0, 0.3, 1.0),
        (SHARE, 9.0, 15.9, 2.0),
    ],
)
def test_equal_values_have_the_least_spread(
    measure: Measure, value: float, last: float, distance: float
) -> None:
    """2 % of the volume, 5 HU, and a factor of 1.3 of 1 + p: 10 × 1.3 × 1.3 is 16.9."""
    distances = robust_distances([value, value, value, last], measure)
    assert distances == pytest.approx([0, 0, 0, distance])


def test_small_differences_are_no_outliers() -> None:
    """1.3 to the power of 3 is 2.197."""
    assert find_outliers(cohort("low_attenuation_percent", *[0.0] * 20, 1.19)) == []
    assert len(find_outliers(cohort("low_attenuation_percent", *[0.0] * 20, 1.20))) == 1


def test_a_region_within_the_first_is_compared_by_its_share() -> None:
    def scans(share: float | None) -> Cohort:
        parts = [
            PartMeasurements("infection", volume_ml=volume, share_of_first_percent=share)
            for volume in VOLUMES
        ]
        found = cohort("volume_ml", *VOLUMES).scans
        pairs = zip(found, parts, strict=True)
        return Cohort(tuple(replace(one, parts=(part,)) for one, part in pairs))

    assert find_outliers(scans(10.0)) == []
    assert [outlier.case for outlier in find_outliers(scans(None))] == ["s8"]


def test_a_region_that_most_scans_lack_has_no_outlying_volume() -> None:
    """The spread is a share of the median, which is 0."""
    assert find_outliers(cohort("volume_ml", *[0.0] * 20, 300.0)) == []


def test_few_scans_have_no_outliers() -> None:
    assert find_outliers(cohort("volume_ml", *VOLUMES[2:], None, None)) == []
    assert len(find_outliers(cohort("volume_ml", *VOLUMES[1:]))) == 1


def test_a_side_is_left_out_if_the_whole_region_is_an_outlier() -> None:
    whole = Outlier("a", "lung", "whole", VOLUME, 9000, 4000, 5.0)
    left = replace(whole, side="left")
    others = [
        replace(left, case="b"),
        replace(left, region="lobe"),
        replace(left, measure=DENSITY),
    ]
    assert without_sides([left, whole, *others]) == [whole, *others]


def test_sides_are_compared_with_the_same_side() -> None:
    both = (*cohort("volume_ml", *VOLUMES).scans, *cohort("volume_ml", 1, side="left").scans)
    assert [outlier.side for outlier in find_outliers(Cohort(both))] == ["whole"]
