"""Reading results: existing files, missing files, damaged files."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.datasets.dataset import Case, DatasetSpec
from thorax.evaluation.lesion_rows import LesionRow
from thorax.evaluation.lesions import Lesion
from thorax.imaging.intensity import HU, IntensityScale
from thorax.reporting.report.provenance import intensity_table
from thorax.reporting.report.results import IntensitySource, ResultPaths, Results, load_results

from .runs import params_of, png

DATASET = DatasetSpec(regions={"lung": [1, 2, 3], "infection": [3]})
SCORES = "case,site,region,dice,hd95_mm\na,north,lung,0.5,inf\na,north,infection,,\n"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "scores.csv").write_text(SCORES)
    return folder


def load(reports: Path, **patients: str) -> Results:
    root = reports.parent
    paths = ResultPaths(reports, root / "model.onnx", root / "dvc.lock")
    return load_results(paths, params=params_of(), dataset=DATASET, cases=cases_of(patients))


def cases_of(patients: dict[str, str]) -> list[Case]:
    no_file = Path()
    return [Case(name, patient, no_file, no_file, HU) for name, patient in patients.items()]


def test_cells_are_numbers_infinite_or_undefined(reports: Path) -> None:
    lung, infection = load(reports).rows
    assert (lung.case, lung.site, lung.region, lung.side) == ("a", "north", "lung", "")
    assert lung["dice"] == 0.5
    assert lung["hd95_mm"] == math.inf
    assert math.isnan(infection["dice"])
    assert math.isnan(lung["nsd"]), "a missing column is undefined"


def test_all_other_files_may_be_missing(reports: Path) -> None:
    results = load(reports)
    assert results.regions == ("lung", "infection")
    assert results.columns == {"case", "site", "region", "dice", "hd95_mm"}
    assert not any([results.sides, results.summary, results.calibration, results.history])
    assert results.lesions is None
    assert not any([results.training, results.model, results.overlays, results.digests])


def test_existing_files_are_read(reports: Path) -> None:
    (reports / "calibration.csv").write_text("region,low,voxels\nlung,0,7\nlung,0.1,8\n")
    (reports / "history.csv").write_text("epoch,loss,dice\n1,0.5,\n")
    (reports / "sides.csv").write_text("case,site,region,side,dice\na,,lung,left,0.25\n")
    (reports / "lesions.csv").write_text(
        "case,region,mask,volume_ml,overlap,matched\na,infection,truth,2.5,0.25,1\n"
    )
    (reports / "training.json").write_text('{"epochs": 1}')
    (reports / "summary.json").write_text('{"lung": {"cases": 1}}')
    (reports / "overlays").mkdir()
    (reports / "overlays" / "a.png").write_bytes(png())
    results = load(reports, a="anna")
    assert [row["voxels"] for row in results.calibration["lung"]] == [7, 8]
    assert results.history[0]["loss"] == 0.5
    assert math.isnan(results.history[0]["dice"])
    assert (results.sides[0].side, results.sides[0]["dice"]) == ("left", 0.25)
    assert results.lesions == (LesionRow("a", "infection", Lesion("truth", 2.5, 0.25, True)),)
    assert results.training == {"epochs": 1}
    assert results.summary == {"lung": {"cases": 1}}
    assert results.overlays == {"a": png()}
    assert results.patients == {"a": "anna"}


def test_digests_are_those_of_the_dataset(reports: Path) -> None:
    depends = [
        {"path": "data/phantom/masks", "hash": "md5", "md5": "12.dir"},
        {"path": "data/other/masks", "hash": "md5", "md5": "34.dir"},
        {"path": "src/thorax/cases.py", "hash": "md5", "md5": "56"},
    ]
    lock = {"stages": {"prepare": {"deps": depends}}}
    (reports.parent / "dvc.lock").write_text(json.dumps(lock))
    assert load(reports).digests == {"data/phantom/masks": "md5 12.dir"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scores.csv", "case,region,dice\na,lung,good\n", "`dice` must be a number, got 'good'"),
        (
            "lesions.csv",
            "case,region,mask\na,lung,truth\n",
            "row 1 must have .* got a, lung, truth",
        ),
        ("lesions.csv", "", "cannot be read: it is cut short"),
        ("summary.json", "{", "cannot be read: Expecting property name"),
        ("summary.json", "[]", "must contain a mapping"),
    ],
)
def test_a_damaged_file_is_named(reports: Path, name: str, content: str, message: str) -> None:
    (reports / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        load(reports)


def test_scores_are_required(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no .*scores.csv; run `dvc repro evaluate`"):
        load(tmp_path)


def test_sites_are_listed_only_if_there_are_several(many: Results, few: Results) -> None:
    assert many.sites == ("north", "south")
    assert few.sites == ()


def test_intensity_scales_are_listed_by_source(few: Results, reports: Path) -> None:
    export, offset = IntensityScale((-1250, 250)), IntensityScale(offset_hu=1024)
    cases = [
        replace(case, site=site, intensity=intensity)
        for case, site, intensity in zip(
            cases_of(dict.fromkeys("abcd", "p")),
            ("south", "north", "south", "south"),
            (export, HU, export, offset),
            strict=True,
        )
    ]
    paths = ResultPaths(reports, reports / "none.onnx", reports / "none.lock")
    results = load_results(paths, params=params_of(), dataset=DATASET, cases=cases)
    assert results.sources == (
        IntensitySource("north", HU, 1),
        IntensitySource("south", export, 2),
        IntensitySource("south", offset, 1),
    )
    table = intensity_table(results)
    assert [[cell.text for cell in row] for group in table.groups for row in group] == [
        ["north", "1", "HU"],
        ["south", "2", "8 bits: 0 is -1250 HU, 255 is 250 HU"],
        ["south", "1", "HU +1024"],
    ]
    assert "converted to HU" in table.notes[0]
    assert intensity_table(few).groups == ()


def test_a_truncated_picture_is_named(reports: Path) -> None:
    (reports / "overlays").mkdir()
    (reports / "overlays" / "a.png").write_bytes(png()[:-5])
    with pytest.raises(InputError, match=r"a\.png is truncated; create it again with `dvc repro"):
        load(reports)
