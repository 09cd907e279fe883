"""Gathering: what is there is read, what is missing is left out, what is damaged is named."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.datasets.dataset import Case, DatasetSpec
from thorax.imaging.intensity import HU, IntensityScale
from thorax.reporting.report.provenance import intensity_table
from thorax.reporting.report.results import ResultPaths, Results, Source, gather

from .runs import params_of, png

DATASET = DatasetSpec(regions={"lung": [1, 2, 3], "infection": [3]})
SCORES = "case,site,region,dice,hd95_mm\na,north,lung,0.5,inf\na,north,infection,,\n"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "scores.csv").write_text(SCORES)
    return folder


def gathered(reports: Path, **patients: str) -> Results:
    root = reports.parent
    places = ResultPaths(reports, root / "model.onnx", root / "dvc.lock")
    return gather(places, params=params_of(), dataset=DATASET, cases=cases_of(patients))


def cases_of(patients: dict[str, str]) -> list[Case]:
    nowhere = Path()
    return [Case(name, patient, nowhere, nowhere, HU) for name, patient in patients.items()]


def test_cells_are_numbers_infinite_or_undefined(reports: Path) -> None:
    lung, infection = gathered(reports).rows
    assert (lung.case, lung.site, lung.region, lung.side) == ("a", "north", "lung", "")
    assert lung["dice"] == 0.5
    assert lung["hd95_mm"] == math.inf
    assert math.isnan(infection["dice"])
    assert math.isnan(lung["nsd"]), "a column that is not there is undefined"


def test_all_else_may_be_missing(reports: Path) -> None:
    results = gathered(reports)
    assert results.regions == ("lung", "infection")
    assert results.columns == {"case", "site", "region", "dice", "hd95_mm"}
    assert not any([results.sides, results.metrics, results.calibration, results.history])
    assert not any([results.training, results.model, results.overlays, results.digests])


def test_what_is_there_is_read(reports: Path) -> None:
    (reports / "calibration.csv").write_text("region,low,voxels\nlung,0,7\nlung,0.1,8\n")
    (reports / "history.csv").write_text("epoch,loss,dice\n1,0.5,\n")
    (reports / "sides.csv").write_text("case,site,region,side,dice\na,,lung,left,0.25\n")
    (reports / "training.json").write_text('{"epochs": 1}')
    (reports / "summary.json").write_text('{"lung": {"cases": 1}}')
    (reports / "overlays").mkdir()
    (reports / "overlays" / "a.png").write_bytes(png())
    results = gathered(reports, a="anna")
    assert [row["voxels"] for row in results.calibration["lung"]] == [7, 8]
    assert results.history[0]["loss"] == 0.5
    assert math.isnan(results.history[0]["dice"])
    assert (results.sides[0].side, results.sides[0]["dice"]) == ("left", 0.25)
    assert results.training == {"epochs": 1}
    assert results.metrics == {"lung": {"cases": 1}}
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
    assert gathered(reports).digests == {"data/phantom/masks": "md5 12.dir"}


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("scores.csv", "case,region,dice\na,lung,good\n", "`dice` must be a number, got 'good'"),
        ("summary.json", "{", "cannot be read: Expecting property name"),
        ("summary.json", "[]", "must hold a mapping"),
    ],
)
def test_what_is_damaged_is_named(reports: Path, name: str, content: str, complaint: str) -> None:
    (reports / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}.*{complaint}"):
        gathered(reports)


def test_without_scores_there_is_nothing_to_tell(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no .*scores.csv; run `dvc repro evaluate`"):
        gathered(tmp_path)


def test_sites_are_told_apart_only_where_there_are_several(many: Results, few: Results) -> None:
    assert many.sites == ("north", "south")
    assert few.sites == ()


def test_a_row_that_is_not_there_has_no_figures(few: Results) -> None:
    missing: Any = few.row("a", "infection")
    assert math.isnan(missing["dice"])


def test_intensities_are_told_by_source(few: Results, reports: Path) -> None:
    export, offset = IntensityScale((-1250, 250)), IntensityScale(offset_hu=1024)
    cases = [
        replace(case, site=site, domain=domain)
        for case, site, domain in zip(
            cases_of(dict.fromkeys("abcd", "p")),
            ("south", "north", "south", "south"),
            (export, HU, export, offset),
            strict=True,
        )
    ]
    places = ResultPaths(reports, reports / "none.onnx", reports / "none.lock")
    results = gather(places, params=params_of(), dataset=DATASET, cases=cases)
    assert results.sources == (
        Source("north", HU, 1),
        Source("south", export, 2),
        Source("south", offset, 1),
    )
    told = intensity_table(results)
    assert [[cell.text for cell in row] for group in told.groups for row in group] == [
        ["north", "1", "HU"],
        ["south", "2", "8 bits: 0 for -1250 HU, 255 for 250 HU"],
        ["south", "1", "HU, with +1024"],
    ]
    assert "brought to HU" in told.notes[0]
    assert intensity_table(few).groups == ()


def test_a_picture_that_is_cut_short_is_named(reports: Path) -> None:
    (reports / "overlays").mkdir()
    (reports / "overlays" / "a.png").write_bytes(png()[:-5])
    with pytest.raises(InputError, match=r"a\.png is cut short; make it again with `dvc repro"):
        gathered(reports)
