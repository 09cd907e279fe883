"""Specs: written and read, and refused if they are damaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.models.spec import (
    ExpectedDiceModel,
    ModelSpec,
    PostprocessingRule,
    load_spec,
    parse_spec,
    spec_json,
)

SPEC = ModelSpec(8, "none", 0, (0, 1000), {"body": (1, 2), "bone": (2,)})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    (tmp_path / "spec.json").write_text(spec_json(SPEC))
    return tmp_path


def test_a_written_spec_is_read() -> None:
    made = ModelSpec(
        canvas=128,
        crop="body",
        context=2,
        window_hu=(-1000.5, 400),
        # Not in alphabetical order, but in that of the network's maps.
        regions={"nodule": (7,), "lung": (1, 2, 7), "airway": (5,)},
        threshold=0.35,
        postprocessing={"nodule": PostprocessingRule(minimum_ml=0.1, inside="lung")},
        provenance={"split": {"test": ["a", "b"]}, "loss": "dice", "versions": {"keras": "3"}},
        metrics={"lung": {"dice": {"mean": 0.98}}},
        licence="CC BY 4.0",
        expected_dice={
            "lung": ExpectedDiceModel(5, bias=0.03, half_width=0.01, least_certainty=0.9)
        },
    )
    loaded = parse_spec(spec_json(made), source=Path("spec.json"))
    assert loaded == made
    assert list(loaded.regions) == ["nodule", "lung", "airway"]
    assert (loaded.window.low_hu, loaded.window.high_hu) == (-1000.5, 400)


def test_the_spec_is_readable_json() -> None:
    assert json.loads(spec_json(SPEC)) == {
        "canvas": 8,
        "crop": "none",
        "context": 0,
        "window_hu": [0, 1000],
        "regions": {"body": [1, 2], "bone": [2]},
        "threshold": 0.5,
        "postprocessing": {},
        "provenance": {},
        "metrics": {},
        "licence": "",
        "expected_dice": {},
        "side_labels": {},
        "format": 5,
    }


def test_a_spec_of_format_version_1_is_read(saved: Path) -> None:
    """It had no postprocessing, metrics or licence."""
    change_spec(saved, format=1, postprocessing=None, metrics=None, licence=None)
    assert load_spec(saved).regions == SPEC.regions


def test_a_spec_of_format_version_2_is_read(saved: Path) -> None:
    """It had no expected Dice."""
    change_spec(saved, format=2, expected_dice=None)
    assert load_spec(saved).expected_dice == {}


def test_a_spec_of_format_version_3_is_read_with_its_old_names(saved: Path) -> None:
    learnt = {"cases": 5, "shift": 0.03, "error": 0.01, "least_certainty": 0.9}
    change_spec(
        saved,
        format=3,
        postprocessing=None,
        cleaning={"bone": {"minimum_ml": 0.5, "inside": "body"}},
        expected_dice=None,
        expected={"body": learnt},
    )
    spec = load_spec(saved)
    assert spec.postprocessing == {"bone": PostprocessingRule(minimum_ml=0.5, inside="body")}
    assert spec.expected_dice == {
        "body": ExpectedDiceModel(5, bias=0.03, half_width=0.01, least_certainty=0.9)
    }


def test_a_spec_of_format_version_4_is_read(saved: Path) -> None:
    """It had no labels of the sides."""
    change_spec(saved, format=4, side_labels=None)
    assert load_spec(saved).side_labels == {}


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({"right": 1}, id="left is missing"),
        pytest.param({"right": 1, "left": 1}, id="equal labels"),
        pytest.param({"right": 1, "left": 3}, id="3 is not a label of the lung"),
        pytest.param({"right": 1, "links": 2}, id="another name"),
    ],
)
def test_side_labels_are_two_labels_of_the_lung(labels: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="two different labels of the region `lung`"):
        ModelSpec(8, "none", 0, (0, 1000), {"lung": (1, 2)}, side_labels=labels)


def change_spec(folder: Path, **changes: Any) -> None:
    """Set keys of a spec; None removes a key."""
    content = json.loads((folder / "spec.json").read_text()) | changes
    remaining = {key: value for key, value in content.items() if value is not None}
    (folder / "spec.json").write_text(json.dumps(remaining))


def test_the_error_for_a_missing_model_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=f"there is no model in {tmp_path}; train one with `dvc repro`, or name one with "
        "--model",
    ):
        load_spec(tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"canvas": None}, "key `canvas` is missing", id="a missing key"),
        pytest.param({"canvas": "big"}, "`canvas`: .* got 'big'", id="a wrong type"),
        pytest.param({"threshold": 1.5}, "`threshold`: .* less than 1, got 1.5", id="out of range"),
        pytest.param({"crop": "hands"}, "`crop`: .* got 'hands'", id="an unknown word"),
        pytest.param({"colour": 1}, "unknown key `colour`", id="an unknown key"),
    ],
)
def test_a_damaged_spec_is_refused(saved: Path, changes: dict[str, Any], problem: str) -> None:
    change_spec(saved, **changes)
    with pytest.raises(InputError, match=rf"spec\.json is damaged: {problem}"):
        load_spec(saved)


@pytest.mark.parametrize("content", ["", "{", "[]", '"spec"'])
def test_other_content_is_refused(saved: Path, content: str) -> None:
    (saved / "spec.json").write_text(content)
    with pytest.raises(InputError, match=r"spec\.json is damaged: \S"):
        load_spec(saved)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"format": 6}, id="the number only"),
        pytest.param({"format": 6, "resample_mm": 1.0, "crop": None}, id="with new keys"),
    ],
)
def test_a_newer_format_version_is_refused(saved: Path, changes: dict[str, Any]) -> None:
    change_spec(saved, **changes)
    with pytest.raises(
        InputError,
        match=rf"{saved}/spec\.json was written by a newer thorax \(format version 6, this "
        r"thorax reads up to 5\); update",
    ):
        load_spec(saved)
