"""Masks of other tools: options, label values, scores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.datasets.dataset import Dataset, load_dataset
from thorax.experiments.benchmark.other_masks import OtherMasks, parse_masks, score_masks
from thorax.imaging.regions import Regions

from ...settings import DEFAULTS

SaveNifti = Callable[..., Path]

LUNGMASK = ("lung=1,2", "right_lung=1", "left_lung=2")
"""Labels of a tool that numbers the right lung 1, and segments no infection."""


@pytest.fixture
def covid(tmp_path: Path, save_nifti: SaveNifti) -> Dataset:
    """Return two cases with the labels of the COVID-19 set: two lungs of 8×8×4, infection right."""
    truth = np.zeros((24, 12, 6), np.uint8)
    truth[2:10, 2:10, 1:5], truth[14:22, 2:10, 1:5], truth[18:22, 2:10, 1:5] = 1, 2, 3
    for case in ("a", "b"):
        save_nifti(f"covid/scans/{case}.nii.gz", np.zeros(truth.shape, np.int16))
        save_nifti(f"covid/masks/{case}.nii.gz", truth)
    (tmp_path / "covid/dataset.yaml").write_text(
        "regions: {lung: [1, 2, 3], infection: [3]}\nsides: {left: [1], right: [2]}\n"
    )
    (tmp_path / "tool").mkdir()
    return load_dataset(tmp_path / "covid")


def scored(other: OtherMasks, dataset: Dataset, *, missing: bool = False) -> dict[str, list[float]]:
    """Return region → Dice of each case."""
    dice: dict[str, list[float]] = {}
    for row in score_masks(
        other, dataset, DEFAULTS.evaluate, missing=missing, note=lambda text: None
    ):
        dice.setdefault(row["region"], []).append(row["dice"])
    return dice


def only(dataset: Dataset, folder: Path, *labels: str) -> OtherMasks:
    (other,) = parse_masks([f"tool={folder}"], labels, dataset)
    return other


# Options


def test_by_default_the_labels_are_those_of_the_dataset(covid: Dataset, tmp_path: Path) -> None:
    other = only(covid, tmp_path / "tool")
    assert (other.name, other.folder) == ("tool", tmp_path / "tool")
    assert other.regions == covid.regions
    assert other.sides == covid.sides


def test_labels_are_of_all_tools_or_of_one(covid: Dataset, tmp_path: Path) -> None:
    tools = [f"{name}={tmp_path / 'tool'}" for name in ("first", "second")]
    first, second = parse_masks(tools, ["lung=7", "second:lung=1,2", "second:left_lung=2"], covid)
    assert (first.regions, first.sides) == (Regions({"lung": (7,)}), {})
    assert (second.regions, second.sides) == (Regions({"lung": (1, 2)}), {"left": (2,)})


@pytest.mark.parametrize(
    ("masks", "labels", "message"),
    [
        (["tool"], [], "--masks must be NAME=FOLDER, got `tool`"),
        (["=tool"], [], "--masks must be NAME=FOLDER, got `=tool`"),
        (["tool=gone"], [], "--masks must name a folder of masks, but there is no gone"),
        (["t=tool", "t=tool"], [], "--masks must have different names, got `t` twice"),
        (["thorax=tool"], [], "--masks must not be named `thorax`, the name of our results"),
        (
            ["t=tool"],
            ["u:lung=1"],
            "--predicted-region must name a tool of --masks, t, got `u`",
        ),
        ([], ["lung=1"], "--predicted-region needs --masks"),
        (
            ["t=tool"],
            ["heart=1"],
            "--predicted-region must be one of lung, infection, left_lung and right_lung, got "
            "`heart`",
        ),
        (["t=tool"], ["lung=one"], "a region must look like lung=1,2, got `lung=one`"),
        (
            ["t=tool"],
            ["lung=1", "left_lung=2"],
            "the labels of left_lung must be among those of lung, 1, got 2; extend "
            "--predicted-region lung=…",
        ),
        (
            ["t=tool"],
            ["infection=3", "left_lung=2"],
            "the labels of left_lung must be among those of lung, none, got 2; extend "
            "--predicted-region lung=…",
        ),
    ],
)
def test_unusable_options_are_refused(
    covid: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    masks: list[str],
    labels: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        parse_masks(masks, labels, covid)
    assert str(refused.value) == message


# Scores


def test_the_truth_itself_is_perfect(covid: Dataset, tmp_path: Path) -> None:
    other = only(covid, tmp_path / "covid/masks")
    assert scored(other, covid) == {
        "lung": [1, 1],
        "left lung": [1, 1],
        "right lung": [1, 1],
        "infection": [1, 1],
    }


def test_labels_of_a_tool_are_mapped(covid: Dataset, tmp_path: Path, save_nifti: SaveNifti) -> None:
    """Its right lung, 1, is complete in `a` and lacks the infected half in `b`."""
    mask = np.zeros((24, 12, 6), np.uint8)
    mask[2:10, 2:10, 1:5], mask[14:22, 2:10, 1:5] = 2, 1
    save_nifti("tool/a.nii.gz", mask)
    mask[18:22] = 0
    save_nifti("tool/b.nii.gz", mask)
    assert scored(only(covid, tmp_path / "tool", *LUNGMASK), covid) == {
        "lung": [1, pytest.approx(2 * 384 / (512 + 384))],
        "left lung": [1, 1],
        "right lung": [1, pytest.approx(2 * 128 / (256 + 128))],
    }


def test_a_tool_may_segment_only_infection(
    covid: Dataset, tmp_path: Path, save_nifti: SaveNifti
) -> None:
    mask = np.zeros((24, 12, 6), np.uint8)
    mask[18:22, 2:10, 1:5] = 1
    for case in ("a", "b"):
        save_nifti(f"tool/{case}.nii.gz", mask)
    other = only(covid, tmp_path / "tool", "infection=1")
    assert scored(other, covid) == {"infection": [1, 1]}


def test_cases_without_a_mask_are_refused_unless_allowed(
    covid: Dataset, tmp_path: Path, save_nifti: SaveNifti
) -> None:
    save_nifti("tool/b.nii.gz", np.zeros((24, 12, 6), np.uint8))
    other = only(covid, tmp_path / "tool")
    with pytest.raises(InputError) as refused:
        scored(other, covid)
    assert str(refused.value) == (
        f"1 of 2 true masks have no prediction in {tmp_path / 'tool'} (a); give --allow-missing to "
        "leave them out"
    )
    assert scored(other, covid, missing=True)["lung"] == [0]


def test_a_label_without_a_region_is_refused_unless_ignored(
    covid: Dataset, tmp_path: Path, save_nifti: SaveNifti
) -> None:
    mask = np.zeros((24, 12, 6), np.uint8)
    mask[2:10, 2:10, 1:5], mask[0] = 1, 9
    for case in ("a", "b"):
        save_nifti(f"tool/{case}.nii.gz", mask)
    other = only(covid, tmp_path / "tool", "lung=1")
    with pytest.raises(InputError, match=r"label values \[9\] belong to no region"):
        scored(other, covid)
    ignoring = replace(other, regions=Regions({"lung": (1,)}, (9,)))
    assert len(scored(ignoring, covid)["lung"]) == 2
    assert parse_masks([f"tool={other.folder}"], ["lung=1"], covid, ignored=(9,)) == [ignoring]
