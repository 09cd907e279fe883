"""Reading a folder of masks: every scan is kept, and what is missing is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.evaluation.cohort.scans import PartMeasurements
from thorax.inference.cohort.read import read_cohort
from thorax.inference.inputs import ScanTask
from thorax.inference.manifest.merge import merge_manifest, store_scans
from thorax.inference.manifest.row import STARTED

from .folders import STATISTICS, done, failed, row, write

RIGHT = PartMeasurements(
    "lung",
    "right",
    volume_ml=2200,
    mean_hu=-800.5,
    sd_hu=120.25,
    p5_hu=-950,
    p50_hu=-850,
    p95_hu=-500,
    low_attenuation_percent=6.25,
    high_attenuation_percent=12.5,
    touches_border=("feet", "head"),
)


def test_regions_and_sides_have_their_statistics(tmp_path: Path) -> None:
    (scan,) = read_cohort(write(tmp_path, done("anna", quality_warnings=("check",)))).scans
    assert (scan.case, scan.status, scan.first_region) == ("anna", "done", "lung")
    assert scan.quality_warnings == ("check",)
    assert [(part.region, part.side, part.volume_ml) for part in scan.parts] == [
        ("lung", "whole", 4000),
        ("lung", "right", 2200),
        ("lung", "left", 1800),
        ("infection", "whole", 400),
        ("infection", "right", 400),
        ("infection", "left", 0),
    ]
    assert scan.parts[1] == RIGHT
    shares = [part.share_of_first_percent for part in scan.parts]
    assert shares == [None, None, None, 10, pytest.approx(18.18), None]


def test_quality_is_that_of_the_whole_region(tmp_path: Path) -> None:
    (scan,) = read_cohort(write(tmp_path, done("anna"))).scans
    whole = replace(
        RIGHT,
        side="whole",
        volume_ml=4000,
        certainty=0.97,
        expected_dice=0.98,
        expected_dice_low=0.95,
        expected_dice_high=1.0,
    )
    assert scan.parts[0] == whole
    assert [part.certainty for part in scan.parts[1:]] == [None] * 5


def test_scans_are_sorted_by_name_and_failed_ones_are_kept(tmp_path: Path) -> None:
    cohort = read_cohort(write(tmp_path, failed("carl"), done("ben"), row("anna", STARTED)))
    assert [(scan.case, scan.status, len(scan.parts)) for scan in cohort.scans] == [
        ("anna", "started", 0),
        ("ben", "done", 6),
        ("carl", "failed", 0),
    ]
    assert cohort.scans[2].error == "the file is damaged,\nor no scan"
    assert cohort.notes == ("1 scan not finished: anna; run the same `thorax predict` again",)
    assert cohort.status_counts == {"started": 1, "done": 1, "failed": 1}


@pytest.mark.parametrize("merged", [False, True])
def test_scans_that_no_part_has_started_are_kept(tmp_path: Path, merged: bool) -> None:
    write(tmp_path, done("anna"))
    store_scans(tmp_path, [ScanTask(name, Path(name), tmp_path / name) for name in ("anna", "ben")])
    if merged:
        merge_manifest(tmp_path)
    cohort = read_cohort(tmp_path)
    assert [(scan.case, scan.status, len(scan.parts)) for scan in cohort.scans] == [
        ("anna", "done", 6),
        ("ben", "missing", 0),
    ]
    assert cohort.notes == ("1 scan not finished: ben; run the same `thorax predict` again",)


def test_without_statistics_the_volume_is_that_of_the_manifest(tmp_path: Path) -> None:
    rows = [done(f"case-{number}") for number in range(6)]
    cohort = read_cohort(write(tmp_path, *rows, statistics=False))
    assert cohort.scans[0].parts == (
        PartMeasurements(
            "lung",
            volume_ml=4000,
            certainty=0.97,
            expected_dice=0.98,
            expected_dice_low=0.95,
            expected_dice_high=1.0,
        ),
        PartMeasurements("infection", volume_ml=400),
    )
    assert cohort.notes == (
        "6 scans have no statistics file, so only the volume is known: case-0, case-1, case-2, "
        "case-3, case-4 and 1 more; run the same `thorax predict` again with --statistics",
    )


CONTENT = json.loads(json.dumps(STATISTICS.as_dict()))
OTHER = CONTENT | {"regions": {"lung": CONTENT["regions"]["lung"]}}
DAMAGED = {
    "cut short": ('{"regions": {', "a.json is damaged, or is not JSON"),
    "not UTF-8": (b"\xff\xfe\x00", "a.json is damaged, or is not JSON"),
    "a list": ("[]", "a.json has no statistics"),
    "a number": ("3", "a.json has no statistics"),
    "of a web page": ('{"name": "Viewer"}', "a.json has no statistics"),
    "no regions": ('{"regions": [1]}', "a.json has no statistics"),
    "no volume": (
        '{"regions": {"lung": {"whole": {}}}}',
        "a.json has no statistics (key `lung.whole.volume_ml` is missing)",
    ),
    "NaN": (
        '{"regions": {"lung": {"whole": {"volume_ml": NaN}}}}',
        "a.json has no statistics (`lung.whole.volume_ml`: Input should be a finite number, got "
        "nan)",
    ),
    "other regions": (
        json.dumps(OTHER),
        "a.json is of another mask: its volumes differ from the manifest",
    ),
}


@pytest.mark.parametrize(("content", "problem"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_named_and_does_not_stop_the_others(
    tmp_path: Path, content: Any, problem: str
) -> None:
    write(tmp_path, done("a"), done("b"))
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    cohort = read_cohort(tmp_path)
    damaged, whole = cohort.scans
    assert [part.side for part in damaged.parts] == ["whole", "whole"]
    assert damaged.error == f"statistics: {problem}"
    assert len(whole.parts) == 6
    assert cohort.notes == (
        f"1 statistics file cannot be used: {problem}; remove such files, and run the same "
        "`thorax predict` again with --statistics",
    )


def test_statistics_of_an_earlier_mask_are_not_used(tmp_path: Path) -> None:
    """For instance after `thorax predict --force` without --statistics."""
    write(tmp_path, done("a", volumes_ml={"lung": 4000.01, "infection": 400.0}))
    (scan,) = read_cohort(tmp_path).scans
    assert scan.parts[0].volume_ml == 4000.01
    assert scan.parts[0].mean_hu is None
    assert "of another mask" in scan.error


def test_the_volume_of_the_manifest_is_rounded(tmp_path: Path) -> None:
    write(tmp_path, done("a", volumes_ml={"lung": 4000.001, "infection": 400.0}))
    assert read_cohort(tmp_path).scans[0].parts[0].mean_hu == -800.5


def test_several_models_give_a_note(tmp_path: Path) -> None:
    cohort = read_cohort(write(tmp_path, done("a"), replace(done("b"), model="def")))
    assert "the masks are of 2 models" in cohort.notes[0]


# Paths


def test_a_relative_mask_is_searched_in_the_folder_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "masks", done("deep/a"))
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path, folder):
        (place / "deep").mkdir(exist_ok=True)
        (place / "deep/a.nii.gz").touch()
    (scan,) = read_cohort(Path("masks")).scans
    assert scan.mask == Path("masks/deep/a.nii.gz")
    assert scan.first_region == "lung"


@pytest.mark.parametrize("absolute", [False, True])
def test_a_relative_mask_may_be_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    """Manifests of version 0.1 have such paths."""
    folder = write(tmp_path / "masks", done("a"))
    monkeypatch.chdir(tmp_path)
    text = (folder / "manifest.json").read_text()
    assert '"mask": "a.nii.gz"' in text
    (folder / "manifest.json").write_text(text.replace('"a.nii.gz"', '"masks/a.nii.gz"'))
    Path("masks/a.nii.gz").touch()
    (scan,) = read_cohort(folder if absolute else Path("masks")).scans
    assert scan.mask.resolve() == folder / "a.nii.gz"
    assert scan.first_region == "lung"


def test_statistics_are_read_without_the_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "masks", done("a"))
    monkeypatch.chdir("/")
    assert read_cohort(folder).scans[0].first_region == "lung"


def test_a_relative_scan_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "masks", done("a"))
    monkeypatch.chdir(tmp_path)
    assert read_cohort(Path("masks")).scans[0].scan == Path("scans/a.nii.gz")


# Folders that cannot be used


def test_a_folder_without_a_manifest_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_cohort(tmp_path)
    assert str(error.value) == (
        f"there is no manifest in {tmp_path}; name a folder that `thorax predict` has written"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a folder that `thorax predict` wrote, got .*no"):
        read_cohort(tmp_path / "no")


def test_a_damaged_manifest_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[{")
    with pytest.raises(InputError, match="cannot be read as a manifest"):
        read_cohort(tmp_path)
