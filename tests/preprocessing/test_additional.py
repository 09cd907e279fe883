"""Records of synthetic chests and of varied copies, which are training cases only."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.common.files import file_sha256
from thorax.common.params import SyntheticParams
from thorax.datasets.dataset import Dataset, load_dataset
from thorax.imaging.grid import Volume
from thorax.imaging.intensity import HU
from thorax.imaging.intensity_detection import DetectedIntensity
from thorax.imaging.regions import Regions
from thorax.phantom import PLAIN, WIDE
from thorax.preprocessing.additional import (
    additional_records,
    chest_records,
    copy_records,
    variety_of,
)
from thorax.preprocessing.index import RecordIndex, load_index
from thorax.preprocessing.prepare import prepare
from thorax.preprocessing.record_settings import RecordSettings
from thorax.preprocessing.records import read_record

from .test_index import entry

SaveNifti = Callable[..., Path]

NONE = SyntheticParams(chests=0, copies=0, variety=[], seed=0)
LUNG = RecordSettings(Regions({"lung": (1, 2, 3)}), canvas=64, crop="lungs")


@pytest.fixture
def dataset(study: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr("thorax.common.parallel.worker_pool", ThreadPoolExecutor)
    return load_dataset(study)


def test_a_chest_has_a_record_with_its_lungs(tmp_path: Path) -> None:
    params = replace(NONE, chests=1)
    (record,) = chest_records(100_000, params, tmp_path, LUNG)
    assert (record.case, record.patient, record.site) == ("synthetic_00000", "synthetic_00000", "")
    path = tmp_path / "synthetic_00000.tfrecord"
    assert record.record_sha256 == file_sha256(path)
    stored = read_record(path)
    assert stored.planes.shape == (record.planes, 64, 64)
    lung = stored.fractions[..., 0] > 200
    assert 0.1 < lung.mean() < 0.6
    assert -950 < np.median(stored.planes[lung]) < -700
    again = chest_records(100_000, params, tmp_path, LUNG)
    assert again == [record]


def test_regions_that_synthetic_masks_lack_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    airway = RecordSettings(Regions({"lung": (1,), "airway": (2,)}), canvas=64, crop="lungs")
    with pytest.raises(InputError, match=r"among lung, infection, but this one has `airway`; set"):
        additional_records(dataset, replace(NONE, chests=1), tmp_path, airway)


@pytest.mark.parametrize(("lung", "shared"), [((1,), False), ((1, 2), True)])
def test_infection_is_lung_in_chests_if_it_is_in_the_dataset(
    tmp_path: Path, lung: tuple[int, ...], shared: bool
) -> None:
    settings = RecordSettings(Regions({"lung": lung, "infection": (2,)}), canvas=32, crop="lungs")
    dataset = Dataset("study", settings.regions, ())
    (record,) = additional_records(dataset, replace(NONE, chests=1), tmp_path, settings, workers=1)
    inside = read_record(tmp_path / f"{record.case}.tfrecord").fractions > 200
    infected = inside[..., 1]
    assert infected.any()
    assert inside[infected, 0].all() if shared else not inside[infected, 0].any()


@pytest.mark.parametrize(
    ("kind", "name"), [("copies", "anna-1_copy001"), ("chests", "synthetic_00001")]
)
def test_a_case_with_the_name_of_an_additional_record_is_refused(
    dataset: Dataset, tmp_path: Path, kind: str, name: str
) -> None:
    """Otherwise the additional record would replace that of the case."""
    cases = (*dataset.cases, replace(dataset.cases[0], name=name))
    params = replace(NONE, **{kind: 2})
    with pytest.raises(InputError) as refused:
        additional_records(replace(dataset, cases=cases), params, tmp_path, LUNG)
    assert str(refused.value) == (
        f"no case may have the name of a record of `synthetic.{kind}`, got {name}; rename its scan "
        f"and mask, or set `synthetic.{kind}: 0`"
    )
    assert not list(tmp_path.glob("*.tfrecord"))


def test_no_chests_and_no_copies_write_nothing(dataset: Dataset, tmp_path: Path) -> None:
    assert additional_records(dataset, NONE, tmp_path, LUNG) == []
    assert not list(tmp_path.glob("*.tfrecord"))


def test_copies_belong_to_the_patient_of_the_scan(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies are unchanged here, so their records are those of the scans."""
    monkeypatch.setattr(
        "thorax.preprocessing.additional.varied_copy", lambda scan, mask, rng: (scan, mask, ())
    )
    # The scans of the study are too small for the detection of intensities.
    monkeypatch.setattr(
        "thorax.preprocessing.additional.detect_intensity_of_scan",
        lambda planes: DetectedIntensity(HU, "hu", ()),
    )
    params = replace(NONE, copies=2)
    index = prepare(dataset, tmp_path, canvas=8, crop="none", synthetic=params, workers=2)
    assert [entry.case for entry in index.records] == ["anna-1", "anna-2", "ben-1"]
    assert [(entry.case, entry.patient) for entry in index.additional] == [
        ("anna-1_copy000", "anna"),
        ("anna-1_copy001", "anna"),
        ("anna-2_copy000", "anna"),
        ("anna-2_copy001", "anna"),
        ("ben-1_copy000", "ben"),
        ("ben-1_copy001", "ben"),
    ]
    assert load_index(tmp_path) == index
    copy, original = (read_record(tmp_path / f"ben-1{end}.tfrecord") for end in ("_copy001", ""))
    np.testing.assert_array_equal(copy.fractions, original.fractions)
    without = prepare(dataset, tmp_path, canvas=8, crop="none", synthetic=NONE, workers=2)
    assert without.additional == ()
    assert len(list(tmp_path.glob("*.tfrecord"))) == 3


def test_label_values_of_copies_are_rounded(
    dataset: Dataset, save_nifti: SaveNifti, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scaling of a file leaves such values, whose integer part is another label."""
    labels = np.zeros((8, 6, 3), np.float32)
    labels[2:4], labels[4:6] = 0.999999, 2.000001
    save_nifti("chests/masks/ben-1.nii.gz", labels)
    copied: list[Volume] = []

    def copy(scan: Volume, mask: Volume, rng: object) -> tuple[Volume, Volume, tuple[str, ...]]:
        copied.append(mask)
        return scan, mask, ()

    monkeypatch.setattr("thorax.preprocessing.additional.varied_copy", copy)
    settings = RecordSettings(dataset.regions, canvas=8, crop="none")
    copy_records(dataset.case("ben-1"), replace(NONE, copies=1), tmp_path, settings)
    assert copied[0].voxels.dtype == np.uint8
    assert copied[0].voxels[:, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 0, 0]


def test_the_variety_names_the_groups_of_variations() -> None:
    assert variety_of(NONE) == PLAIN
    everything = ["anatomy", "diseases", "objects", "scans", "intensities"]
    assert variety_of(replace(NONE, variety=everything)) == WIDE
    assert variety_of(replace(NONE, variety=["objects"])).objects


@pytest.fixture
def mixed(tmp_path: Path) -> RecordIndex:
    synthetic = replace(entry("synthetic_00000"), patient="synthetic_00000")
    copies = (replace(entry("a1_copy"), patient="a"), replace(entry("b1_copy"), patient="b"))
    return RecordIndex(
        format_version=1,
        dataset="chests",
        canvas=8,
        crop="none",
        regions={"lung": (1,)},
        ignored=(),
        records=(entry("a1"), entry("b1")),
        additional=(*copies, synthetic),
    )


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (["a1"], ["a1", "a1_copy", "synthetic_00000"]),
        (["b1"], ["b1", "b1_copy", "synthetic_00000"]),
        (["a1", "b1"], ["a1", "b1", "a1_copy", "b1_copy", "synthetic_00000"]),
    ],
)
def test_copies_of_other_patients_are_not_trained_on(
    mixed: RecordIndex, train: list[str], expected: list[str]
) -> None:
    assert [entry.case for entry in mixed.training_entries(train)] == expected


@pytest.mark.parametrize("train", [["a1"], ["a2"]])
def test_copies_are_not_trained_on_if_another_scan_of_the_patient_may_be_tested(
    mixed: RecordIndex, train: list[str]
) -> None:
    """Published folds train on one scan of some patients and test another one."""
    second = replace(entry("a2"), patient="a")
    index = replace(mixed, records=(*mixed.records, second))
    assert [entry.case for entry in index.training_entries(train)] == [*train, "synthetic_00000"]
    both = index.training_entries(["a1", "a2"])
    assert [entry.case for entry in both] == ["a1", "a2", "a1_copy", "synthetic_00000"]
