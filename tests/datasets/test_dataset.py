"""Datasets on disk: pairs of files, valid and invalid `dataset.yaml`."""

import re
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.datasets.dataset import (
    Dataset,
    DatasetSpec,
    load_dataset,
    load_spec,
    pair_up,
    save_spec,
)
from thorax.imaging.intensity import IntensityScale
from thorax.imaging.regions import Regions


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return empty folders for scans and masks."""
    for name in ("scans", "masks"):
        (tmp_path / name).mkdir()
    return tmp_path / "scans", tmp_path / "masks"


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


# Pairing


def test_scans_and_masks_pair_up_by_name_in_sorted_order(folders: tuple[Path, Path]) -> None:
    scans, masks = folders
    fill(scans, "b.nii.gz", "a.nii", "README.md", ".part-x-c.nii.gz")
    fill(masks, "a.nii.gz", "b.nii.gz", "notes.txt")
    assert list(pair_up(scans, masks).items()) == [
        ("a", (scans / "a.nii", masks / "a.nii.gz")),
        ("b", (scans / "b.nii.gz", masks / "b.nii.gz")),
    ]


@pytest.mark.parametrize(
    ("scans", "masks", "message"),
    [
        pytest.param(["a.nii", "b.nii"], ["a.nii"], "but b has no mask", id="no mask"),
        pytest.param(["a.nii"], ["a.nii", "c.nii"], "but c has no scan", id="no scan"),
        pytest.param(["a.nii", "b.nii", "c.nii"], ["b.nii"], "a, c have no mask", id="two"),
        pytest.param(["a.nii"], ["A.nii"], "but a has no mask", id="other case"),
        pytest.param([], ["a.nii"], "there is no NIfTI scan in .*scans", id="no scans at all"),
        pytest.param(["a.nrrd"], ["a.nii"], "there is no NIfTI scan in ", id="other format"),
        pytest.param(["a.nii", "a.nii.gz"], ["a.nii"], "two files are named `a`: ", id="twice"),
    ],
)
def test_unpaired_files_are_named(
    folders: tuple[Path, Path], scans: list[str], masks: list[str], message: str
) -> None:
    for folder, names in zip(folders, (scans, masks), strict=True):
        fill(folder, *names)
    with pytest.raises(InputError, match=message):
        pair_up(*folders)


@pytest.mark.parametrize("missing", [0, 1], ids=["scans", "masks"])
def test_a_missing_folder_is_named(folders: tuple[Path, Path], missing: int) -> None:
    folders[missing].rmdir()
    with pytest.raises(InputError, match=f"there is no folder {folders[missing]}"):
        pair_up(*folders)


# Datasets


def test_a_dataset_has_its_cases_patients_and_regions(study: Path) -> None:
    dataset = load_dataset(study)
    assert dataset.name == "chests"
    assert dataset.regions == Regions({"lung": (1, 2), "infection": (2,)})
    assert [(case.name, case.patient, case.site) for case in dataset.cases] == [
        ("anna-1", "anna", ""),
        ("anna-2", "anna", ""),
        ("ben-1", "ben", ""),
    ]
    assert dataset.cases[0].scan == study / "scans" / "anna-1.nii.gz"
    assert dataset.cases[0].mask == study / "masks" / "anna-1.nii.gz"
    assert dataset.cases[0].intensity == IntensityScale(None)


def test_label_values_may_tell_the_side(study: Path) -> None:
    assert load_dataset(study).sides == {}
    with (study / "dataset.yaml").open("a") as stream:
        stream.write("sides: {left: [1]}\n")
    assert load_dataset(study).sides == {"left": (1,)}


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        pytest.param({"left": [4]}, r"got 4 in \{'left': \[4\]\}", id="no region"),
        pytest.param({"left": [1], "right": [2, 1]}, "got 1 in", id="both sides"),
    ],
)
def test_sides_must_be_label_values_of_regions(sides: dict[str, list[int]], message: str) -> None:
    with pytest.raises(InputError, match=f"`sides` must name label values of .*{message}"):
        DatasetSpec({"lung": [1, 2]}, sides=sides).as_sides()


def test_a_side_is_left_or_right(study: Path) -> None:
    with (study / "dataset.yaml").open("a") as stream:
        stream.write("sides: {middle: [1]}\n")
    with pytest.raises(InputError, match="`sides"):
        load_dataset(study)


def test_a_case_is_looked_up_by_its_name(dataset: Dataset) -> None:
    assert dataset.case("ben-1").patient == "ben"
    with pytest.raises(InputError, match="dataset `chests` has no case `ben`"):
        dataset.case("ben")


def test_the_error_for_a_missing_dataset_yaml_names_the_command_that_writes_it(study: Path) -> None:
    (study / "dataset.yaml").unlink()
    with pytest.raises(InputError, match=r"there is no .*dataset\.yaml; `thorax data add` writes"):
        load_dataset(study)


def test_a_pattern_that_does_not_match_a_case_is_refused_with_its_name(study: Path) -> None:
    (study / "dataset.yaml").write_text("regions: {lung: [1, 2]}\npatient: '(anna)-.*'\n")
    with pytest.raises(InputError, match="matches nothing in `ben-1`"):
        load_dataset(study)


# Patients


@pytest.mark.parametrize(
    ("pattern", "case", "patient"),
    [
        pytest.param("(.+)", "S1-101", "S1-101", id="default: every case is a patient"),
        pytest.param("(S1-[0-9]+)", "S1-101_followup", "S1-101", id="match at the start"),
        pytest.param("(.+?)(_[0-9]+)?", "r_10_2", "r_10", id="match of the whole name preferred"),
        pytest.param("(?:a|b)-([0-9]+)", "b-7", "7", id="first capturing group"),
    ],
)
def test_the_patient_is_the_first_group_of_the_pattern(
    pattern: str, case: str, patient: str
) -> None:
    assert DatasetSpec({"lung": [1]}, patient=pattern).patient_of(case) == patient


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        pytest.param("S1-[0-9]+", "must have a group that matches the patient", id="no group"),
        pytest.param("(X.*)", "matches nothing in `S1-101`", id="no match"),
        pytest.param("S1-101()", "matches nothing in `S1-101`", id="empty group"),
        pytest.param("(S2)|S1.*", "matches nothing in `S1-101`", id="unused group"),
        pytest.param("(S1", "is no regular expression: missing \\)", id="invalid"),
    ],
)
def test_a_pattern_without_a_patient_is_refused(pattern: str, message: str) -> None:
    spec = DatasetSpec({"lung": [1]}, patient=pattern)
    with pytest.raises(InputError, match=f"`patient: {re.escape(pattern)}` .*{message}"):
        spec.patient_of("S1-101")


# Sites


def test_the_site_is_the_first_group_of_its_pattern(study: Path) -> None:
    with (study / "dataset.yaml").open("a") as spec:
        spec.write("site: '.*-([0-9])'\n")
    assert [case.site for case in load_dataset(study).cases] == ["1", "2", "1"]


def test_without_a_pattern_all_cases_are_from_one_site() -> None:
    assert DatasetSpec({"lung": [1]}).site_of("S1-101") == ""


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        pytest.param("S[0-9]", "must have a group that matches the site in every", id="no group"),
        pytest.param("(S2)", "matches nothing in `S1-101`", id="no match"),
        pytest.param("(S1", "is no regular expression: missing \\)", id="invalid"),
    ],
)
def test_a_pattern_without_a_site_is_refused(pattern: str, message: str) -> None:
    spec = DatasetSpec({"lung": [1]}, site=pattern)
    with pytest.raises(InputError, match=f"`site: {re.escape(pattern)}` .*{message}"):
        spec.site_of("S1-101")


# Intensities


@pytest.mark.parametrize(
    ("written", "scale"),
    [
        pytest.param("hu", IntensityScale(None), id="HU"),
        pytest.param("[-1250, 250]", IntensityScale((-1250, 250)), id="8-bit export"),
        pytest.param("{c*: hu, r*: [-1250, 250]}", IntensityScale((-1250, 250)), id="by pattern"),
        pytest.param("{'*': hu, r*: [-1250, 250]}", IntensityScale(None), id="first match"),
        pytest.param("hu+1024", IntensityScale(offset_hu=1024), id="offset"),
        pytest.param("250,-1250", IntensityScale((-1250, 250), inverted=True), id="negative"),
    ],
)
def test_the_intensity_of_a_case_is_looked_up_by_its_name(
    tmp_path: Path, written: str, scale: IntensityScale
) -> None:
    (tmp_path / "dataset.yaml").write_text(f"regions: {{lung: [1]}}\nintensity: {written}\n")
    assert load_spec(tmp_path / "dataset.yaml").intensity_of("radiopaedia_1") == scale


def test_a_case_without_an_intensity_is_refused() -> None:
    spec = DatasetSpec({"lung": [1]}, intensity={"c*": "hu", "R*": "hu"})
    with pytest.raises(InputError, match="no pattern under `intensity` matches the case `r_1`"):
        spec.intensity_of("r_1")


# dataset.yaml


def test_a_saved_spec_is_read_back(tmp_path: Path) -> None:
    spec = DatasetSpec(
        {"lung": [1, 2, 3], "infection": [3]},
        title="Köln",
        ignored=[7],
        patient="(.+?)_.*",
        site="(.)",
        intensity={"c*": "hu", "*": (-1250, 250)},
    )
    save_spec(tmp_path / "dataset.yaml", spec)
    assert load_spec(tmp_path / "dataset.yaml") == spec


def test_empty_keys_are_not_saved(tmp_path: Path) -> None:
    save_spec(tmp_path / "dataset.yaml", DatasetSpec({"lung": [1]}, title="Köln"))
    written = (tmp_path / "dataset.yaml").read_text(encoding="utf-8")
    assert written.startswith("regions:\n  lung:\n  - 1\ntitle: Köln\n")
    assert "note" not in written
    assert "site" not in written
    assert "ignored" not in written


@pytest.mark.parametrize(
    ("written", "message"),
    [
        pytest.param("title: x", "key `regions` is missing", id="no regions"),
        pytest.param("regions: {lung: [1]}\nregion: 1", "unknown key `region`", id="typo"),
        pytest.param("regions: {lung: 1}", "`regions.lung`: .*valid list, got 1", id="no list"),
        pytest.param("regions: {lung: [x]}", "`regions.lung.0`: .*got 'x'", id="no number"),
        pytest.param(
            "regions: {lung: [1]}\nintensity: MR",
            "`intensity`: `intensity` must be auto, hu, .*, got",
            id="MR",
        ),
        pytest.param("", "got None", id="empty"),
        pytest.param("regions: [", "is not valid YAML", id="truncated"),
    ],
)
def test_an_invalid_dataset_yaml_is_refused_in_one_line(
    tmp_path: Path, written: str, message: str
) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text(written)
    with pytest.raises(InputError, match=f"^{path}:? .*{message}") as caught:
        load_spec(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        pytest.param("regions: {}", "there must be 1 to 8 regions, got 0", id="no region"),
        pytest.param("regions: {lung: [0]}", "label values 1..255, got", id="background"),
        pytest.param(
            "regions: {lung: [1]}\nignored: [1]", "cannot be both ignored", id="both ignored"
        ),
        pytest.param(
            "regions: {lung: [1]}\nintensity: [250, -1250]", "from low to high HU", id="reversed"
        ),
        pytest.param(
            "regions: {lung: [1]}\nintensity: auto", "must not be `auto`, which only", id="auto"
        ),
    ],
)
def test_invalid_regions_and_intensities_are_refused_with_the_dataset(
    study: Path, written: str, message: str
) -> None:
    (study / "dataset.yaml").write_text(written)
    with pytest.raises(InputError, match=message):
        load_dataset(study)
