"""Validation: volumetric Dice on the canvas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import Window
from thorax.imaging.overlap import mean_defined
from thorax.training.validation import CaseDice, check_validation, validate

from ..learning import pointwise, save_record
from ..settings import train_params

WINDOW = Window(0, 1000)
HIT, MISS = 1000, 0


@pytest.fixture(scope="module")
def network() -> Any:
    """Return a network whose first region is 500 HU and more, and the second one the rest."""
    return pointwise([[16, -16]], [-8, 8 - 1e-3], canvas=2)


def mean_dice(network: Any, paths: list[Path]) -> dict[str, float]:
    """Return the mean over cases of each region's Dice."""
    cases = validate(network, paths, window=WINDOW)
    assert [case.path for case in cases] == paths
    return {
        region: mean_defined(case.dice[channel] for case in cases)
        for channel, region in enumerate(("lung", "rest"))
    }


def save(path: Path, planes: list[Any], *truth: list[Any]) -> Path:
    """Write a case: slices in HU, and a list of fractions, 0..255, per region."""
    return save_record(path, planes, np.stack(truth, axis=-1))


def test_dice_by_hand(network: Any, tmp_path: Path) -> None:
    """Lung: 2·3 / (4 + 3) of the first case, 2·0 / (1 + 1) of the second; their mean is 3/7.

    The rest, which is predicted outside of the lung: 2·0 / (0 + 1) and 2·2 / (2 + 3).
    """
    all_, none = [[255, 255], [255, 255]], [[0, 0], [0, 0]]
    first = save(tmp_path / "a", [[[HIT, HIT], [HIT, MISS]]], [all_], [none])
    second = save(
        tmp_path / "b", [[[HIT, MISS], [MISS, MISS]]], [[[0, 255], [0, 0]]], [[[0, 0], [255, 255]]]
    )
    dice = mean_dice(network, [first, second])
    assert dice["lung"] == pytest.approx(3 / 7)
    assert dice["rest"] == pytest.approx((0 + 4 / 5) / 2)


@pytest.mark.parametrize(
    ("fraction", "hu", "expected"),
    [
        pytest.param(128, 500, 1.0, id="truth is more than half, prediction one half"),
        pytest.param(127, 500, 0.0, id="truth is less than half"),
        pytest.param(128, 499, 0.0, id="prediction is less than one half"),
    ],
)
def test_truth_and_prediction_are_thresholded_at_one_half(
    network: Any, tmp_path: Path, fraction: int, hu: int, expected: float
) -> None:
    full = [[[fraction] * 2] * 2]
    path = save(tmp_path / "case", [[[hu] * 2] * 2], full, full)
    assert mean_dice(network, [path])["lung"] == expected


def test_a_case_is_one_volume_in_any_number_of_slices(network: Any, tmp_path: Path) -> None:
    """40 slices, more than two batches: 4 correct voxels in the first; 1 missed in the last.

    2·4 / (5 + 4) of the volume. Means over slices would be 1/2, over batches 1/2, too.
    """
    planes, truth = np.full((40, 2, 2), MISS), np.zeros((40, 2, 2))
    planes[0], truth[0], truth[39, 1, 1] = HIT, 255, 255
    path = save(tmp_path / "case", planes.tolist(), truth.tolist(), truth.tolist())
    dice = mean_dice(network, [path])
    assert dice["lung"] == pytest.approx(8 / 9)


def test_a_case_with_empty_truth_and_prediction_is_left_out(network: Any, tmp_path: Path) -> None:
    """The mean is that of the other case, 2·2 / (2 + 4)."""
    none, half = [[[0, 0], [0, 0]]], [[[255, 255], [0, 0]]]
    paths = [
        save(tmp_path / "a", [[[MISS] * 2] * 2], none, none),
        save(tmp_path / "b", [[[HIT] * 2] * 2], half, none),
    ]
    dice = mean_dice(network, paths)
    assert dice["lung"] == pytest.approx(4 / 6)


def test_the_dice_of_a_region_in_no_case_is_undefined(network: Any, tmp_path: Path) -> None:
    none = [[[0, 0], [0, 0]]]
    path = save(tmp_path / "case", [[[MISS] * 2] * 2], none, [[[255] * 2] * 2])
    dice = mean_dice(network, [path])
    assert np.isnan(dice["lung"])
    assert dice["rest"] == 1.0


def test_the_mean_of_a_case_leaves_out_undefined_values() -> None:
    assert CaseDice(Path("a"), (0.5, float("nan"), 1.0)).mean == 0.75


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"early_stopping_patience": 3}, "early_stopping_patience"),
        ({"schedule": "plateau"}, "schedule: plateau"),
        ({"validate_first": True}, "validate_first"),
        ({"training_metric": True}, "training_metric"),
    ],
)
def test_settings_that_use_the_validation_need_validation_cases(
    changes: dict[str, Any], name: str
) -> None:
    params = train_params(**changes)
    with pytest.raises(InputError, match=f"^`train.{name}` needs validation cases; set `split.val"):
        check_validation(params, validation_cases=0)
    check_validation(params, validation_cases=1)
    check_validation(train_params(), validation_cases=0)


@pytest.mark.parametrize("name", ["plateau_patience", "early_stopping_patience"])
def test_a_patience_is_at_least_the_interval_of_the_validations(name: str) -> None:
    changes = {"schedule": "plateau", "plateau_patience": 3, "validate_every": 3}
    check_validation(train_params(**changes | {name: 3}), validation_cases=1)
    with pytest.raises(InputError) as error:
        check_validation(train_params(**changes | {name: 2}), validation_cases=1)
    assert str(error.value) == (
        f"`train.{name}` counts epochs and must be at least `train.validate_every`, 3, got 2; "
        "raise it or validate more often"
    )


def test_a_patience_that_is_not_used_is_not_checked() -> None:
    check_validation(train_params(validate_every=50), validation_cases=1)
